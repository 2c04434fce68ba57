//! A chat server with OpenAI's interface, as vLLM, llama.cpp and Ollama offer it: `POST
//! {url}/v1/chat/completions`, a prompt in, a better prompt out.

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tintype_engine::upsampling::{NotUpsampled, SystemPrompts, Upsampler, Wish, read_answer};
use url::Url;

use super::endpoint_answer;
use crate::breaker::Breaker;
use crate::operators_server::{CallError, OperatorsServer, ServerConfig, is_about_the_input};

/// An answer is a few kilobytes, and the thoughts that come with it some more.
const MAX_ANSWER_BYTES: usize = 512 * 1024;

/// Servers take seeds of 32 bits, some of them signed.
const SEED_BITS: u64 = 0x7fff_ffff;

/// How to reach a chat server.
#[derive(Clone)]
pub struct ChatEndpointConfig {
    /// Its address, up to where `/v1/chat/completions` begins, or that of `/v1`.
    pub url: Url,
    /// The model to ask.
    pub model: String,
    /// Sent as a bearer token.
    pub key: Option<SecretString>,
    /// For one call, from the connection to the end of the answer.
    pub timeout: Duration,
    /// How freely it rewrites: 0 always takes the likeliest word.
    pub temperature: f32,
    /// Tokens of an answer at most, thoughts included.
    pub max_tokens: u32,
    /// What the model is told to do.
    pub system_prompts: SystemPrompts,
    /// More fields of each request, as the server knows them.
    pub extra: Map<String, Value>,
}

/// Without the key.
impl fmt::Debug for ChatEndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatEndpointConfig")
            .field("host", &self.url.host_str())
            .field("model", &self.model)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why there is no such upsampler.
#[derive(Debug, thiserror::Error)]
#[error("calls to a chat server cannot be made: {0}")]
pub struct NoChatEndpoint(String);

/// Asks a chat server.
#[derive(Debug)]
pub struct ChatEndpoint {
    config: ChatEndpointConfig,
    server: OperatorsServer,
    breaker: Breaker,
    name: String,
}

impl ChatEndpoint {
    /// Nothing is connected to here.
    ///
    /// # Errors
    /// When this machine cannot make such calls, or the address is none.
    pub fn new(config: ChatEndpointConfig) -> Result<Self, NoChatEndpoint> {
        let server = ServerConfig {
            url: &config.url,
            path: "chat/completions",
            key: config.key.clone(),
            timeout: config.timeout,
            max_answer_bytes: MAX_ANSWER_BYTES,
        };
        let host = config.url.host_str().unwrap_or_default();
        Ok(Self {
            server: OperatorsServer::new(server).map_err(NoChatEndpoint)?,
            name: format!("{} at {host}", config.model),
            config,
            breaker: Breaker::default(),
        })
    }

    fn request(&self, wish: &Wish) -> Value {
        let config = &self.config;
        let mut request = json!({
            "model": config.model,
            "messages": [
                { "role": "system", "content": config.system_prompts.of(wish.purpose) },
                { "role": "user", "content": wish.prompt },
            ],
            "seed": (wish.seed ^ (wish.seed >> 32)) & SEED_BITS,
            "temperature": config.temperature,
            "max_tokens": config.max_tokens,
            "stream": false,
        });
        for (name, value) in &config.extra {
            request[name] = value.clone();
        }
        request
    }

    fn blame(&self, error: &CallError) -> NotUpsampled {
        match error {
            CallError::TimedOut => NotUpsampled::TimedOut(self.config.timeout),
            CallError::Unreachable | CallError::BrokeOff => NotUpsampled::Unreachable,
            CallError::TooLong => NotUpsampled::Unusable("it is too long"),
            CallError::Status(status) => NotUpsampled::Status(*status),
        }
    }
}

#[async_trait]
impl Upsampler for ChatEndpoint {
    fn name(&self) -> &str {
        &self.name
    }

    async fn rewrite(&self, wish: &Wish) -> Result<String, NotUpsampled> {
        if !self.breaker.admits(Instant::now()) {
            return Err(NotUpsampled::Resting);
        }
        let called = self.server.call(&self.request(wish)).await;
        let about_the_input =
            matches!(&called, Err(CallError::Status(status)) if is_about_the_input(*status));
        if !about_the_input {
            self.breaker.note(called.is_ok(), Instant::now());
        }
        let body = called.map_err(|error| self.blame(&error))?;
        let answer = endpoint_answer::text(&body)?;
        read_answer(&answer, wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_key() {
        let config = ChatEndpointConfig {
            url: Url::parse("https://user:hush@chat.example/?hush").expect("an address"),
            model: "small".to_owned(),
            key: Some("hush".to_owned().into()),
            timeout: Duration::from_secs(1),
            temperature: 0.5,
            max_tokens: 10,
            system_prompts: SystemPrompts::default(),
            extra: Map::new(),
        };
        let endpoint = ChatEndpoint::new(config).expect("an endpoint");
        let shown = format!("{endpoint:?} {}", endpoint.name());
        assert!(
            shown.contains("chat.example") && !shown.contains("hush"),
            "{shown}"
        );
    }
}
