//! The calls to the provider: one function each, one try, everything bounded.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use tintype_words::root_cause;
use url::Url;

use super::answers::{Answer, Standing, Submitted, refusal};
use super::hosts::{HostPatterns, judge};
use super::order::{Model, Order};
use super::{BflOptions, StartError};
use crate::{Error, Reason, Unavailable};

/// The header that holds the key.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-key");

/// An answer in JSON has some hundred bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// A picture of 1440 x 1440 pixels has six megabytes at most.
const MAX_PICTURE_BYTES: usize = 32 * 1024 * 1024;

/// The longest wait that a provider can ask for: a task does not sleep for a day.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10 * 60);

/// Why a call came to nothing.
#[derive(Debug)]
pub enum Trouble {
    /// It may work another time. In words that go on from "the provider".
    Passing(String),
    /// It was heard, but the answer could not be understood.
    Unclear,
    /// Too much was asked of the provider.
    Busy { retry_after: Option<Duration> },
    /// Nothing is gained by trying again.
    Final(Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passing(what) => f.write_str(what),
            Self::Unclear => f.write_str("gives an answer that cannot be understood"),
            Self::Busy { .. } => f.write_str("has too much to do"),
            Self::Final(error) => error.fmt(f),
        }
    }
}

/// Makes the calls.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    key: HeaderValue,
    base: Url,
    polling_hosts: HostPatterns,
    result_hosts: HostPatterns,
}

impl Client {
    pub fn new(options: &BflOptions) -> Result<Self, StartError> {
        // Fails when the process has one already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(options.pace.connect)
            .timeout(options.pace.call)
            .user_agent(concat!("tintype/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| StartError::Client(root_cause(&error)))?;
        let key = options.key.expose_secret().trim();
        let mut key = HeaderValue::from_str(key).map_err(|_| StartError::Key)?;
        // Neither its `Debug` nor the log of the HTTP client shows it.
        key.set_sensitive(true);
        Ok(Self {
            http,
            key,
            base: options.base_url.clone(),
            polling_hosts: options.polling_hosts.clone(),
            result_hosts: options.result_hosts.clone(),
        })
    }

    /// Places an order; the address to poll comes back.
    pub async fn submit(&self, model: Model, order: &Order) -> Result<Url, Trouble> {
        let base = self.base.as_str().trim_end_matches('/');
        let address = format!("{base}/v1/{}", model.name());
        let call = self.http.post(address).json(order);
        let submitted: Submitted = self
            .asked(call.header(KEY_HEADER, self.key.clone()))
            .await?;
        self.polled(&submitted.polling_url)
    }

    /// An address that may be polled.
    pub fn polled(&self, address: &str) -> Result<Url, Trouble> {
        judge(address, &self.base, &self.polling_hosts).map_err(|elsewhere| {
            Trouble::Final(Error::Failed(format!(
                "the provider gave an address to ask at {elsewhere}; the operator can allow it \
                 with polling_hosts"
            )))
        })
    }

    /// Asks how an order stands.
    pub async fn poll(&self, address: &Url) -> Result<Standing, Trouble> {
        let call = self.http.get(address.clone());
        let asked = self.asked::<Answer>(call.header(KEY_HEADER, self.key.clone()));
        match asked.await {
            Ok(answer) => Ok(answer.standing()),
            Err(Trouble::Final(Error::Unavailable(why))) if why.reason == Reason::NoWeights => {
                Ok(Standing::Unknown)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Fetches a picture. The key is not sent along: the address is signed.
    pub async fn fetch(&self, address: &str) -> Result<Bytes, Trouble> {
        let url = judge(address, &self.base, &self.result_hosts).map_err(|elsewhere| {
            Trouble::Final(Error::Failed(format!(
                "the provider's picture lies at {elsewhere}; the operator can allow it with \
                 result_hosts"
            )))
        })?;
        let answer = self.http.get(url).send().await.map_err(passing)?;
        match answer.status() {
            StatusCode::OK => read(answer, MAX_PICTURE_BYTES).await,
            status => Err(Trouble::Passing(format!(
                "does not hand its picture out (status {})",
                status.as_u16()
            ))),
        }
    }

    async fn asked<T: DeserializeOwned>(&self, call: RequestBuilder) -> Result<T, Trouble> {
        let answer = call.send().await.map_err(passing)?;
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        let body = read(answer, MAX_ANSWER_BYTES).await;
        if status != StatusCode::OK {
            return Err(refused(status, retry_after, &body.unwrap_or_default()));
        }
        serde_json::from_slice(&body?).map_err(|_| Trouble::Unclear)
    }
}

/// What a status other than 200 means.
fn refused(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Trouble {
    let said = refusal(body)
        .map(|said| format!(" ({said})"))
        .unwrap_or_default();
    let unavailable = |reason, message: String| {
        Trouble::Final(Error::Unavailable(Unavailable::new(reason, message)))
    };
    match status.as_u16() {
        401 | 403 => unavailable(
            Reason::OutOfCredit,
            format!(
                "The provider does not accept the key of this service{said}. Its operator has to \
                 set a valid one."
            ),
        ),
        402 => unavailable(
            Reason::OutOfCredit,
            format!(
                "The provider has run out of credits of this service{said}. Its operator has to \
                 add some."
            ),
        ),
        404 => unavailable(
            Reason::NoWeights,
            "The provider does not offer the model of this tool at its address. The operator has \
             to check base_url."
                .to_owned(),
        ),
        400 | 413 | 422 => Trouble::Final(Error::Rejected(format!(
            "The provider does not accept the inputs{said}."
        ))),
        429 => Trouble::Busy { retry_after },
        503 if retry_after.is_some() => Trouble::Busy { retry_after },
        status => Trouble::Passing(format!("answers with status {status}")),
    }
}

/// Seconds or a date, bounded.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    let wait = seconds.or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    });
    wait.map(|wait| wait.min(MAX_RETRY_AFTER))
}

/// Reads a body; its announced length is believed only where that is cheaper.
async fn read(mut answer: Response, max_bytes: usize) -> Result<Bytes, Trouble> {
    let too_large = || Trouble::Passing(format!("sends more than {max_bytes} bytes"));
    let announced = answer.content_length().unwrap_or_default();
    if announced > max_bytes as u64 {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(passing)? {
        if body.len() + chunk.len() > max_bytes {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What an error of the HTTP client means. Its own text holds the whole address.
fn passing(error: reqwest::Error) -> Trouble {
    let what = if error.is_timeout() {
        "does not answer in time"
    } else if error.is_connect() {
        "cannot be reached"
    } else {
        "broke off in the middle of its answer"
    };
    Trouble::Passing(what.to_owned())
}
