//! One request, and the addresses that it is led to.

use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Method, Response};
use url::Url;

use super::Hub;
use super::answer::Trouble;
use crate::error::Error;

/// Redirects that are followed.
const HOPS: usize = 8;

/// How far redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// To the end, wherever that is.
    Everywhere,
    /// As long as they stay with the hub.
    Hub,
}

/// The answer at the end, and what was said on the way.
pub(super) struct Answered {
    pub response: Response,
    /// Whether it is the hub's own.
    pub of_hub: bool,
    /// The headers of the hub's own last answer.
    pub hub_headers: HeaderMap,
    /// Who answered.
    pub host: String,
}

impl Hub {
    /// Asks, and follows redirects. `what` is what is asked for, for people.
    pub(super) async fn send(
        &self,
        method: &Method,
        start: Url,
        headers: &HeaderMap,
        follow: Follow,
        what: &str,
    ) -> Result<Answered, Trouble> {
        let mut url = start;
        let mut hub_headers = HeaderMap::new();
        for _ in 0..=HOPS {
            let response = self.ask(method, &url, headers).await?;
            let of_hub = self.is_own(&url);
            if of_hub {
                hub_headers.extend(response.headers().clone());
            }
            let next = match response.status().is_redirection() {
                true => self.next(&url, &response, what)?,
                false => None,
            };
            match next {
                Some(next) if follow == Follow::Everywhere || self.is_own(&next) => url = next,
                _ => {
                    let host = host_of(&url);
                    return Ok(Answered {
                        response,
                        of_hub,
                        hub_headers,
                        host,
                    });
                }
            }
        }
        Err(Trouble::Final(Error::Redirects {
            host: self.host(),
            what: what.to_owned(),
            hops: HOPS,
        }))
    }

    async fn ask(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Response, Trouble> {
        let mut request = self.http.request(method.clone(), url.clone());
        // What is packed on its way has another length than the file.
        request = request
            .headers(headers.clone())
            .header(ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token.as_ref().filter(|_| self.is_own(url)) {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let sent = request.send().await;
        sent.map_err(|error| Trouble::broken(&host_of(url), &error))
    }

    /// Where a redirect leads.
    fn next(&self, from: &Url, response: &Response, what: &str) -> Result<Option<Url>, Trouble> {
        let Some(location) = response.headers().get(LOCATION) else {
            return Ok(None);
        };
        let refuse = |reason| {
            Trouble::Final(Error::Redirect {
                host: host_of(from),
                what: what.to_owned(),
                reason,
            })
        };
        let location = location.to_str().map_err(|_| refuse("it is not text"))?;
        let next = from
            .join(location)
            .map_err(|_| refuse("it is not an address"))?;
        match (from.scheme(), next.scheme()) {
            (_, "https") | ("http", "http") => Ok(Some(next)),
            ("https", "http") => Err(refuse("it is not encrypted")),
            _ => Err(refuse("it is neither http nor https")),
        }
    }

    /// Whether an address is the hub's own: the same scheme, host and port.
    fn is_own(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }
}

/// Host and port of an address; the rest of it may be signed.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or("the hub");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}
