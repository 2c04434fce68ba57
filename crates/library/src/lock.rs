//! One at a time works on a model: a file that is locked for as long as somebody does. The system lets
//! go of it when its holder dies, however that happens.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::error::Error;
use crate::names::ModelName;

/// The lock of a model, held until it is dropped. Its file stays: to delete it would let two in.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// When somebody else has it, or the folder cannot be used.
    pub fn take(folder: &Path, name: &ModelName) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        let path = folder.join(format!("{name}.lock"));
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|source| Error::io(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { name: name.clone() }),
            Err(TryLockError::Error(source)) => Err(Error::io(&path, source)),
        }
    }
}
