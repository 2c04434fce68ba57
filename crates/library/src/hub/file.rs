//! A file of a repository: what the hub says of it, and its bytes.

use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE,
};
use reqwest::{Method, Response, StatusCode};

use super::answer::Trouble;
use super::send::{Answered, Follow};
use super::{Hub, retry};
use crate::digest::FileDigest;
use crate::error::Error;
use crate::names::{RelativePath, Repository, Revision};

const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
const COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");

/// Which file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Of which repository.
    pub repository: Repository,
    /// In which state of it.
    pub revision: Revision,
    /// Where there.
    pub path: RelativePath,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.repository, self.path)
    }
}

/// What a hub says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// How large it is, if it says so.
    pub size: Option<u64>,
    /// What identifies its content.
    pub etag: Option<String>,
    /// The commit that the revision is.
    pub commit: Option<Revision>,
}

impl FileInfo {
    /// What the file holds: large files have their SHA-256 for an etag.
    pub fn sha256(&self) -> Option<FileDigest> {
        self.etag.as_ref()?.parse().ok()
    }
}

/// The bytes of a file, on their way.
pub(crate) struct Opened {
    pub response: Response,
    /// Where in the file they begin.
    pub offset: u64,
    /// How large the file is, as the sender has it.
    pub total: Option<u64>,
    /// What the sender identifies the content by; only what is told apart byte by byte.
    pub validator: Option<String>,
    /// Who sends.
    pub host: String,
}

impl Hub {
    /// What the hub says of a file.
    ///
    /// # Errors
    /// When it has none, does not give it, or cannot be asked.
    pub async fn info(&self, file: &Address) -> Result<FileInfo, Error> {
        let what = file.to_string();
        retry::repeat(self.pace(), &what, || self.info_once(file)).await
    }

    async fn info_once(&self, file: &Address) -> Result<FileInfo, Trouble> {
        let (url, what) = (self.file_url(file), file.to_string());
        let none = HeaderMap::new();
        let sent = self.send(&Method::HEAD, url, &none, Follow::Hub, &what);
        let answered = sent.await?;
        let status = answered.response.status();
        if !status.is_success() && !status.is_redirection() {
            return Err(self.refusal(&answered, &file.repository, what));
        }
        let headers = &answered.hub_headers;
        let direct = status.is_success();
        // Of a redirect, the plain length and etag are those of the redirect.
        let last = answered.response.headers();
        let plain = |name| last.get(name).filter(|_| direct);
        let size = headers.get(LINKED_SIZE).or(plain(CONTENT_LENGTH));
        let etag = headers.get(LINKED_ETAG).or(plain(ETAG));
        let commit = headers.get(COMMIT).and_then(text);
        Ok(FileInfo {
            size: size.and_then(text).and_then(|size| size.parse().ok()),
            etag: etag.and_then(text).map(|etag| bare(etag).to_owned()),
            commit: commit
                .and_then(|commit| commit.parse().ok())
                .filter(Revision::is_commit),
        })
    }

    /// A file's bytes from `offset` on, if the sender can do that and still has what `validator`
    /// identifies; else from the beginning.
    pub(crate) async fn open(
        &self,
        file: &Address,
        offset: u64,
        validator: Option<&str>,
    ) -> Result<Opened, Trouble> {
        let (url, what) = (self.file_url(file), file.to_string());
        let headers = range(offset, validator);
        let sent = self.send(&Method::GET, url, &headers, Follow::Everywhere, &what);
        let answered = sent.await?;
        let Answered { response, host, .. } = &answered;
        let begins = match response.status() {
            StatusCode::OK => Some((0, length(response.headers()))),
            StatusCode::PARTIAL_CONTENT => content_range(response.headers()),
            _ => return Err(self.refusal(&answered, &file.repository, what)),
        };
        let Some((begins, total)) = begins.filter(|(begins, _)| *begins == 0 || *begins == offset)
        else {
            let reason = format!("{host} sent another part than was asked for");
            return Err(Trouble::passing(reason));
        };
        let etag = response.headers().get(ETAG).and_then(text);
        Ok(Opened {
            offset: begins,
            total,
            validator: etag.filter(|etag| etag.starts_with('"')).map(str::to_owned),
            host: answered.host,
            response: answered.response,
        })
    }

    fn file_url(&self, file: &Address) -> url::Url {
        let revision = file.revision.as_str().replace('/', "%2F");
        let (repository, path) = (&file.repository, &file.path);
        let mut url = self.address(&format!("{repository}/resolve/{revision}"));
        url.path_segments_mut()
            .expect("http has a path; this is a bug")
            .extend(path.as_str().split('/'));
        url
    }

    /// What an answer means that is not the thing.
    pub(super) fn refusal(
        &self,
        answered: &Answered,
        repository: &Repository,
        what: String,
    ) -> Trouble {
        let Answered { response, host, .. } = answered;
        let status = response.status();
        if let Some(passing) = Trouble::of_status(host, status, response.headers()) {
            return passing;
        }
        let host = host.clone();
        let denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        match status {
            // An address that the hub signed some time ago: it signs another one.
            _ if denied && !answered.of_hub => {
                Trouble::passing(format!("{host} refuses (status {})", status.as_u16()))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                Trouble::passing(format!("{host} has less than has been fetched"))
            }
            _ if denied => Trouble::Final(Error::Denied {
                status: status.as_u16(),
                repository: repository.clone(),
                page: self.address(repository.as_str()).to_string(),
                token: self.token.is_some(),
            }),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Trouble::Final(Error::NotFound { host, what })
            }
            status => Trouble::Final(Error::Status {
                host,
                status: status.as_u16(),
                what,
            }),
        }
    }
}

fn range(offset: u64, validator: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if offset == 0 {
        return headers;
    }
    let bytes = HeaderValue::from_str(&format!("bytes={offset}-"));
    headers.insert(RANGE, bytes.expect("digits; this is a bug"));
    if let Some(value) = validator.and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(IF_RANGE, value);
    }
    headers
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// An etag without what stands around it.
fn bare(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(text)?.parse().ok()
}

/// `bytes 5-9/10`: where the bytes begin, and how large the file is.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = headers.get(CONTENT_RANGE).and_then(text)?;
    let (range, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (begins, ends) = range.split_once('-')?;
    let (begins, ends): (u64, u64) = (begins.parse().ok()?, ends.parse().ok()?);
    // What is sent ends with the file: nothing else was asked for.
    let total = total.parse().ok().or_else(|| ends.checked_add(1));
    Some((begins, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, HeaderValue::from_static(text));
            content_range(&headers)
        };
        assert_eq!(read("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(read("bytes 5-9/*"), Some((5, Some(10))));
        for bad in [
            "bytes */10",
            "5-9/10",
            "bytes 5/10",
            "bytes x-y/z",
            "bytes 5-9",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(bare("W/\"abc\""), "abc");
    }
}
