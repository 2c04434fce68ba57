//! The list of a repository's files, for models that nobody has written a manifest for.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use super::answer::Trouble;
use super::send::Follow;
use super::{Hub, retry};
use crate::digest::FileDigest;
use crate::error::Error;
use crate::names::{RelativePath, Repository, Revision};

/// A longer list is not read.
const LONGEST_LIST_BYTES: usize = 16 << 20;

/// More files are no model.
const MOST_FILES: usize = 5_000;

/// A repository in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// That state.
    pub commit: Option<Revision>,
    /// Whether its terms must be taken at the hub.
    pub gated: bool,
    /// What it says of its licence.
    pub licence: Option<String>,
    /// Its files, hidden ones left out.
    pub files: Vec<ListedFile>,
}

/// A file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Where it lies.
    pub path: RelativePath,
    /// How large it is.
    pub size: Option<u64>,
    /// What it holds, if the hub says so.
    pub sha256: Option<FileDigest>,
}

#[derive(Deserialize)]
struct Answer {
    sha: Option<String>,
    #[serde(default)]
    gated: serde_json::Value,
    #[serde(default, rename = "cardData")]
    card: Option<Card>,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Card {
    #[serde(default)]
    license: serde_json::Value,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: Option<String>,
    size: Option<u64>,
}

impl Hub {
    /// The files of a repository.
    ///
    /// # Errors
    /// When the hub does not give the list, or it is not to be trusted.
    pub async fn listing(
        &self,
        repository: &Repository,
        revision: &Revision,
    ) -> Result<Listing, Error> {
        let what = format!("the list of files of {repository}");
        let bytes = retry::repeat(self.pace(), &what, || self.list_once(repository, revision));
        understood(&bytes.await?).map_err(|reason| Error::Listing {
            repository: repository.clone(),
            reason,
        })
    }

    async fn list_once(
        &self,
        repository: &Repository,
        revision: &Revision,
    ) -> Result<Vec<u8>, Trouble> {
        let revision = revision.as_str().replace('/', "%2F");
        let mut url = self.address(&format!("api/models/{repository}/revision/{revision}"));
        url.set_query(Some("blobs=true"));
        let what = format!("the list of files of {repository}");
        let none = HeaderMap::new();
        let sent = self.send(&Method::GET, url, &none, Follow::Hub, &what);
        let mut answered = sent.await?;
        if !answered.response.status().is_success() {
            return Err(self.refusal(&answered, repository, what));
        }
        let mut bytes = Vec::new();
        let broken = |error| Trouble::broken(&answered.host, &error);
        while let Some(chunk) = answered.response.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LONGEST_LIST_BYTES {
                return Err(Trouble::Final(Error::Listing {
                    repository: repository.clone(),
                    reason: format!("it is longer than {LONGEST_LIST_BYTES} bytes"),
                }));
            }
        }
        Ok(bytes)
    }
}

fn understood(bytes: &[u8]) -> Result<Listing, String> {
    let answer: Answer = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if answer.siblings.len() > MOST_FILES {
        return Err(format!("it has more than {MOST_FILES} files"));
    }
    let visible = |file: &Sibling| !is_hidden(&file.rfilename);
    let files = answer.siblings.into_iter().filter(visible);
    let licence = answer.card.map(|card| card.license);
    Ok(Listing {
        commit: answer.sha.and_then(|sha| sha.parse().ok()),
        gated: !matches!(
            answer.gated,
            serde_json::Value::Null | serde_json::Value::Bool(false)
        ),
        licence: licence.and_then(|licence| Some(licence.as_str()?.to_owned())),
        files: files.map(Sibling::listed).collect::<Result<_, _>>()?,
    })
}

/// Whether a path's name begins with a dot, and nothing else is wrong with it.
fn is_hidden(path: &str) -> bool {
    path.split('/').all(|name| !name.is_empty() && name != "..")
        && path
            .split('/')
            .any(|name| name.starts_with('.') && name != ".")
}

impl Sibling {
    fn listed(self) -> Result<ListedFile, String> {
        let path = RelativePath::try_from(self.rfilename).map_err(|error| error.to_string())?;
        let (sha256, large) = match self.lfs {
            Some(lfs) => (lfs.sha256, lfs.size),
            None => (None, None),
        };
        let sha256 = sha256.map(|text| text.parse::<FileDigest>());
        Ok(ListedFile {
            path,
            size: large.or(self.size),
            sha256: sha256.transpose().map_err(|error| error.to_string())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_hidden_files_are_left_out() {
        let digest = FileDigest::of(b"x");
        let text = format!(
            r#"{{"sha": "{}", "gated": "auto", "cardData": {{"license": "mit"}}, "siblings": [
                {{"rfilename": ".gitattributes", "size": 7}},
                {{"rfilename": "config.json", "size": 3, "blobId": "x"}},
                {{"rfilename": "a/b.safetensors", "size": 9, "lfs": {{"sha256": "{digest}", "size": 9}}}}
            ]}}"#,
            "a".repeat(40)
        );
        let listing = understood(text.as_bytes()).expect("a list");
        assert!(listing.gated);
        assert_eq!(listing.licence.as_deref(), Some("mit"));
        let files: Vec<_> = listing
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(files, ["config.json", "a/b.safetensors"]);
        assert_eq!(listing.files[1].sha256, Some(digest));
    }

    #[test]
    fn paths_that_lead_out_are_refused_and_not_passed_over() {
        for path in [
            "../a",
            "a/../../b",
            "/etc/passwd",
            "a/./b",
            "..",
            ".git/../../x",
            "a\\b",
        ] {
            let text = serde_json::json!({ "siblings": [{ "rfilename": path }] }).to_string();
            let refused = understood(text.as_bytes()).expect_err(path);
            assert!(refused.contains("not a path inside"), "{refused}");
        }
    }
}
