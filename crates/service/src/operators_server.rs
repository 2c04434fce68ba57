//! Calls to a server that the operator set up: a judge, an upsampler.
//!
//! Its address is the operator's, so it is not guarded: it may well be private. Redirects are not
//! followed, answers are bounded, and what is sent and comes back is logged at no level.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tintype_words::root_cause;
use url::Url;

/// To connect: a server that is there takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How to reach it.
pub(crate) struct ServerConfig<'a> {
    /// Up to where `/v1/…` begins, or that of `/v1`.
    pub(crate) url: &'a Url,
    /// What follows `/v1/`.
    pub(crate) path: &'static str,
    /// Sent as a bearer token.
    pub(crate) key: Option<SecretString>,
    /// For one call, from the connection to the end of the answer.
    pub(crate) timeout: Duration,
    /// What an answer has at most.
    pub(crate) max_answer_bytes: usize,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CallError {
    TimedOut,
    Unreachable,
    BrokeOff,
    TooLong,
    Status(u16),
}

/// One address of such a server.
pub(crate) struct OperatorsServer {
    address: Url,
    key: Option<SecretString>,
    client: Client,
    max_answer_bytes: usize,
}

/// Without the key and the path, which may hold one.
impl std::fmt::Debug for OperatorsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorsServer")
            .field("host", &self.address.host_str())
            .finish_non_exhaustive()
    }
}

impl OperatorsServer {
    /// Nothing is connected to here.
    ///
    /// # Errors
    /// A sentence: this machine cannot make such calls, or the address is none.
    pub(crate) fn new(config: ServerConfig<'_>) -> Result<Self, String> {
        // Fails when the process has one already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            // A redirect would take prompts and the key elsewhere.
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout))
            .timeout(config.timeout)
            .user_agent(concat!("tintype/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| root_cause(&error))?;
        Ok(Self {
            address: address(config.url, config.path)?,
            key: config.key,
            client,
            max_answer_bytes: config.max_answer_bytes,
        })
    }

    /// The body of the answer to a call with this one, if it is a success.
    pub(crate) async fn call(&self, body: &Value) -> Result<Vec<u8>, CallError> {
        let mut call = self.client.post(self.address.clone()).json(body);
        if let Some(key) = &self.key {
            call = call.bearer_auth(key.expose_secret());
        }
        let answer = call.send().await.map_err(|error| blame(&error))?;
        if !answer.status().is_success() {
            return Err(CallError::Status(answer.status().as_u16()));
        }
        self.read(answer).await
    }

    /// Reads an answer, but no more than an answer has.
    async fn read(&self, mut answer: Response) -> Result<Vec<u8>, CallError> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| blame(&error))? {
            if body.len() + chunk.len() > self.max_answer_bytes {
                return Err(CallError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Whether a server refused what it was sent and may well take the next: no reason to let it rest,
/// or one client could keep it from working for all.
pub(crate) fn is_about_the_input(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401 | 403 | 404 | 408 | 429)
}

fn blame(error: &reqwest::Error) -> CallError {
    if error.is_timeout() {
        CallError::TimedOut
    } else if error.is_body() || error.is_decode() {
        CallError::BrokeOff
    } else {
        CallError::Unreachable
    }
}

fn address(base: &Url, path: &str) -> Result<Url, String> {
    let before = base.path().trim_end_matches('/');
    let before = before.strip_suffix("/v1").unwrap_or(before);
    let mut address = base.clone();
    address.set_path(&format!("{before}/v1/{path}"));
    match address.scheme() {
        "http" | "https" if address.has_host() => Ok(address),
        _ => Err("its address is not http or https".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_with_and_without_v1() {
        let full = |base: &str| {
            let base = Url::parse(base).expect("an address");
            address(&base, "moderations").map(String::from)
        };
        let expected = Ok("https://api.example/v1/moderations".to_owned());
        for base in [
            "https://api.example",
            "https://api.example/",
            "https://api.example/v1",
            "https://api.example/v1/",
        ] {
            assert_eq!(full(base), expected, "{base}");
        }
        let below = Ok("http://10.0.0.7:8000/guard/v1/moderations".to_owned());
        assert_eq!(full("http://10.0.0.7:8000/guard"), below);
        assert!(full("file:///etc/passwd").is_err());
    }
}
