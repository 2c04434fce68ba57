//! The claim of one process on a database: a lock file beside it.
//!
//! SQLite itself lets several processes write in turn. The queue does not: whoever opens the
//! store as its owner takes all leases for those of a dead process. The operating system drops
//! the lock when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::Error;

/// Held as long as the store is open.
#[derive(Debug)]
pub(super) struct OwnerLock {
    pub(super) file: File,
}

impl OwnerLock {
    /// Takes the lock of a database; `None` if another process (or another store in this one)
    /// has it.
    pub(super) fn try_take(database: &Path) -> Result<Option<Self>, Error> {
        let path = lock_path(database);
        let unavailable = |source: std::io::Error| Error::Unavailable {
            reason: format!("cannot lock {}: {source}", path.display()),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(unavailable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(unavailable(source)),
        }
        file.set_len(0).map_err(unavailable)?;
        write!(file, "{}", std::process::id()).map_err(unavailable)?;
        Ok(Some(Self { file }))
    }

    /// What to tell a person who finds the lock taken.
    pub(super) fn taken(database: &Path) -> Error {
        let mut process = String::new();
        let holder = File::open(lock_path(database))
            .and_then(|mut file| file.read_to_string(&mut process))
            .map(|_| format!("process {process}"));
        Error::Unavailable {
            reason: format!(
                "{} is in use by {}; stop it, or use another data folder",
                database.display(),
                holder.as_deref().unwrap_or("another process"),
            ),
        }
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // Closing alone would leave it locked for as long as a child process that was just forked
        // holds a copy of the file. A failure leaves what closing does.
        let _ = self.file.unlock();
    }
}

/// `tasks.db` is guarded by `tasks.db.lock`.
fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
