//! Uploads and folders as clients see them: [`crate::wire`] for files.

use serde::Serialize;
use tintype_domain::{FileId, FileRecord, Folder};
use utoipa::ToSchema;

use crate::errors::ErrorEntry;
use crate::openapi::words;
use crate::wire::seconds;

/// The answer to an upload.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Uploaded)]
pub struct UploadAnswer {
    /// Always `true`.
    #[schema(schema_with = words::yes)]
    pub result: bool,
    /// Always empty: failures have their own envelope.
    #[schema(schema_with = words::no_errors)]
    pub errors: [ErrorEntry; 0],
    /// The file: exactly one.
    #[schema(value_type = Vec<WireFile>, min_items = 1, max_items = 1)]
    pub list: [WireFile; 1],
}

impl UploadAnswer {
    /// The answer that shows a new file.
    pub fn of(file: WireFile) -> Self {
        Self {
            result: true,
            errors: [],
            list: [file],
        }
    }
}

/// The answer to a new folder.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FolderMade)]
pub struct FolderAnswer {
    /// Always `true`.
    #[schema(schema_with = words::yes)]
    pub result: bool,
    /// Always empty: failures have their own envelope.
    #[schema(schema_with = words::no_errors)]
    pub errors: [ErrorEntry; 0],
    /// The folder: exactly one.
    #[schema(value_type = Vec<WireFolder>, min_items = 1, max_items = 1)]
    pub list: [WireFolder; 1],
}

impl FolderAnswer {
    /// The answer that shows a new folder.
    pub fn of(folder: WireFolder) -> Self {
        Self {
            result: true,
            errors: [],
            list: [folder],
        }
    }
}

/// An uploaded file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = File)]
pub struct WireFile {
    /// The file's id.
    pub id: String,
    /// The name that runs of the same project may use.
    pub name: String,
    /// Its media type, as its bytes say.
    pub contenttype: String,
    /// Bytes.
    #[schema(pattern = "^[0-9]+$")]
    pub size: String,
    /// The folder that it stands in; `""` is the top level.
    pub parentid: String,
    /// Its absolute address. No key is needed: the directory cannot be guessed.
    #[schema(format = "uri")]
    pub url: String,
    /// When it was stored, in unix seconds.
    #[schema(pattern = "^[0-9]+$")]
    pub addedtime: String,
    /// Its read capability.
    pub accesskey: String,
}

/// A folder.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Folder)]
pub struct WireFolder {
    /// The folder's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The folder that it stands in; `""` is the top level.
    pub parentid: String,
    /// Always `"0"`.
    pub size: &'static str,
    /// Always `""`.
    pub contenttype: &'static str,
    /// When it was made, in unix seconds.
    #[schema(pattern = "^[0-9]+$")]
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
