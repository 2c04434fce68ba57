//! The delivered file: type by content, bounds before pixels.

use std::io::Cursor;

use bytes::Bytes;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};

use crate::{FileType, PictureFile};

/// Pixels at most: ten times what the models draw.
const MAX_PIXELS: u64 = 16_000_000;

/// What the decoder may allocate: those pixels with four 16-bit channels.
const MAX_DECODED_BYTES: u64 = 128 * 1024 * 1024;

/// Where the end of a JPEG is looked for: some writers pad.
const JPEG_TAIL_BYTES: usize = 4096;

/// The marker at the end of a JPEG; it cannot stand in the packed pixels before.
const JPEG_END: [u8; 2] = [0xff, 0xd9];

/// Decodes a delivered file. Blocks: some milliseconds.
///
/// # Errors
/// What is wrong with it, in words that go on from "the provider's picture".
pub fn read(bytes: Bytes) -> Result<(RgbImage, PictureFile), String> {
    let file_type = match image::guess_format(&bytes) {
        Ok(ImageFormat::Png) => FileType::Png,
        Ok(ImageFormat::Jpeg) => FileType::Jpeg,
        _ => return Err("is neither a PNG nor a JPEG file".to_owned()),
    };
    if file_type == FileType::Jpeg && !has_an_end(&bytes) {
        return Err("ends too early".to_owned());
    }
    let image = decode(&bytes, file_type)?;
    Ok((image, PictureFile { file_type, bytes }))
}

/// The decoder forgives a missing end and paints the rest grey.
fn has_an_end(jpeg: &[u8]) -> bool {
    let tail = &jpeg[jpeg.len().saturating_sub(JPEG_TAIL_BYTES)..];
    tail.windows(2).any(|pair| pair == JPEG_END)
}

fn decode(bytes: &[u8], file_type: FileType) -> Result<RgbImage, String> {
    let format = match file_type {
        FileType::Jpeg => ImageFormat::Jpeg,
        FileType::Png => ImageFormat::Png,
    };
    let damaged = |error: image::ImageError| format!("cannot be opened ({error})");
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(format!("has {width} x {height} pixels, which is too much"));
    }
    let picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    Ok(picture.into_rgb8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let noise = |x: u32, y: u32| image::Rgb([(x * 37 % 251) as u8, (y * 91 % 241) as u8, 9]);
        let picture = RgbImage::from_fn(96, 64, noise);
        picture.write_to(&mut file, format).expect("encoded");
        file.into_inner()
    }

    #[test]
    fn whole_files_are_read_and_kept_as_they_are() {
        for (format, expected) in [
            (ImageFormat::Png, FileType::Png),
            (ImageFormat::Jpeg, FileType::Jpeg),
        ] {
            let bytes = Bytes::from(file(format));
            let (image, kept) = read(bytes.clone()).expect("a whole file");
            assert_eq!(image.dimensions(), (96, 64));
            assert_eq!((kept.file_type, kept.bytes), (expected, bytes));
        }
    }

    #[test]
    fn no_part_of_a_file_passes_for_the_whole() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let whole = file(format);
            for part in 1..10 {
                let cut = Bytes::copy_from_slice(&whole[..whole.len() * part / 10]);
                assert!(read(cut).is_err(), "{format:?}, {part} tenths");
            }
        }
    }

    #[test]
    fn what_is_no_picture_is_told() {
        let page = Bytes::from_static(b"<html>busy</html>");
        let refused = read(page).expect_err("a page");
        assert_eq!(refused, "is neither a PNG nor a JPEG file");
        assert!(read(Bytes::from(file(ImageFormat::WebP))).is_err());
    }
}
