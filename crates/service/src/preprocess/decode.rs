//! From a file's bytes to 8-bit RGB: type by content, bounds before pixels, the camera's
//! orientation applied, transparency on white.

mod whole;

use std::io::Cursor;

use image::metadata::Orientation;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits, Rgb,
    RgbImage,
};

use whole::is_whole;

use super::{MAX_IMAGE_BYTES, MAX_IMAGE_MEGABYTES};

/// Millions of pixels at most: beyond what cameras make, far below what fills a machine.
pub const MAX_MEGAPIXELS: u64 = 64;

/// What a decoder may allocate: 64 million pixels of four 16-bit channels.
const MAX_DECODED_BYTES: u64 = 512 * 1024 * 1024;

/// What a decoder may allocate before the size of the picture is known: a row of pixels, and an
/// unpacked colour profile. Profiles have a megabyte at most, and a packed one can hold gigabytes.
const MAX_OPENING_BYTES: u64 = 16 * 1024 * 1024;

/// What shows through where a picture is transparent.
const BACKGROUND: u32 = 255;

/// Why bytes are not a picture that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it is not a JPEG, PNG or WebP picture.")]
    NotAPicture,
    #[error("its file is larger than {MAX_IMAGE_MEGABYTES} MB.")]
    TooManyBytes,
    #[error(
        "it has {width} x {height} pixels, and at most {MAX_MEGAPIXELS} million are accepted. \
         Make it smaller."
    )]
    TooManyPixels { width: u32, height: u32 },
    #[error("it takes too much memory to open. Save it again without metadata, or smaller.")]
    TooMuchMemory,
    #[error("its file ends too early. Upload it again.")]
    Truncated,
    #[error("its file is damaged ({0}).")]
    Damaged(String),
}

/// The types of picture that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Jpeg,
    Png,
    WebP,
}

impl Kind {
    pub(crate) fn content_type(self) -> &'static str {
        self.format().to_mime_type()
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::WebP => "webp",
        }
    }

    fn format(self) -> ImageFormat {
        match self {
            Self::Jpeg => ImageFormat::Jpeg,
            Self::Png => ImageFormat::Png,
            Self::WebP => ImageFormat::WebP,
        }
    }
}

/// The type of a picture by its first bytes; labels and names are not believed.
pub(crate) fn sniff(bytes: &[u8]) -> Option<Kind> {
    match image::guess_format(bytes).ok()? {
        ImageFormat::Jpeg => Some(Kind::Jpeg),
        ImageFormat::Png => Some(Kind::Png),
        ImageFormat::WebP => Some(Kind::WebP),
        _ => None,
    }
}

/// Decodes a picture. Blocks: seconds for the largest ones.
pub(crate) fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    if bytes.len() > MAX_IMAGE_BYTES {
        return Err(DecodeError::TooManyBytes);
    }
    let kind = sniff(bytes).ok_or(DecodeError::NotAPicture)?;
    if !is_whole(bytes, kind) {
        return Err(DecodeError::Truncated);
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), kind.format());
    reader.limits(limits_of(MAX_OPENING_BYTES));
    let decoder = reader.into_decoder().map_err(fault)?;
    // Checked before a byte of pixels is allocated: a small file can claim any size.
    if let Some((width, height)) = excessive_size(&decoder) {
        return Err(DecodeError::TooManyPixels { width, height });
    }
    read_pixels(decoder).map_err(fault)
}

/// Width and height of an opened picture that has more than [`MAX_MEGAPIXELS`].
pub fn excessive_size(decoder: &impl ImageDecoder) -> Option<(u32, u32)> {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    (pixels > MAX_MEGAPIXELS * 1_000_000).then_some((width, height))
}

/// The pixels of an opened picture: within bounded memory, turned as the camera held it,
/// transparency on white. Check [`excessive_size`] first.
///
/// # Errors
/// What the decoder says of a damaged file.
pub fn read_pixels(mut decoder: impl ImageDecoder) -> ImageResult<RgbImage> {
    decoder.set_limits(limits_of(MAX_DECODED_BYTES))?;
    // Damaged metadata is no reason to refuse a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(flatten(picture))
}

fn limits_of(max_bytes: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_bytes);
    limits
}

fn flatten(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let rgba = picture.into_rgba8();
    let blend = |channel: u8, alpha: u8| {
        let alpha = u32::from(alpha);
        ((u32::from(channel) * alpha + BACKGROUND * (255 - alpha) + 127) / 255) as u8
    };
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [red, green, blue, alpha] = rgba.get_pixel(x, y).0;
        Rgb([blend(red, alpha), blend(green, alpha), blend(blue, alpha)])
    })
}

fn fault(error: ImageError) -> DecodeError {
    match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::Truncated
        }
        ImageError::Limits(_) => DecodeError::TooMuchMemory,
        other => DecodeError::Damaged(other.to_string()),
    }
}

#[cfg(test)]
mod bombs;
#[cfg(test)]
mod tests;
