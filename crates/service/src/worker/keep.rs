//! Postprocessing: encode a picture, keep its bytes, draw up its record.

use std::io::Cursor;
use std::panic::resume_unwind;
use std::time::Duration;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ImageError, RgbImage};
use tintype_catalog::OutputFormat;
use tintype_domain::{AccessKey, BlobKey, ExitCode, FileId, OutputFile, Task, random_directory};
use tintype_engine::{FileType, Picture};
use tokio::time::sleep;

use super::Worker;
use super::attempt::Halt;
use super::held::Held;
use crate::ServiceError;
use crate::picture::JPEG_QUALITY;

/// Waits between tries to keep a picture's bytes: a hiccup passes, a full disk stays.
const WRITE_BACKOFF: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// A picture and its place among those that were drawn.
pub(super) struct Numbered {
    pub index: u32,
    pub picture: Picture,
}

impl Worker {
    /// Keeps a picture and returns its record, which is not in the task store yet.
    pub(super) async fn keep(
        &self,
        task: &Task,
        held: &Held,
        numbered: Numbered,
        format: OutputFormat,
    ) -> Result<OutputFile, Halt> {
        let Numbered { index, picture } = numbered;
        let bytes = match as_delivered(&picture, format) {
            Some(bytes) => bytes,
            None => encode(picture.image, format).await?,
        };
        let service = &self.service;
        // A key for each attempt: a worker that was overtaken overwrites nothing.
        let blob_key = BlobKey::Output {
            task: held.task,
            epoch: held.epoch,
            index,
        };
        let blob_key = blob_key.to_string();
        self.write(&blob_key, &bytes).await.map_err(|error| {
            let sentence = format!(
                "The picture was drawn but could not be stored: {error}. Free space on the \
                 server's disk, then submit it again."
            );
            Halt::failed(ExitCode::STORAGE, sentence)
        })?;
        tintype_store::moments::reached("blob");
        let now = service.now();
        let mut rng = service.rng();
        Ok(OutputFile {
            id: FileId::random(&mut *rng),
            name: format!("{index}.{}", format.extension()),
            content_type: format.content_type().to_owned(),
            parent_id: task.output_folder.clone(),
            size_bytes: bytes.len() as u64,
            added_at: now,
            modified_at: now,
            access_key: AccessKey::random(&mut *rng),
            directory: random_directory(&mut *rng, now),
            blob_key,
        })
    }

    async fn write(&self, key: &str, bytes: &Bytes) -> Result<(), ServiceError> {
        for wait in WRITE_BACKOFF {
            match self.service.write_blob(key, bytes.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(blob.key = key, error = %error, "a write failed"),
            }
            sleep(wait).await;
        }
        self.service.write_blob(key, bytes.clone()).await
    }
}

/// The file that the engine was given, if it is of the type that was asked for: encoding its pixels
/// again would only lose something.
fn as_delivered(picture: &Picture, format: OutputFormat) -> Option<Bytes> {
    let file = picture.file.as_ref()?;
    let same = matches!(
        (file.file_type, format),
        (FileType::Jpeg, OutputFormat::Jpeg) | (FileType::Png, OutputFormat::Png)
    );
    same.then(|| file.bytes.clone())
}

/// Encodes off the event loop: a large PNG takes most of a second.
async fn encode(picture: RgbImage, format: OutputFormat) -> Result<Bytes, Halt> {
    let encoded = tokio::task::spawn_blocking(move || encode_blocking(&picture, format)).await;
    match encoded {
        Ok(Ok(bytes)) => Ok(Bytes::from(bytes)),
        Ok(Err(error)) => {
            let sentence = format!("The picture was drawn but could not be encoded: {error}.");
            Err(Halt::failed(ExitCode::ENGINE, sentence))
        }
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(Halt::failed(
                ExitCode::ENGINE,
                "The server stopped while encoding.",
            )),
        },
    }
}

fn encode_blocking(picture: &RgbImage, format: OutputFormat) -> Result<Vec<u8>, ImageError> {
    let mut file = Cursor::new(Vec::new());
    match format {
        OutputFormat::Jpeg => {
            picture.write_with_encoder(JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY))?;
        }
        OutputFormat::Png => picture.write_with_encoder(PngEncoder::new(&mut file))?,
    }
    Ok(file.into_inner())
}
