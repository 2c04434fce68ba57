//! A job in the words of the pipeline, or the reason why it can never be run.

use image::RgbImage;
use image::imageops::crop_imm;
use tintype_flux::pipeline::{Item, Request, Settings};
use tintype_flux::size::{self, Ratio, Table};

use crate::{Error, Job, Size, SizeTable};

/// Bytes of a prompt at most. A model reads 512 tokens of it, some 2,500 characters; more than
/// this is a mistake.
const MAX_PROMPT_BYTES: usize = 64 * 1024;

/// Translates a job.
///
/// # Errors
/// [`Error::Rejected`] with a sentence that says what to change.
pub fn of_job(job: Job, settings: &Settings) -> Result<Request, Error> {
    if job.prompt.len() > MAX_PROMPT_BYTES {
        return Err(Error::Rejected(format!(
            "the prompt is too long: at most {MAX_PROMPT_BYTES} bytes"
        )));
    }
    let size = size_of(&job, settings)?;
    let sampling = job.sampling.or(&job.defaults);
    let (start, strength) = match job.start {
        Some(start) => (Some(cut_to(start.image, size)), start.strength),
        None => (None, None),
    };
    let request = Request {
        pictures_each: job.pictures as usize,
        resize_reference: job.resize_reference,
        steps: sampling.steps,
        guidance: sampling.guidance,
        shift: sampling.shift,
        true_cfg: sampling.true_cfg,
        negative_prompt: sampling.negative_prompt,
        strength,
        max_sequence_length: job.max_sequence_length.map(|length| length as usize),
        items: vec![Item {
            prompt: job.prompt,
            seed: job.seed,
            references: job.references,
            start,
        }],
        ..Request::new("", job.seed, size)
    };
    request
        .check(settings)
        .map_err(|e| Error::Rejected(e.to_string()))?;
    Ok(request)
}

/// The size of the result in pixels.
fn size_of(job: &Job, settings: &Settings) -> Result<size::Size, Error> {
    let native = settings.native;
    let table = match job.size_table {
        SizeTable::Kontext => Table::Kontext,
        SizeTable::Pro => Table::Pro,
    };
    let start = job.start.as_ref().map(|start| &start.image);
    match (job.size, job.references.first().or(start)) {
        (Size::MatchReference, Some(picture)) if !picture.is_empty() => {
            let (width, height) = picture.dimensions();
            Ok(native.bucket_of(size::Size::new(width, height)))
        }
        (Size::MatchReference, _) => Ok(native.size_for(Ratio::new(1, 1), table)),
        (Size::Ratio { width, height }, _) if width == 0 || height == 0 => Err(Error::Rejected(
            format!("the aspect ratio {width}:{height} has an empty side"),
        )),
        (Size::Ratio { width, height }, _) => Ok(native.size_for(Ratio::new(width, height), table)),
        (Size::Exact { width, height }, _) if width.min(height) < native.multiple => {
            Err(Error::Rejected(format!(
                "{width}×{height} is too small: the model {} draws from {m}×{m} pixels on",
                settings.name,
                m = native.multiple
            )))
        }
        (Size::Exact { width, height }, _) => Ok(native.round_down(size::Size::new(width, height))),
    }
}

/// The middle of a picture, of the ratio of a size: resizing then distorts nothing.
fn cut_to(picture: RgbImage, size: size::Size) -> RgbImage {
    let (width, height) = picture.dimensions();
    let side = |length: u32, by: u32, over: u32| {
        let side = u64::from(length) * u64::from(by) / u64::from(over.max(1));
        u32::try_from(side).unwrap_or(u32::MAX).max(1)
    };
    let (new_width, new_height) = (
        width.min(side(height, size.width, size.height)),
        height.min(side(width, size.height, size.width)),
    );
    if (new_width, new_height) == (width, height) {
        return picture;
    }
    let (left, top) = ((width - new_width) / 2, (height - new_height) / 2);
    crop_imm(&picture, left, top, new_width, new_height).to_image()
}
