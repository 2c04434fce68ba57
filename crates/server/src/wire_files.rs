//! Uploads and folders as clients see them: [`crate::wire`] for files.

use serde::Serialize;
use tintype_domain::{FileId, FileRecord, Folder};

use crate::errors::ErrorEntry;
use crate::wire::seconds;

/// The answer to an upload or a new folder.
#[derive(Debug, Serialize)]
pub struct ListAnswer<T> {
    /// Always `true`.
    pub result: bool,
    /// Always empty: failures have their own envelope.
    pub errors: [ErrorEntry; 0],
    /// What was made.
    pub list: [T; 1],
}

impl<T> ListAnswer<T> {
    /// The answer that shows one new thing.
    pub fn of(item: T) -> Self {
        Self {
            result: true,
            errors: [],
            list: [item],
        }
    }
}

/// An uploaded file.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireFile {
    pub id: String,
    pub name: String,
    pub contenttype: String,
    pub size: String,
    pub parentid: String,
    pub url: String,
    pub addedtime: String,
    pub accesskey: String,
}

/// A folder.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireFolder {
    pub id: String,
    pub name: String,
    pub parentid: String,
    pub size: &'static str,
    pub contenttype: &'static str,
    pub addedtime: String,
}

impl WireFile {
    /// A file as clients see it.
    pub fn of(file: FileRecord, base_url: &str) -> Self {
        Self {
            url: format!("{base_url}/{}/{}", file.directory, file.name),
            id: file.id.0,
            name: file.name,
            contenttype: file.content_type,
            size: file.size_bytes.to_string(),
            parentid: parent_id(file.folder),
            addedtime: seconds(Some(file.added_at)),
            accesskey: file.access_key.0,
        }
    }
}

impl WireFolder {
    /// A folder as clients see it.
    pub fn of(folder: Folder) -> Self {
        Self {
            id: folder.id.0,
            name: folder.name,
            parentid: parent_id(folder.parent),
            size: "0",
            contenttype: "",
            addedtime: seconds(Some(folder.added_at)),
        }
    }
}

/// The top level has no id; clients may send the empty text back.
fn parent_id(folder: Option<FileId>) -> String {
    folder.map_or_else(String::new, |folder| folder.0)
}
