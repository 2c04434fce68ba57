//! Where the bytes of files lie in the blob store.
//!
//! A key tells whose the bytes are, so the question whether anybody still points at them is
//! answered by the owner's record. No key is given out twice: the key of an output carries the
//! fencing epoch of its attempt, the key of an upload is random.

use std::fmt;

use crate::{Epoch, FileId, TaskId};

/// A key in the blob store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BlobKey {
    /// A picture that an attempt made: `tasks/{task}/{epoch}/{index}`.
    Output {
        /// The task.
        task: TaskId,
        /// The epoch of the attempt.
        epoch: Epoch,
        /// Which of its pictures, counted from zero.
        index: u32,
    },
    /// A file that a project uploaded: `files/{id}`.
    Upload(FileId),
}

impl BlobKey {
    /// Understands a key; `None` for bytes that this program did not put there.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let key = match parts.as_slice() {
            ["tasks", task, epoch, index] => Self::Output {
                task: TaskId(task.parse().ok()?),
                epoch: Epoch(epoch.parse().ok()?),
                index: index.parse().ok()?,
            },
            ["files", id] => Self::Upload(FileId((*id).to_owned())),
            _ => return None,
        };
        // Numbers can be written in several ways, keys cannot.
        (key.to_string() == text).then_some(key)
    }

    /// The folder with the bytes of all attempts of a task.
    pub fn folder_of(task: TaskId) -> String {
        format!("tasks/{task}")
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output { task, epoch, index } => write!(f, "tasks/{task}/{epoch}/{index}"),
            Self::Upload(id) => write!(f, "files/{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_understood_in_one_spelling() {
        for text in ["tasks/17/2/0", "files/0af3"] {
            let key = BlobKey::parse(text).expect("a key of ours");
            assert_eq!(key.to_string(), text);
        }
        for foreign in [
            "",
            "tasks",
            "tasks/1/2",
            "tasks/01/2/0",
            "tasks/+1/2/0",
            "tasks/1/2/0/0",
            "tasks/a/2/0",
            "files/a/b",
            "backup.tar",
        ] {
            assert_eq!(BlobKey::parse(foreign), None, "{foreign}");
        }
    }
}
