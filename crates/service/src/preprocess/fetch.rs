//! Fetching a picture from an address that a client named.
//!
//! The client chooses the address, so the connection is guarded: only addresses of the public
//! internet are connected to. Names are judged when they are resolved for the very connection
//! that is made, so an answer that changes in between does not help; redirects are followed by
//! hand, each judged like the first.

use std::error::Error as _;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use url::{Host, Url};

use super::{MAX_IMAGE_BYTES, MAX_IMAGE_MEGABYTES};
use crate::cause::root_cause;
use crate::networks;

/// Redirects at most: some hosts chain two or three.
const MAX_REDIRECTS: usize = 5;

/// A host that is up accepts a connection within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// 20 MB over a slow line; meanwhile the task holds one of a worker's places.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// How pictures are fetched.
#[derive(Debug, Clone)]
pub struct FetchLimits {
    /// For making a connection.
    pub connect_timeout: Duration,
    /// For everything, redirects included.
    pub total_timeout: Duration,
    /// Whether private, loopback and link-local addresses may be fetched from. Clients can then
    /// reach whatever this machine can reach.
    pub danger_allow_private_addresses: bool,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            total_timeout: TOTAL_TIMEOUT,
            danger_allow_private_addresses: false,
        }
    }
}

/// Why there are no bytes. Names the host, never the whole address: it may hold a token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("its address is not a valid http or https address.")]
    Address,
    #[error("{0} is a private address, and this service fetches only from public ones.")]
    Private(String),
    #[error("{host} did not answer in full within {limit:?}.")]
    TimedOut { host: String, limit: Duration },
    #[error("{0} cannot be reached. Check the address.")]
    Unreachable(String),
    #[error("{host} answered with status {status}.")]
    Status { host: String, status: u16 },
    #[error("{0} redirects too often.")]
    TooManyRedirects(String),
    #[error("{0} sends more than {MAX_IMAGE_MEGABYTES} MB.")]
    TooLarge(String),
    #[error("{0} broke off in the middle of the answer.")]
    BrokenOff(String),
    #[error("this service cannot make connections ({0}).")]
    Client(String),
}

/// Fetches pictures. One for the whole service.
pub(crate) struct Fetcher {
    limits: FetchLimits,
    admits: fn(IpAddr) -> bool,
    client: OnceLock<Client>,
}

impl Fetcher {
    pub(crate) fn new(limits: FetchLimits) -> Self {
        let admits = if limits.danger_allow_private_addresses {
            |_| true
        } else {
            networks::is_public
        };
        Self {
            limits,
            admits,
            client: OnceLock::new(),
        }
    }

    /// The bytes at an address, within the limits.
    pub(crate) async fn fetch(&self, address: &str) -> Result<Bytes, FetchError> {
        let url = Url::parse(address).map_err(|_| FetchError::Address)?;
        let limit = self.limits.total_timeout;
        let timed_out = FetchError::TimedOut {
            host: host_of(&url),
            limit,
        };
        let all = tokio::time::timeout(limit, self.follow(url));
        all.await.map_err(|_| timed_out)?
    }

    async fn follow(&self, mut url: Url) -> Result<Bytes, FetchError> {
        let client = self.client()?;
        for _ in 0..=MAX_REDIRECTS {
            self.judge(&url)?;
            let answer = client.get(url.clone()).send().await;
            let answer = answer.map_err(|error| self.blame(&url, &error))?;
            match redirect_of(&answer) {
                Some(location) => url = url.join(&location).map_err(|_| FetchError::Address)?,
                None => return read(answer, &host_of(&url)).await,
            }
        }
        Err(FetchError::TooManyRedirects(host_of(&url)))
    }

    /// An address that is written as a number meets no resolver, so it is judged here.
    fn judge(&self, url: &Url) -> Result<(), FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Address);
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(FetchError::Address),
        };
        match literal {
            Some(address) if !(self.admits)(address) => Err(FetchError::Private(host_of(url))),
            _ => Ok(()),
        }
    }

    fn client(&self) -> Result<&Client, FetchError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // Fails when the process has one already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder()
            .dns_resolver(Arc::new(GuardedResolver {
                admits: self.admits,
            }))
            .redirect(Policy::none())
            // A proxy would make the connections in our place, unguarded.
            .no_proxy()
            .connect_timeout(self.limits.connect_timeout)
            .user_agent(concat!("tintype/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| FetchError::Client(root_cause(&error)))?;
        Ok(self.client.get_or_init(|| client))
    }

    fn blame(&self, url: &Url, error: &reqwest::Error) -> FetchError {
        let host = host_of(url);
        let mut source = error.source();
        while let Some(cause) = source {
            if cause.is::<NotPublic>() {
                return FetchError::Private(host);
            }
            source = cause.source();
        }
        if error.is_timeout() {
            return FetchError::TimedOut {
                host,
                limit: self.limits.connect_timeout,
            };
        }
        FetchError::Unreachable(host)
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
async fn read(mut answer: Response, host: &str) -> Result<Bytes, FetchError> {
    if !answer.status().is_success() {
        return Err(FetchError::Status {
            host: host.to_owned(),
            status: answer.status().as_u16(),
        });
    }
    let too_large = || FetchError::TooLarge(host.to_owned());
    if answer
        .content_length()
        .is_some_and(|length| length > MAX_IMAGE_BYTES as u64)
    {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    loop {
        let chunk = answer.chunk().await;
        match chunk.map_err(|_| FetchError::BrokenOff(host.to_owned()))? {
            Some(chunk) if body.len() + chunk.len() > MAX_IMAGE_BYTES => return Err(too_large()),
            Some(chunk) => body.extend_from_slice(&chunk),
            None => return Ok(body.freeze()),
        }
    }
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or("the address").to_owned()
}

/// Resolves names to those of their addresses that may be connected to.
struct GuardedResolver {
    admits: fn(IpAddr) -> bool,
}

/// A name all of whose addresses are refused.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address")]
struct NotPublic;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let admits = self.admits;
        Box::pin(async move {
            let all = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted: Vec<_> = all.filter(|address| admits(address.ip())).collect();
            if admitted.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
