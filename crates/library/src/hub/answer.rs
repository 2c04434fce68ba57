//! What a hub's answers mean.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::error::Error;

/// Why something did not come.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may come the next time.
    Passing {
        /// What happened.
        reason: String,
        /// When the hub wants to be asked again.
        wait: Option<Duration>,
    },
    /// It will not.
    Final(Error),
}

impl Trouble {
    pub fn passing(reason: impl Into<String>) -> Self {
        Self::Passing {
            reason: reason.into(),
            wait: None,
        }
    }

    /// What a broken connection says.
    pub fn broken(host: &str, error: &reqwest::Error) -> Self {
        let what = if error.is_connect() {
            "cannot be reached"
        } else if error.is_timeout() {
            "says nothing"
        } else {
            "broke the connection off"
        };
        Self::passing(format!("{host} {what} ({})", root_cause(error)))
    }

    /// What a status says that everybody has for passing troubles; `None` if it is none of them.
    pub fn of_status(host: &str, status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let passing = status.is_server_error()
            || matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
            );
        let reason = match status {
            StatusCode::TOO_MANY_REQUESTS => format!("{host} wants fewer requests (status 429)"),
            status => format!("{host} is in trouble (status {})", status.as_u16()),
        };
        passing.then(|| Self::Passing {
            reason,
            wait: retry_after(headers),
        })
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// `Retry-After` in seconds; dates are not used by hubs.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// The innermost reason of an error of the HTTP client, without the address.
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    tintype_words::cause(error).unwrap_or_else(|| "no reason given".to_owned())
}
