//! What a local blob store leaves behind and does not list: files of writes that were interrupted
//! (`name#1`, renamed when they are complete), and empty folders.

use std::fs::{self, DirEntry};
use std::path::Path;
use std::time::UNIX_EPOCH;

use tintype_domain::UnixMillis;
use tintype_store::Mode;

use super::pass::Removed;

/// The folders that this program writes into.
const ROOTS: [&str; 2] = ["tasks", "files"];

/// Folders below one another in them: a task's, an attempt's.
const DEPTH: usize = 2;

/// Removes leftovers from before a time. What cannot be read or removed waits for the next time.
pub(super) fn clear(blobs: &Path, before: UnixMillis, mode: Mode) -> Removed {
    let mut clearing = Clearing {
        before,
        mode,
        removed: Removed::default(),
    };
    for root in ROOTS {
        clearing.clear(&blobs.join(root), DEPTH);
    }
    clearing.removed
}

struct Clearing {
    before: UnixMillis,
    mode: Mode,
    removed: Removed,
}

impl Clearing {
    fn clear(&mut self, folder: &Path, depth: usize) {
        let Ok(entries) = fs::read_dir(folder) else {
            return;
        };
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() && depth > 0 {
                self.clear(&entry.path(), depth - 1);
                self.remove_if_empty(&entry);
            } else if kind.is_file() && is_unfinished(&entry) && self.is_old(&entry) {
                self.remove(&entry);
            }
        }
    }

    fn remove(&mut self, entry: &DirEntry) {
        let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
        if self.mode == Mode::Look || fs::remove_file(entry.path()).is_ok() {
            self.removed.files += 1;
            self.removed.bytes += bytes;
        }
    }

    /// The operating system refuses if something is in it. Whoever writes into it at this moment
    /// makes it again.
    fn remove_if_empty(&self, entry: &DirEntry) {
        let is_empty = fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none());
        if self.mode == Mode::Remove && is_empty && self.is_old(entry) {
            let _ = fs::remove_dir(entry.path());
        }
    }

    fn is_old(&self, entry: &DirEntry) -> bool {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let Ok(since) = modified.map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default()) else {
            return false;
        };
        i64::try_from(since.as_millis()).is_ok_and(|millis| millis < self.before.0)
    }
}

/// The names that `object_store` gives to a file until it is complete.
fn is_unfinished(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let suffix = name.to_str().and_then(|name| name.split_once('#'));
    suffix.is_some_and(|(_, digits)| {
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_leftovers_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = folder.path();
        for path in [
            "tasks/1/1/0",
            "tasks/2/1/0#1",
            "files/a",
            "files/b#12",
            "files/c#d",
        ] {
            let path = blobs.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, "bytes").expect("a file");
        }
        fs::create_dir_all(blobs.join("tasks/3/1")).expect("a folder");
        fs::create_dir_all(blobs.join("elsewhere/1")).expect("a folder");
        let (long_ago, future) = (UnixMillis(0), UnixMillis(i64::MAX));

        assert_eq!(clear(blobs, long_ago, Mode::Remove), Removed::default());
        assert!(blobs.join("tasks/3/1").exists());
        let both = Removed {
            files: 2,
            bytes: 10,
        };
        assert_eq!(clear(blobs, future, Mode::Look), both);
        assert_eq!(clear(blobs, future, Mode::Remove), both);
        assert_eq!(clear(blobs, future, Mode::Remove), Removed::default());
        for kept in ["tasks/1/1/0", "files/a", "files/c#d", "elsewhere/1"] {
            assert!(blobs.join(kept).exists(), "{kept}");
        }
        for gone in ["tasks/2", "tasks/3", "files/b#12"] {
            assert!(!blobs.join(gone).exists(), "{gone}");
        }
    }
}
