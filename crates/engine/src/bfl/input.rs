//! The input picture on its way to the provider.

use std::io::Cursor;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::FilterType;
use image::{ImageError, RgbImage};

use crate::Error;

/// What the provider takes, as base64.
const MAX_BASE64_BYTES: usize = 20 * 1024 * 1024;

/// Pictures up to this size are sent without loss: even noise stays within the bound.
const MAX_LOSSLESS_PIXELS: u64 = 4_000_000;

/// Larger ones are made smaller: the models look at a million pixels.
const MAX_PIXELS: u64 = 16_000_000;

/// Qualities that are tried, in this order.
const JPEG_QUALITIES: [u8; 2] = [95, 80];

/// The picture as base64. Blocks: a second for the largest ones.
///
/// # Errors
/// [`Error::Rejected`] if it cannot be made small enough.
pub fn as_base64(picture: &RgbImage) -> Result<String, Error> {
    let failed = |error: ImageError| Error::Failed(format!("the input cannot be sent: {error}"));
    let pixels = u64::from(picture.width()) * u64::from(picture.height());
    if pixels <= MAX_LOSSLESS_PIXELS {
        let mut file = Vec::new();
        let encoder = PngEncoder::new(Cursor::new(&mut file));
        picture.write_with_encoder(encoder).map_err(failed)?;
        return Ok(BASE64_STANDARD.encode(file));
    }
    let smaller = shrunk(picture, pixels);
    let picture = smaller.as_ref().unwrap_or(picture);
    for quality in JPEG_QUALITIES {
        let mut file = Vec::new();
        let encoder = JpegEncoder::new_with_quality(Cursor::new(&mut file), quality);
        picture.write_with_encoder(encoder).map_err(failed)?;
        if file.len().div_ceil(3) * 4 <= MAX_BASE64_BYTES {
            return Ok(BASE64_STANDARD.encode(file));
        }
    }
    Err(Error::Rejected(
        "The input picture is too large for the provider. Make it smaller.".to_owned(),
    ))
}

fn shrunk(picture: &RgbImage, pixels: u64) -> Option<RgbImage> {
    if pixels <= MAX_PIXELS {
        return None;
    }
    let factor = (MAX_PIXELS as f64 / pixels as f64).sqrt();
    let side = |side: u32| ((f64::from(side) * factor) as u32).max(1);
    let (width, height) = (side(picture.width()), side(picture.height()));
    Some(image::imageops::resize(
        picture,
        width,
        height,
        FilterType::Triangle,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(width: u32, height: u32) -> (usize, RgbImage) {
        // As hard to pack as it gets.
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let picture = RgbImage::from_fn(width, height, |_, _| {
            image::Rgb([noise(), noise(), noise()])
        });
        let text = as_base64(&picture).expect("it fits");
        let file = BASE64_STANDARD.decode(&text).expect("base64");
        let back = image::load_from_memory(&file)
            .expect("a picture")
            .into_rgb8();
        (text.len(), back)
    }

    #[test]
    fn a_small_picture_is_sent_without_loss() {
        let picture = RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let text = as_base64(&picture).expect("it fits");
        let file = BASE64_STANDARD.decode(text).expect("base64");
        let back = image::load_from_memory(&file)
            .expect("a picture")
            .into_rgb8();
        assert_eq!(back, picture);
    }

    #[test]
    fn noise_of_any_size_stays_within_the_bound() {
        let (bytes, back) = sent(2000, 2000);
        assert!(bytes <= MAX_BASE64_BYTES, "{bytes}");
        assert_eq!(back.dimensions(), (2000, 2000));
    }

    #[test]
    fn a_large_picture_keeps_its_ratio() {
        let picture = RgbImage::new(8000, 4000);
        let smaller = shrunk(&picture, 32_000_000).expect("it is too large");
        let (width, height) = smaller.dimensions();
        assert!(u64::from(width) * u64::from(height) <= MAX_PIXELS);
        assert_eq!(width / 10, height * 2 / 10);
    }
}
