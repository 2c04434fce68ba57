//! Whether an installed model is what was fetched.

use std::fs;
use std::path::Path;

use crate::digest::FileDigest;
use crate::installed::{Record, RecordedFile};
use crate::names::RelativePath;

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// It has another length.
    Length {
        /// What it has.
        found: u64,
        /// What it should have.
        expected: u64,
    },
    /// It holds other bytes.
    Bytes,
    /// It cannot be read.
    Unreadable,
}

/// A file that is not what was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Which one.
    pub path: RelativePath,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Reads every file; `seen` is told of each. Those that are wrong come back.
pub(crate) fn wrong_files(
    folder: &Path,
    record: &Record,
    mut seen: impl FnMut(&RecordedFile),
) -> Vec<Wrong> {
    let check = |file: &RecordedFile| {
        seen(file);
        let fault = fault_of(folder, file)?;
        Some(Wrong {
            path: file.path.clone(),
            fault,
        })
    };
    record.files.iter().filter_map(check).collect()
}

/// What is wrong with one file, if anything.
pub(crate) fn fault_of(folder: &Path, file: &RecordedFile) -> Option<Fault> {
    let path = file.path.under(folder);
    let Ok(metadata) = fs::metadata(&path) else {
        return Some(Fault::Missing);
    };
    let (found, expected) = (metadata.len(), file.size);
    if found != expected {
        return Some(Fault::Length { found, expected });
    }
    match FileDigest::of_file(&path) {
        Ok(digest) if digest == file.sha256 => None,
        Ok(_) => Some(Fault::Bytes),
        Err(_) => Some(Fault::Unreadable),
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::Length { found, expected } => {
                write!(f, "has {found} bytes where {expected} were fetched")
            }
            Self::Bytes => f.write_str("holds other bytes than were fetched"),
            Self::Unreadable => f.write_str("cannot be read"),
        }
    }
}
