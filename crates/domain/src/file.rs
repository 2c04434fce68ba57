//! Files: what a task made, and what a project uploaded.

use serde::{Deserialize, Serialize};

use crate::{AccessKey, FileId, ProjectId, UnixMillis};

/// Characters of a stored file's name at most: what every file system takes.
const MAX_NAME_CHARS: usize = 120;

/// What a file is called whose client gave it no usable name.
const NAMELESS: &str = "upload";

/// One final picture of a task. Its bytes lie in the blob store under `blob_key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// The file's id.
    pub id: FileId,
    /// `0.png`, `0.jpeg`, counted from zero.
    pub name: String,
    /// The media type, such as `image/png`.
    pub content_type: String,
    /// The folder of the task's outputs.
    pub parent_id: FileId,
    /// Bytes.
    pub size_bytes: u64,
    /// When it was added.
    pub added_at: UnixMillis,
    /// When its bytes last changed.
    pub modified_at: UnixMillis,
    /// The read capability echoed to the owner.
    pub access_key: AccessKey,
    /// The unguessable directory of its public address: `/{directory}/{name}`.
    pub directory: String,
    /// Where the bytes lie in the blob store.
    pub blob_key: String,
}

/// A file that a project uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// The file's id.
    pub id: FileId,
    /// The project that owns it.
    pub project: ProjectId,
    /// The folder that it was put in; `None` is the project's top level.
    pub folder: Option<FileId>,
    /// The name it was uploaded under; runs of the same project may use it as an input.
    pub name: String,
    /// The sniffed media type.
    pub content_type: String,
    /// Bytes.
    pub size_bytes: u64,
    /// When it was added.
    pub added_at: UnixMillis,
    /// The read capability.
    pub access_key: AccessKey,
    /// The unguessable directory of its public address: `/{directory}/{name}`.
    pub directory: String,
    /// Where the bytes lie in the blob store.
    pub blob_key: String,
}

/// A folder that a project made for its uploads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// The folder's id.
    pub id: FileId,
    /// The project that owns it.
    pub project: ProjectId,
    /// The folder that it stands in; `None` is the project's top level.
    pub parent: Option<FileId>,
    /// Its name, unique within its parent.
    pub name: String,
    /// When it was made.
    pub added_at: UnixMillis,
}

/// A file about to be recorded: the same fields, the store adds nothing of its own.
pub type NewFile = FileRecord;

/// The last part of a client's path, with everything that could mean something to a URL, a shell
/// or a file system replaced.
pub fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '_'
        }
    };
    let chars: Vec<char> = last.trim().chars().map(safe).collect();
    // The end is kept: it carries the extension.
    let kept = &chars[chars.len().saturating_sub(MAX_NAME_CHARS)..];
    let name: String = kept
        .iter()
        .collect::<String>()
        .trim_start_matches('.')
        .to_owned();
    if name.is_empty() {
        NAMELESS.to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_everything_that_could_mean_something() {
        for (name, expected) in [
            ("a.png", "a.png"),
            ("my photo.JPG", "my_photo.JPG"),
            ("/etc/passwd", "passwd"),
            ("..\\..\\a.png", "a.png"),
            ("..", "upload"),
            ("", "upload"),
            (".htaccess", "htaccess"),
            ("caf\u{e9}?.png", "caf__.png"),
        ] {
            assert_eq!(safe_name(name), expected, "{name}");
        }
        let long = format!("{}.png", "x".repeat(500));
        assert_eq!(safe_name(&long).len(), MAX_NAME_CHARS);
        assert!(safe_name(&long).ends_with(".png"));
    }
}
