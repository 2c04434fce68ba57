//! Bytes in and out of the blob store, and the records that point at them.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutPayload, path::Path};
use tintype_domain::{
    AccessKey, BlobKey, FileId, FileRecord, ProjectId, random_directory, safe_name,
};
use tintype_words::root_cause;

use crate::preprocess::sniff;
use crate::{FileAnswer, Service, ServiceError};

impl Service {
    /// The file at a public address `/{directory}/{name}`: a task's output or an upload. The
    /// unguessable directory is the permission to read it.
    ///
    /// # Errors
    /// [`ServiceError`] when the stores cannot be asked.
    pub async fn output_file(
        &self,
        directory: &str,
        name: &str,
    ) -> Result<Option<FileAnswer>, ServiceError> {
        let (blob_key, content_type, modified_at) =
            if let Some(output) = self.store.output_at(directory, name).await? {
                (output.blob_key, output.content_type, output.modified_at)
            } else if let Some(file) = self.store.file_at(directory, name).await? {
                (file.blob_key, file.content_type, file.added_at)
            } else {
                return Ok(None);
            };
        let bytes = self.read_blob(&blob_key).await?;
        Ok(bytes.map(|bytes| FileAnswer {
            content_type,
            bytes,
            modified_at,
        }))
    }

    /// The bytes behind a record; `None`, and an error in the log, if they are gone.
    pub(crate) async fn read_blob(&self, key: &str) -> Result<Option<Bytes>, ServiceError> {
        let read = async { self.blobs.get(&Path::from(key)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => {
                tracing::error!(
                    blob.key = key,
                    "a recorded file has no bytes in the blob store"
                );
                Ok(None)
            }
            Err(error) => Err(ServiceError::Blobs(root_cause(&error))),
        }
    }

    pub(crate) async fn write_blob(&self, key: &str, bytes: Bytes) -> Result<(), ServiceError> {
        let written = self
            .blobs
            .put(&Path::from(key), PutPayload::from_bytes(bytes))
            .await;
        written
            .map(drop)
            .map_err(|error| ServiceError::Blobs(root_cause(&error)))
    }

    /// Deletes bytes; those that are gone already are no error.
    pub(crate) async fn delete_blobs(&self, keys: Vec<String>) -> Result<(), ServiceError> {
        for key in keys {
            match self.blobs.delete(&Path::from(key)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(ServiceError::Blobs(root_cause(&error))),
            }
        }
        Ok(())
    }

    /// The keys of all bytes below a folder of the blob store.
    pub(crate) async fn blobs_below(&self, folder: &str) -> Result<Vec<String>, ServiceError> {
        let listed = self.blobs.list(Some(&Path::from(folder)));
        let found = listed.map_ok(|meta| meta.location.to_string());
        let found = found.try_collect().await;
        found.map_err(|error| ServiceError::Blobs(root_cause(&error)))
    }

    /// Keeps the bytes of an upload, then its record.
    pub(crate) async fn keep_upload(&self, upload: Upload) -> Result<(), ServiceError> {
        let Upload { record, bytes } = upload;
        self.write_blob(&record.blob_key, bytes).await?;
        Ok(self.store.add_file(record).await?)
    }

    /// Draws up the record of an upload; nothing is kept yet.
    pub(crate) fn draft_upload(
        &self,
        project: ProjectId,
        file_name: Option<&str>,
        bytes: Bytes,
    ) -> Upload {
        let sniffed = sniff(&bytes);
        let now = self.now();
        let mut rng = self.rng();
        let id = FileId::random(&mut *rng);
        let record = FileRecord {
            project,
            folder: None,
            name: safe_name(file_name.unwrap_or_default()),
            content_type: sniffed
                .map_or("application/octet-stream", |kind| kind.content_type())
                .into(),
            size_bytes: bytes.len() as u64,
            added_at: now,
            access_key: AccessKey::random(&mut *rng),
            directory: random_directory(&mut *rng, now),
            blob_key: BlobKey::Upload(id.clone()).to_string(),
            id,
        };
        Upload { record, bytes }
    }
}

/// A file that came with a request, before it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) record: FileRecord,
    pub(crate) bytes: Bytes,
}
