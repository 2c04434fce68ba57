//! Fetching what is at an address.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use reqwest::header::LOCATION;
use url::Url;

use super::GuardedError;
use super::client::{GuardedClient, host_of, parse};

/// Redirects at most: some hosts chain two or three.
const MAX_REDIRECTS: usize = 5;

/// The bounds of one fetch.
#[derive(Debug, Clone)]
pub(crate) struct GetLimits {
    /// For everything: names, connections, redirects, the body.
    pub(crate) total_timeout: Duration,
    /// The body may have this many megabytes.
    pub(crate) max_megabytes: usize,
}

impl GetLimits {
    fn max_bytes(&self) -> usize {
        self.max_megabytes * 1024 * 1024
    }
}

impl GuardedClient {
    /// The bytes at an address, within the limits. Redirects are followed, each judged like the
    /// first.
    pub(crate) async fn get(
        &self,
        address: &str,
        limits: &GetLimits,
    ) -> Result<Bytes, GuardedError> {
        let url = parse(address)?;
        let timed_out = GuardedError::TimedOut {
            host: host_of(&url),
            limit: limits.total_timeout,
        };
        let all = tokio::time::timeout(limits.total_timeout, self.follow(url, limits));
        all.await.map_err(|_| timed_out)?
    }

    async fn follow(&self, mut url: Url, limits: &GetLimits) -> Result<Bytes, GuardedError> {
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send(&url, |client| client.get(url.clone())).await?;
            match redirect_of(&answer) {
                Some(location) => url = url.join(&location).map_err(|_| GuardedError::Address)?,
                None => return read(answer, &host_of(&url), limits).await,
            }
        }
        Err(GuardedError::TooManyRedirects(host_of(&url)))
    }
}

fn redirect_of(answer: &Response) -> Option<String> {
    let location = answer
        .headers()
        .get(LOCATION)
        .filter(|_| answer.status().is_redirection())?;
    location.to_str().ok().map(str::to_owned)
}

/// Reads a body; its announced length is believed only where that is cheaper.
async fn read(mut answer: Response, host: &str, limits: &GetLimits) -> Result<Bytes, GuardedError> {
    if !answer.status().is_success() {
        return Err(GuardedError::Status {
            host: host.to_owned(),
            status: answer.status().as_u16(),
        });
    }
    let max_bytes = limits.max_bytes();
    let too_large = || GuardedError::TooLarge {
        host: host.to_owned(),
        max_megabytes: limits.max_megabytes,
    };
    if answer
        .content_length()
        .is_some_and(|length| length > max_bytes as u64)
    {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    loop {
        let chunk = answer.chunk().await;
        match chunk.map_err(|_| GuardedError::BrokenOff(host.to_owned()))? {
            Some(chunk) if body.len() + chunk.len() > max_bytes => return Err(too_large()),
            Some(chunk) => body.extend_from_slice(&chunk),
            None => return Ok(body.freeze()),
        }
    }
}
