//! A moderation server with OpenAI's interface: `POST {url}/v1/moderations`, a text or a picture
//! in, scores by category out.
//!
//! Its address is the operator's, so it is not guarded: it may well be private. What is sent and
//! what comes back is logged at no level.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Cursor;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::thumbnail;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tintype_moderation::{Category, PictureModerator, Scores, TextModerator, Unjudged};
use url::Url;

use super::breaker::Breaker;
use super::endpoint_answer;
use crate::cause::root_cause;

/// An answer is a few kilobytes: thirteen categories, twice.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// The longest side of a picture that is sent: classifiers look at less.
const MAX_SENT_PIXELS: u32 = 768;

/// Of a picture that is sent: enough for a classifier.
const SENT_JPEG_QUALITY: u8 = 85;

/// To connect: a server that is there takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How to reach a moderation server.
#[derive(Clone)]
pub struct EndpointConfig {
    /// Its address, up to where `/v1/moderations` begins, or that of `/v1`.
    pub url: Url,
    /// The model to ask for; without one, the server's own choice.
    pub model: Option<String>,
    /// Sent as a bearer token.
    pub key: Option<SecretString>,
    /// For one call, from the connection to the end of the answer.
    pub timeout: Duration,
    /// What its categories mean, beyond those of OpenAI.
    pub categories: BTreeMap<String, Category>,
}

/// Without the key.
impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointConfig")
            .field("host", &self.url.host_str())
            .field("model", &self.model)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why there is no such judge.
#[derive(Debug, thiserror::Error)]
#[error("calls to a moderation server cannot be made: {0}")]
pub struct NoEndpoint(String);

/// Asks a moderation server.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    address: Url,
    client: Client,
    breaker: Breaker,
}

impl Endpoint {
    /// Nothing is connected to here.
    ///
    /// # Errors
    /// When this machine cannot make such calls, or the address is none.
    pub fn new(config: EndpointConfig) -> Result<Self, NoEndpoint> {
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
            .map_err(|error| NoEndpoint(root_cause(&error)))?;
        Ok(Self {
            address: address(&config.url)?,
            config,
            client,
            breaker: Breaker::default(),
        })
    }

    async fn ask(&self, input: Value) -> Result<Scores, Unjudged> {
        if !self.breaker.admits(Instant::now()) {
            return Err(Unjudged::Resting);
        }
        let answer = self.call(input).await;
        if !is_about_the_input(&answer) {
            self.breaker.note(answer.is_ok(), Instant::now());
        }
        answer
    }

    async fn call(&self, input: Value) -> Result<Scores, Unjudged> {
        let mut body = json!({ "input": input });
        if let Some(model) = &self.config.model {
            body["model"] = json!(model);
        }
        let mut call = self.client.post(self.address.clone()).json(&body);
        if let Some(key) = &self.config.key {
            call = call.bearer_auth(key.expose_secret());
        }
        let answer = call.send().await.map_err(|error| self.blame(&error))?;
        if !answer.status().is_success() {
            return Err(Unjudged::Status(answer.status().as_u16()));
        }
        let body = self.read(answer).await?;
        endpoint_answer::scores(&body, &self.config.categories)
    }

    /// Reads an answer, but no more than an answer has.
    async fn read(&self, mut answer: Response) -> Result<Vec<u8>, Unjudged> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.blame(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Unjudged::Unusable("it is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn blame(&self, error: &reqwest::Error) -> Unjudged {
        if error.is_timeout() {
            Unjudged::TimedOut(self.config.timeout)
        } else if error.is_body() || error.is_decode() {
            Unjudged::Unusable("it broke off")
        } else {
            Unjudged::Unreachable
        }
    }
}

#[async_trait]
impl TextModerator for Endpoint {
    async fn judge_text(&self, text: &str) -> Result<Scores, Unjudged> {
        self.ask(json!(text)).await
    }
}

#[async_trait]
impl PictureModerator for Endpoint {
    async fn judge_picture(&self, picture: &RgbImage) -> Result<Scores, Unjudged> {
        let picture = picture.clone();
        // Off the event loop: scaling and encoding take milliseconds.
        let encoded = tokio::task::spawn_blocking(move || data_url(&picture)).await;
        let url = encoded.ok().flatten().ok_or(Unjudged::Failed)?;
        let input = json!([{ "type": "image_url", "image_url": { "url": url } }]);
        self.ask(input).await
    }
}

/// Whether the server refused what it was sent and may well take the next: no reason to rest, or one
/// client could keep it from judging for all.
fn is_about_the_input(answer: &Result<Scores, Unjudged>) -> bool {
    let Err(Unjudged::Status(status)) = answer else {
        return false;
    };
    (400..500).contains(status) && !matches!(status, 401 | 403 | 404 | 408 | 429)
}

fn address(base: &Url) -> Result<Url, NoEndpoint> {
    let path = base.path().trim_end_matches('/');
    let path = path.strip_suffix("/v1").unwrap_or(path);
    let mut address = base.clone();
    address.set_path(&format!("{path}/v1/moderations"));
    match address.scheme() {
        "http" | "https" if address.has_host() => Ok(address),
        _ => Err(NoEndpoint("its address is not http or https".to_owned())),
    }
}

/// The picture as a small JPEG in a `data:` URL.
fn data_url(picture: &RgbImage) -> Option<String> {
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    let scaled =
        |side: u32| (u64::from(side) * u64::from(MAX_SENT_PIXELS) / u64::from(longest)) as u32;
    let small = (longest > MAX_SENT_PIXELS)
        .then(|| thumbnail(picture, scaled(width).max(1), scaled(height).max(1)));
    let mut file = Cursor::new(Vec::new());
    let encoder = JpegEncoder::new_with_quality(&mut file, SENT_JPEG_QUALITY);
    small
        .as_ref()
        .unwrap_or(picture)
        .write_with_encoder(encoder)
        .ok()?;
    let base64 = STANDARD.encode(file.into_inner());
    Some(format!("data:image/jpeg;base64,{base64}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_with_and_without_v1() {
        let full = |base: &str| {
            let base = Url::parse(base).expect("an address");
            address(&base)
                .map(String::from)
                .map_err(|error| error.to_string())
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

    #[test]
    fn large_pictures_are_sent_small() {
        let url = data_url(&RgbImage::new(3000, 10)).expect("a picture");
        let base64 = url
            .strip_prefix("data:image/jpeg;base64,")
            .expect("a data URL");
        let bytes = STANDARD.decode(base64).expect("base64");
        let sent = image::load_from_memory(&bytes).expect("a JPEG");
        assert_eq!((sent.width(), sent.height()), (768, 2));
    }

    #[test]
    fn debug_shows_no_key() {
        let config = EndpointConfig {
            url: Url::parse("https://user:hush@api.example/?hush").expect("an address"),
            model: None,
            key: Some("hush".to_owned().into()),
            timeout: Duration::from_secs(1),
            categories: BTreeMap::new(),
        };
        let shown = format!("{config:?}");
        assert!(
            shown.contains("api.example") && !shown.contains("hush"),
            "{shown}"
        );
    }
}
