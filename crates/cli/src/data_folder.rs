//! The data folder: what lies where, and opening it with sentences that help.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use tintype_store::SqliteStore;

use crate::settings::default_data_folder;

/// Only the owner may look into a folder that holds a key file.
const FOLDER_MODE: u32 = 0o700;

/// A data folder that exists.
#[derive(Debug, Clone)]
pub struct DataFolder(PathBuf);

impl DataFolder {
    /// The folder at this path; made if there is none.
    ///
    /// # Errors
    /// When it can be neither found nor made.
    pub fn at(path: &Path) -> anyhow::Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(path)
            .with_context(|| format!("cannot use the data folder {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    /// The folder that was named, or the one that is used where none is; made if there is none.
    ///
    /// # Errors
    /// When it can be neither found nor made.
    pub fn named(path: Option<PathBuf>) -> anyhow::Result<Self> {
        Self::at(&path.unwrap_or_else(default_data_folder))
    }

    /// The folder at this path, be it there or not.
    pub fn unopened(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder at this path, which a service has used before.
    ///
    /// # Errors
    /// When there is no database in it.
    pub fn existing(path: &Path) -> anyhow::Result<Self> {
        let data = Self(path.to_owned());
        if !data.database().is_file() {
            bail!(
                "there is no data folder of a service at {}; name another one with --data",
                path.display()
            );
        }
        Ok(data)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The task store, as its only owner.
    ///
    /// # Errors
    /// When another server owns it, or the disk refuses.
    pub fn store(&self) -> anyhow::Result<SqliteStore> {
        SqliteStore::open(&self.database()).with_context(|| self.blame())
    }

    /// The task store, beside a server that may be running.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn store_beside(&self) -> anyhow::Result<SqliteStore> {
        SqliteStore::open_beside(&self.database()).with_context(|| self.blame())
    }

    /// The bytes of files.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn blobs(&self) -> anyhow::Result<Arc<dyn ObjectStore>> {
        let folder = self.blob_folder();
        std::fs::create_dir_all(&folder).with_context(|| self.blame())?;
        let files = LocalFileSystem::new_with_prefix(&folder).with_context(|| self.blame())?;
        // A task must not outlive its picture: bytes are on the disk before the record says so.
        // With the last file of a folder the folder goes.
        Ok(Arc::new(
            files.with_fsync(true).with_automatic_cleanup(true),
        ))
    }

    /// Where they lie.
    pub fn blob_folder(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.0.join("tintype.db")
    }

    fn blame(&self) -> String {
        format!("cannot use the data folder {}", self.0.display())
    }
}
