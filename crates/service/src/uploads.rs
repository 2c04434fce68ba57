//! Files that a project uploads for later runs, and the folders that it puts them in.
//!
//! A run finds an upload by its address, or by its name: the newest of that name in the project,
//! whichever folder it stands in.

use tintype_domain::{FileId, FileRecord, Folder};

use crate::{Principal, Service, ServiceError, UploadError, UploadedPart};

/// A file may have this many megabytes: what the published API takes.
const MAX_UPLOAD_MEGABYTES: usize = 100;

/// Characters of a folder's name, as of a file's.
const MAX_FOLDER_NAME_CHARS: usize = 120;

impl Service {
    /// Keeps a file for later runs; returns its record. The type is judged by the content.
    ///
    /// # Errors
    /// [`UploadError`]; nothing is on record then.
    pub async fn upload(
        &self,
        principal: &Principal,
        part: UploadedPart,
        folder: Option<FileId>,
    ) -> Result<FileRecord, UploadError> {
        if part.bytes.is_empty() {
            return Err(UploadError::Empty);
        }
        if part.bytes.len() > MAX_UPLOAD_MEGABYTES << 20 {
            return Err(UploadError::TooLarge(MAX_UPLOAD_MEGABYTES));
        }
        self.require_folder(principal, folder.as_ref()).await?;
        let file_name = part.file_name.as_deref();
        let mut upload = self.draft_upload(principal.project, file_name, part.bytes);
        upload.record.folder = folder;
        let record = upload.record.clone();
        self.keep_upload(upload).await?;
        Ok(record)
    }

    /// Makes a folder for uploads. The folder of the same name in the same place is returned if
    /// there is one: clients make sure of their folder before each upload.
    ///
    /// # Errors
    /// [`UploadError`]; nothing was made then.
    pub async fn create_folder(
        &self,
        principal: &Principal,
        name: &str,
        parent: Option<FileId>,
    ) -> Result<Folder, UploadError> {
        if !is_folder_name(name) {
            return Err(UploadError::FolderName(MAX_FOLDER_NAME_CHARS));
        }
        self.require_folder(principal, parent.as_ref()).await?;
        let folder = Folder {
            id: FileId::random(&mut *self.rng()),
            project: principal.project,
            parent,
            name: name.to_owned(),
            added_at: self.now(),
        };
        let made = self.store.add_folder(folder).await;
        Ok(made.map_err(ServiceError::from)?)
    }

    /// Folders are never deleted: one that is there now is there when it is used.
    async fn require_folder(
        &self,
        principal: &Principal,
        folder: Option<&FileId>,
    ) -> Result<(), UploadError> {
        let Some(folder) = folder else {
            return Ok(());
        };
        let found = self.store.folder(principal.project, folder).await;
        let found = found.map_err(ServiceError::from)?;
        found.map(drop).ok_or(UploadError::UnknownFolder)
    }
}

fn is_folder_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=MAX_FOLDER_NAME_CHARS).contains(&name.len()) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_are_plain_and_bounded() {
        let longest = "x".repeat(MAX_FOLDER_NAME_CHARS);
        for name in ["a", "My-Folder_2", &longest] {
            assert!(is_folder_name(name), "{name}");
        }
        let too_long = "x".repeat(MAX_FOLDER_NAME_CHARS + 1);
        for name in ["", "a b", "a/b", "..", "caf\u{e9}", "a\n", &too_long] {
            assert!(!is_folder_name(name), "{name}");
        }
    }
}
