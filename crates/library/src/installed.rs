//! What the library knows of a model that it has installed: a record in the model's folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::FileDigest;
use crate::error::Error;
use crate::manifest::{Kind, Licence};
use crate::names::{ModelName, RelativePath, Repository, Revision};

/// The record's name; hidden, so that no reader of models takes it for a part of one.
const RECORD: &str = ".tintype-library.json";

/// A model as it was installed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub name: ModelName,
    /// What it is, in a line.
    pub title: String,
    /// What it is for.
    pub kind: Kind,
    /// The memory of the machines that it is meant for.
    pub machine_gb: Option<u32>,
    /// Under which terms.
    pub licence: Licence,
    /// Where it came from.
    pub hub: String,
    /// What its `tintype.json` holds, if it has one.
    pub settings: Option<serde_json::Value>,
    /// Its files.
    pub files: Vec<RecordedFile>,
}

/// A file as it was installed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// Where it lies in the model's folder.
    pub path: RelativePath,
    /// How large it is.
    pub size: u64,
    /// What it holds.
    pub sha256: FileDigest,
    /// Where it came from; the program wrote it itself if this is missing.
    pub origin: Option<Origin>,
}

/// Where a file came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The repository.
    pub repository: Repository,
    /// The revision that was asked for.
    pub revision: Revision,
    /// The commit that this was then.
    pub commit: Option<Revision>,
    /// Where it lies there.
    pub source: RelativePath,
}

impl Record {
    /// The size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Reads that of a model's folder; `None` where the folder has none.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(RECORD);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            Err(source) => return Err(Error::io(&path, source)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::Record {
                path,
                reason: error.to_string(),
            })
    }

    /// Writes it into a model's folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).expect("a record is JSON; this is a bug");
        write_file(&folder.join(RECORD), &text)
    }
}

/// Writes a small file so that it is there whole or not at all.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let written = || {
        fs::write(&unfinished, bytes)?;
        fs::File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, path)
    };
    written().map_err(|source| Error::io(path, source))
}
