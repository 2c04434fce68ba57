//! From what a client wrote in an image field to pixels that an engine may see.
//!
//! The worker calls [`Service::reference_picture`]. It promises that nothing outside the public
//! internet is contacted, and that no picture costs more memory than its bounds allow.

pub mod decode;
pub(crate) mod inline;

use std::panic::resume_unwind;

use bytes::Bytes;
use image::RgbImage;
use tintype_catalog::ImageReference;
use tintype_domain::{DIRECTORY_LENGTH, ProjectId, safe_name};
use url::Url;

pub(crate) use decode::sniff;

use crate::guarded::{GetLimits, GuardedError};
use crate::{Service, ServiceError, samples};
use decode::DecodeError;
use inline::Inline;

/// A picture's file may have this many megabytes: what the upstream models accept.
pub(crate) const MAX_IMAGE_MEGABYTES: usize = 20;

/// The same in bytes.
pub(crate) const MAX_IMAGE_BYTES: usize = MAX_IMAGE_MEGABYTES * 1024 * 1024;

/// Why there is no picture to work from. The sentence is what the client sees.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error(
        "The input image \"{0}\" was not found. Send an http(s) address, an uploaded file, base64, \
         or the name of a file that this project uploaded before."
    )]
    UnknownName(String),
    #[error("The input image is an address of this service, but no file is there.")]
    NoFileThere,
    #[error("The input image {0}.")]
    Broken(&'static str),
    #[error("The input image could not be fetched: {0}")]
    Fetch(#[from] GuardedError),
    #[error("The input image cannot be used: {0}")]
    Decode(#[from] DecodeError),
    #[error("The input image could not be read from the file store. Please try again. ({0})")]
    Service(#[from] ServiceError),
}

impl Service {
    /// Finds the bytes behind a reference and decodes them.
    pub(crate) async fn reference_picture(
        &self,
        project: ProjectId,
        reference: &ImageReference,
    ) -> Result<RgbImage, ImageError> {
        let bytes = self.image_bytes(project, reference).await?;
        // Decoding is compute work: it must not hold up the tasks of the event loop.
        match tokio::task::spawn_blocking(move || decode::decode(&bytes)).await {
            Ok(picture) => Ok(picture?),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(ImageError::Broken("was not decoded before the shutdown")),
            },
        }
    }

    async fn image_bytes(
        &self,
        project: ProjectId,
        reference: &ImageReference,
    ) -> Result<Bytes, ImageError> {
        if let ImageReference::Url(url) = reference {
            return match self.own_file(url) {
                Some((directory, name)) => {
                    let file = self.output_file(&directory, &name).await?;
                    Ok(file.ok_or(ImageError::NoFileThere)?.bytes)
                }
                None => match self.own_file_of_another_host(url).await? {
                    Some(bytes) => Ok(bytes),
                    None => Ok(self.guarded.get(url, &self.fetch_limits()).await?),
                },
            };
        }
        match (inline::read(reference), reference) {
            (Inline::Picture(bytes), _) => Ok(Bytes::from(bytes)),
            (Inline::Broken(reason), _) => Err(ImageError::Broken(reason)),
            (Inline::No, ImageReference::NameOrBase64(name)) => {
                self.named_file(project, name).await
            }
            (Inline::No, _) => Err(ImageError::NoFileThere),
        }
    }

    fn fetch_limits(&self) -> GetLimits {
        GetLimits {
            total_timeout: self.fetch_timeout,
            max_megabytes: MAX_IMAGE_MEGABYTES,
        }
    }

    /// A file of this service under a host that the operator did not name: clients get addresses
    /// on the host that they used. The unguessable directory alone says whose file it is.
    async fn own_file_of_another_host(&self, url: &str) -> Result<Option<Bytes>, ServiceError> {
        let Ok(url) = Url::parse(url) else {
            return Ok(None);
        };
        let Some((directory, name)) = url.path().trim_start_matches('/').split_once('/') else {
            return Ok(None);
        };
        if directory.len() != DIRECTORY_LENGTH || name.contains('/') {
            return Ok(None);
        }
        let file = self.output_file(directory, name).await?;
        Ok(file.map(|file| file.bytes))
    }

    /// A file that the project uploaded, or a sample that ships with the program.
    async fn named_file(&self, project: ProjectId, name: &str) -> Result<Bytes, ImageError> {
        let uploaded = self.store.file_by_name(project, &safe_name(name)).await;
        if let Some(file) = uploaded.map_err(ServiceError::from)?
            && let Some(bytes) = self.read_blob(&file.blob_key).await?
        {
            return Ok(bytes);
        }
        let sample = samples::find(name).map(Bytes::from_static);
        sample.ok_or_else(|| ImageError::UnknownName(name.to_owned()))
    }

    /// Directory and name, if an address is one of this service's own files.
    fn own_file(&self, url: &str) -> Option<(String, String)> {
        let (own, url) = (Url::parse(self.public_url()).ok()?, Url::parse(url).ok()?);
        if own.origin() != url.origin() {
            return None;
        }
        let path = url.path().strip_prefix(own.path().trim_end_matches('/'))?;
        let (directory, name) = path.strip_prefix('/')?.split_once('/')?;
        let is_file = !directory.is_empty() && !name.is_empty() && !name.contains('/');
        is_file.then(|| (directory.to_owned(), name.to_owned()))
    }
}
