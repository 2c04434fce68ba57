//! Posting to an address.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::HeaderMap;
use tokio::time::{Instant, timeout_at};

use super::GuardedError;
use super::client::{GuardedClient, host_of, parse};

/// One call to make.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    /// Where to.
    pub(crate) address: String,
    /// With what headers, the media type among them.
    pub(crate) headers: HeaderMap,
    /// What.
    pub(crate) body: Bytes,
}

/// The bounds of one call.
#[derive(Debug, Clone)]
pub(crate) struct PostLimits {
    /// For everything: name, connection, request, answer.
    pub(crate) total_timeout: Duration,
    /// No more of the answer is read.
    pub(crate) max_excerpt_bytes: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status, also one of failure or of a redirect.
    pub(crate) status: u16,
    /// How the answer's body begins.
    pub(crate) excerpt: String,
    /// From the first look at the address to the end of the excerpt.
    pub(crate) duration: Duration,
}

impl GuardedClient {
    /// Posts once. A redirect is an answer like any other and is not followed: what was signed
    /// for one receiver is not for another, and senders of Standard Webhooks count anything but
    /// 2xx as a failure.
    pub(crate) async fn post(
        &self,
        post: Post,
        limits: &PostLimits,
    ) -> Result<Answer, GuardedError> {
        let began = Instant::now();
        let deadline = began + limits.total_timeout;
        let url = parse(&post.address)?;
        let call = self.send(&url, |client| {
            let call = client.post(url.clone());
            call.headers(post.headers).body(post.body)
        });
        let answer = timeout_at(deadline, call).await;
        let mut answer = answer.map_err(|_| GuardedError::TimedOut {
            host: host_of(&url),
            limit: limits.total_timeout,
        })??;
        let mut excerpt = Vec::new();
        let reading = read_excerpt(&mut answer, &mut excerpt, limits.max_excerpt_bytes);
        // The status has decided already: an answer that breaks off or never ends is one.
        let _ = timeout_at(deadline, reading).await;
        Ok(Answer {
            status: answer.status().as_u16(),
            excerpt: String::from_utf8_lossy(&excerpt).into_owned(),
            duration: began.elapsed(),
        })
    }
}

/// Reads the beginning of a body, as far as it goes.
async fn read_excerpt(answer: &mut Response, excerpt: &mut Vec<u8>, max_bytes: usize) {
    while excerpt.len() < max_bytes {
        let Ok(Some(chunk)) = answer.chunk().await else {
            break;
        };
        let room = max_bytes - excerpt.len();
        excerpt.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
}
