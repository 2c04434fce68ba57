//! A file that is not whole yet, and what is known of it: both survive the end of the program.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plan::Job;
use super::{Staging, blocking};
use crate::digest::{FileDigest, Running};
use crate::error::Error;
use crate::installed::write_file;
use crate::space;

/// What is known of a file that is being fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// What the hub identified it by.
    pub etag: Option<String>,
    /// Its state of the repository.
    pub revision: String,
    /// Its size.
    pub size: Option<u64>,
    /// What its sender identified it by.
    pub validator: Option<String>,
    /// What it holds, once it is whole.
    pub sha256: Option<FileDigest>,
}

impl Note {
    pub fn of(job: &Job) -> Self {
        Self {
            etag: job.info.etag.clone(),
            revision: job.address.revision.to_string(),
            size: job.info.size,
            validator: None,
            sha256: None,
        }
    }

    /// Whether it is about the file as it is now: what has no etag is the same within a commit.
    pub fn is_of(&self, job: &Job) -> bool {
        let same = self.etag == job.info.etag && self.size == job.info.size;
        let fixed =
            job.address.revision.is_commit() && self.revision == job.address.revision.as_str();
        same && (self.etag.is_some() || fixed || self.validator.is_some())
    }

    pub fn read(staging: &Staging, job: &Job) -> Option<Self> {
        let bytes = fs::read(staging.note(job)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub fn write(&self, staging: &Staging, job: &Job) -> Result<(), Error> {
        let text = serde_json::to_vec(self).expect("a note is JSON; this is a bug");
        write_file(&staging.note(job), &text)
    }
}

impl Staging {
    /// Where what has arrived of a file lies.
    pub fn part(&self, job: &Job) -> PathBuf {
        self.parts.join(format!("{}.part", key(job)))
    }

    fn note(&self, job: &Job) -> PathBuf {
        self.parts.join(format!("{}.json", key(job)))
    }
}

/// A flat name for a path.
fn key(job: &Job) -> String {
    let path = &job.wanted.path;
    let mut digest = FileDigest::of(path.as_str().as_bytes()).to_string();
    digest.truncate(12);
    format!("{digest}-{}", path.file_name())
}

/// What has arrived of a file. Its digest runs along.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    digest: Running,
    length: u64,
}

impl Part {
    /// Goes on with what is there; that is read once, for the digest.
    pub async fn open(path: PathBuf) -> Result<Self, Error> {
        let opened = blocking(move || Self::read(&path).map_err(|source| Error::io(&path, source)));
        opened.await?
    }

    fn read(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let mut digest = Running::default();
        let length = digest.add_file(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            digest,
            length,
        })
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| self.blame(source, bytes.len() as u64))?;
        self.digest.add(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what has arrived.
    pub fn restart(&mut self) -> Result<(), Error> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|source| self.blame(source, 0))?;
        self.digest = Running::default();
        self.length = 0;
        Ok(())
    }

    /// What it holds; it is on the disk then.
    pub async fn digest(&self) -> Result<FileDigest, Error> {
        let file = self.file.try_clone();
        let file = file.map_err(|source| self.blame(source, 0))?;
        let flushed = blocking(move || file.sync_all()).await?;
        flushed.map_err(|source| self.blame(source, 0))?;
        Ok(self.digest.clone().end())
    }

    fn blame(&self, source: io::Error, needed: u64) -> Error {
        let folder = self.path.parent().unwrap_or(&self.path);
        if source.kind() == io::ErrorKind::StorageFull {
            return Error::NoSpace {
                folder: folder.to_owned(),
                needed,
                free: space::free(folder).unwrap_or_default(),
            };
        }
        Error::io(&self.path, source)
    }
}
