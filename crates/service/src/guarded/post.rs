//! Posting to an address.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};

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

/// What came back. The body is not read: the status has decided already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status, also one of failure or of a redirect.
    pub(crate) status: u16,
    /// When the receiver wants to be called again, as it wrote it.
    pub(crate) retry_after: Option<String>,
}

impl GuardedClient {
    /// Posts once, within `timeout`: name, connection, request, answer. A redirect is an answer
    /// like any other and is not followed: what was signed for one receiver is not for another,
    /// and senders of Standard Webhooks count anything but 2xx as a failure.
    pub(crate) async fn post(&self, post: Post, timeout: Duration) -> Result<Answer, GuardedError> {
        let url = parse(&post.address)?;
        let call = self.send(&url, |client| {
            let call = client.post(url.clone());
            call.headers(post.headers).body(post.body)
        });
        let answer = tokio::time::timeout(timeout, call).await;
        let answer = answer.map_err(|_| GuardedError::TimedOut {
            host: host_of(&url),
            limit: timeout,
        })??;
        let retry_after = answer.headers().get(RETRY_AFTER);
        Ok(Answer {
            status: answer.status().as_u16(),
            retry_after: retry_after.and_then(|text| text.to_str().ok().map(str::to_owned)),
        })
    }
}
