//! Why a guarded call came to nothing.

use std::error::Error as _;
use std::time::Duration;

use super::client::host_of;
use super::resolve::NotAdmitted;

/// What went wrong. Names the host, never the whole address: it may hold a token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardedError {
    #[error("its address is not a valid http or https address.")]
    Address,
    #[error(
        "{0} is a private address, and this service connects only to public ones, unless its \
         operator allows others."
    )]
    Refused(String),
    #[error("{host} did not answer in full within {limit:?}.")]
    TimedOut { host: String, limit: Duration },
    #[error("{0} cannot be reached. Check the address.")]
    Unreachable(String),
    #[error("{host} answered with status {status}.")]
    Status { host: String, status: u16 },
    #[error("{0} redirects too often.")]
    TooManyRedirects(String),
    #[error("{host} sends more than {max_megabytes} MB.")]
    TooLarge { host: String, max_megabytes: usize },
    #[error("{0} broke off in the middle of the answer.")]
    BrokenOff(String),
    #[error("this service cannot make connections ({0}).")]
    Client(String),
}

impl GuardedError {
    /// What an error of the HTTP client means. Its own text holds the whole address.
    pub(super) fn blame(url: &url::Url, error: &reqwest::Error, connect: Duration) -> Self {
        let host = host_of(url);
        let mut source = error.source();
        while let Some(cause) = source {
            if cause.is::<NotAdmitted>() {
                return Self::Refused(host);
            }
            source = cause.source();
        }
        if error.is_timeout() {
            return Self::TimedOut {
                host,
                limit: connect,
            };
        }
        Self::Unreachable(host)
    }
}
