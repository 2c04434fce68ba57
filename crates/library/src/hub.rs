//! A hub with repositories of models, as Hugging Face has it: what it says of a file, its bytes from
//! some place on, and the list of a repository's files.
//!
//! The token goes to the hub's own host only. Redirects are followed by hand: a file's bytes come from
//! other hosts, which the token is none of the business of.

mod answer;
mod file;
mod listing;
mod retry;
mod send;

use std::time::Duration;

use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::error::Error;

pub(crate) use answer::Trouble;
pub(crate) use file::Opened;
pub use file::{Address, FileInfo};
pub use listing::{ListedFile, Listing};
pub(crate) use retry::Attempts;

/// The hub that is asked where none is named.
pub const DEFAULT_HUB: &str = "https://huggingface.co";

/// How long things are waited for, and how often they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes.
    pub silence: Duration,
    /// Attempts in a row that bring nothing.
    pub attempts: u32,
    /// Before the second attempt; it doubles with each.
    pub first_wait: Duration,
    /// At most, whatever the hub asks for.
    pub longest_wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(60),
            attempts: 6,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
        }
    }
}

/// How a hub is reached.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Where it is, such as [`DEFAULT_HUB`].
    pub url: String,
    /// Who asks, for repositories that want to know.
    pub token: Option<SecretString>,
    /// How patiently.
    pub pace: Pace,
}

/// A hub.
#[derive(Debug, Clone)]
pub struct Hub {
    http: reqwest::Client,
    base: Url,
    token: Option<HeaderValue>,
    pace: Pace,
}

impl Hub {
    /// Makes one ready; connects to nothing.
    ///
    /// # Errors
    /// An address or a token that cannot be used.
    pub fn new(options: HubOptions) -> Result<Self, Error> {
        let base = base_url(&options.url)?;
        let token = options.token.as_ref().map(bearer).transpose()?;
        if token.is_some() && base.scheme() == "http" && !is_this_machine(&base) {
            return Err(Error::HubAddress(format!(
                "{base} is not encrypted, and the token would be read on its way: give an https \
                 address, or take HF_TOKEN away"
            )));
        }
        // Fails when the process has one already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut http = reqwest::Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(options.pace.connect)
            .read_timeout(options.pace.silence)
            .user_agent(concat!("tintype/", env!("CARGO_PKG_VERSION")));
        if is_this_machine(&base) {
            http = http.no_proxy();
        }
        let http = http.build();
        Ok(Self {
            http: http.map_err(|error| Error::Client(answer::root_cause(&error)))?,
            base,
            token,
            pace: options.pace,
        })
    }

    /// Its host, for people.
    pub fn host(&self) -> String {
        send::host_of(&self.base)
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    fn address(&self, path: &str) -> Url {
        let base = self.base.as_str().trim_end_matches('/');
        let joined = Url::parse(&format!("{base}/{path}"));
        joined.expect("checked names make an address; this is a bug")
    }
}

fn base_url(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).ok().filter(|url| {
        let bare = url.query().is_none() && url.fragment().is_none();
        let no_user = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && url.has_host() && bare && no_user
    });
    url.ok_or_else(|| {
        // What stands in front of an @ is a secret.
        let shown = text.rsplit('@').next().unwrap_or_default();
        Error::HubAddress(format!("it must be like {DEFAULT_HUB}, not \"{shown}\""))
    })
}

fn bearer(token: &SecretString) -> Result<HeaderValue, Error> {
    let text = format!("Bearer {}", token.expose_secret().trim());
    let mut value = HeaderValue::from_str(&text).map_err(|_| Error::Token)?;
    // Neither its `Debug` nor the log of the HTTP client shows it.
    value.set_sensitive(true);
    Ok(value)
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(url: &str, token: Option<&str>) -> Result<Hub, Error> {
        Hub::new(HubOptions {
            url: url.to_owned(),
            token: token.map(SecretString::from),
            pace: Pace::default(),
        })
    }

    #[test]
    fn the_token_travels_in_the_clear_only_within_this_machine() {
        for good in [
            DEFAULT_HUB,
            "https://hub.internal/prefix/",
            "http://127.0.0.1:9",
            "http://localhost",
        ] {
            hub(good, Some("hf_x")).expect(good);
        }
        hub("http://hub.internal", None).expect("a mirror without a token");
        let refused = hub("http://hub.internal", Some("hf_x")).expect_err("in the clear");
        assert!(refused.to_string().contains("not encrypted"));
        assert!(!refused.to_string().contains("hf_x"));
        assert!(matches!(hub(DEFAULT_HUB, Some("a\nb")), Err(Error::Token)));
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_its_secret() {
        for bad in [
            "",
            "huggingface.co",
            "ftp://a",
            "https://a/?x=1",
            "https://user:hush@a.example",
        ] {
            let refused = hub(bad, None).expect_err(bad).to_string();
            assert!(!refused.contains("hush"), "{refused}");
        }
    }

    #[test]
    fn what_is_shown_for_debugging_holds_no_token() {
        let hub = hub(DEFAULT_HUB, Some("hf_secret")).expect("a hub");
        assert!(!format!("{hub:?}").contains("hf_secret"));
    }
}
