//! A moderation server with OpenAI's interface: `POST {url}/v1/moderations`, a text or a picture
//! in, scores by category out.

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
use secrecy::SecretString;
use serde_json::{Value, json};
use tintype_moderation::{Category, PictureModerator, Scores, TextModerator, Unjudged};
use url::Url;

use super::endpoint_answer;
use crate::breaker::Breaker;
use crate::operators_server::{self, CallError, OperatorsServer, ServerConfig};

/// An answer is a few kilobytes: thirteen categories, twice.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// The longest side of a picture that is sent: classifiers look at less.
const MAX_SENT_PIXELS: u32 = 768;

/// Of a picture that is sent: enough for a classifier.
const SENT_JPEG_QUALITY: u8 = 85;

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
    server: OperatorsServer,
    breaker: Breaker,
}

impl Endpoint {
    /// Nothing is connected to here.
    ///
    /// # Errors
    /// When this machine cannot make such calls, or the address is none.
    pub fn new(config: EndpointConfig) -> Result<Self, NoEndpoint> {
        let server = ServerConfig {
            url: &config.url,
            path: "moderations",
            key: config.key.clone(),
            timeout: config.timeout,
            max_answer_bytes: MAX_ANSWER_BYTES,
        };
        Ok(Self {
            server: OperatorsServer::new(server).map_err(NoEndpoint)?,
            config,
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
        let body = self.server.call(&body).await;
        let body = body.map_err(|error| self.blame(&error))?;
        endpoint_answer::scores(&body, &self.config.categories)
    }

    fn blame(&self, error: &CallError) -> Unjudged {
        match error {
            CallError::TimedOut => Unjudged::TimedOut(self.config.timeout),
            CallError::Unreachable => Unjudged::Unreachable,
            CallError::BrokeOff => Unjudged::Unusable("it broke off"),
            CallError::TooLong => Unjudged::Unusable("it is too long"),
            CallError::Status(status) => Unjudged::Status(*status),
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

/// Whether the server refused what it was sent: no reason to rest.
fn is_about_the_input(answer: &Result<Scores, Unjudged>) -> bool {
    matches!(answer, Err(Unjudged::Status(status)) if operators_server::is_about_the_input(*status))
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
