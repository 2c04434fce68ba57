//! Previews on their way from the engine to those who watch.

use std::io::Cursor;

use bytes::Bytes;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use tintype_engine::Progress;
use tokio::sync::watch;

use crate::watch::{Easel, Preview};

/// Good enough for a picture that is unfinished anyway; some kilobytes.
const JPEG_QUALITY: u8 = 75;

/// The engine's end: the latest preview is the only one that waits.
#[derive(Debug, Clone)]
pub(super) struct Sketches(watch::Sender<Option<(u32, RgbImage)>>);

impl Sketches {
    /// Both ends of a line that holds one preview.
    pub(super) fn line() -> (Self, Showing) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Showing(receiver))
    }

    /// Takes the previews out of an engine's reports; gives the others back. Does not block.
    pub(super) fn sort_out(&self, progress: Progress) -> Option<Progress> {
        match progress {
            Progress::Preview { step, image } => {
                self.0.send_replace(Some((step, image)));
                None
            }
            other => Some(other),
        }
    }
}

/// The watchers' end.
#[derive(Debug)]
pub(super) struct Showing(watch::Receiver<Option<(u32, RgbImage)>>);

impl Showing {
    /// Shows every preview as it comes, until the engine has ended.
    pub(super) async fn show(mut self, easel: &Easel) {
        while self.0.changed().await.is_ok() {
            let Some((step, image)) = self.0.borrow_and_update().clone() else {
                continue;
            };
            // Off the event loop, and off the thread that owns the device.
            let encoded = tokio::task::spawn_blocking(move || encode(&image)).await;
            match encoded {
                Ok(Ok(jpeg)) => easel.show(Preview { step, jpeg }),
                Ok(Err(error)) => tracing::debug!(error = %error, "a preview was not encoded"),
                Err(error) => tracing::debug!(error = %error, "a preview was not encoded"),
            }
        }
    }
}

fn encode(image: &RgbImage) -> Result<Bytes, image::ImageError> {
    let mut file = Cursor::new(Vec::new());
    image.write_with_encoder(JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY))?;
    Ok(file.into_inner().into())
}
