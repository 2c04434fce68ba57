//! From a file's bytes to 8-bit RGB: type by content, bounds before pixels, the camera's
//! orientation applied, transparency on white.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits, Rgb,
    RgbImage,
};

use super::{MAX_IMAGE_BYTES, MAX_IMAGE_MEGABYTES};

/// Millions of pixels at most: beyond what cameras make, far below what fills a machine.
pub const MAX_MEGAPIXELS: u64 = 64;

/// What a decoder may allocate: 64 million pixels of four 16-bit channels.
const MAX_DECODED_BYTES: u64 = 512 * 1024 * 1024;

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
    if kind == Kind::Jpeg && !jpeg_is_whole(bytes) {
        return Err(DecodeError::Truncated);
    }
    let reader = ImageReader::with_format(Cursor::new(bytes), kind.format());
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
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    decoder.set_limits(limits)?;
    // Damaged metadata is no reason to refuse a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(flatten(picture))
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
        other => DecodeError::Damaged(other.to_string()),
    }
}

/// Whether a JPEG carries its end marker. The decoder forgives a missing one and paints the rest
/// grey, which no one who uploads a picture wants edited.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    // Segments before the scan are walked, not searched: a preview in them has an end of its own.
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        if marker == START_OF_SCAN {
            return bytes[at..].windows(2).any(|pair| pair == END_OF_IMAGE);
        }
        // 0xff may be repeated as padding; every other marker here carries its length.
        at += if marker == 0xff {
            1
        } else {
            2 + usize::from(u16::from_be_bytes([high, low]))
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder, Rgba, RgbaImage};

    use super::*;

    /// A picture with detail everywhere, so that a cut hits pixels.
    fn scene(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8])
        })
    }

    fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).expect("encodes");
        file.into_inner()
    }

    #[test]
    fn all_three_types_decode_whatever_they_are_called() {
        let picture = scene(40, 30);
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let decoded = decode(&encode(&picture.clone().into(), format)).expect("decodes");
            assert_eq!(decoded.dimensions(), (40, 30), "{format:?}");
            if format != ImageFormat::Jpeg {
                assert_eq!(decoded, picture, "{format:?}");
            }
        }
    }

    #[test]
    fn transparency_lies_on_white() {
        let mut picture = RgbaImage::from_pixel(3, 1, Rgba([200, 0, 0, 255]));
        picture.put_pixel(1, 0, Rgba([0, 0, 0, 0]));
        picture.put_pixel(2, 0, Rgba([0, 0, 0, 128]));
        let decoded = decode(&encode(&picture.into(), ImageFormat::Png)).expect("decodes");
        let pixels: Vec<_> = decoded.pixels().map(|pixel| pixel.0).collect();
        assert_eq!(pixels, [[200, 0, 0], [255, 255, 255], [127, 127, 127]]);
    }

    #[test]
    fn the_orientation_of_the_camera_is_applied() {
        // A TIFF header with one entry: orientation (0x0112) is 6, "turn a quarter to the right".
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        let mut file = Vec::new();
        let mut encoder = JpegEncoder::new(&mut file);
        encoder.set_exif_metadata(exif).expect("metadata");
        let picture = scene(40, 30);
        encoder
            .write_image(&picture, 40, 30, ExtendedColorType::Rgb8)
            .expect("encodes");
        assert_eq!(decode(&file).expect("decodes").dimensions(), (30, 40));
    }

    #[test]
    fn a_file_that_ends_too_early_is_refused_wherever_it_is_cut() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let whole = encode(&scene(64, 64).into(), format);
            for length in [whole.len() / 8, whole.len() / 2, whole.len() - 12] {
                let error = decode(&whole[..length]).expect_err("refused");
                let told = matches!(error, DecodeError::Truncated | DecodeError::Damaged(_));
                assert!(told, "{format:?} cut at {length}: {error:?}");
            }
        }
    }

    #[test]
    fn a_preview_does_not_hide_that_a_jpeg_is_cut() {
        let preview = encode(&scene(8, 8).into(), ImageFormat::Jpeg);
        let whole = encode(&scene(64, 64).into(), ImageFormat::Jpeg);
        let length = u16::try_from(preview.len() + 2)
            .expect("a short preview")
            .to_be_bytes();
        let segment = [&[0xff, 0xe1], &length[..], &preview].concat();
        let file = [&whole[..2], &segment, &whole[2..]].concat();
        assert!(decode(&file).is_ok());
        assert_eq!(
            decode(&file[..file.len() - 100]),
            Err(DecodeError::Truncated)
        );
    }

    #[test]
    fn a_small_file_that_claims_to_be_enormous_is_refused_before_it_is_unpacked() {
        let mut file = encode(&scene(4, 4).into(), ImageFormat::Png);
        // Width and height stand in the header chunk; its checksum has to fit again.
        file[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        file[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        let checksum = crc32(&file[12..29]);
        file[29..33].copy_from_slice(&checksum.to_be_bytes());
        let expected = DecodeError::TooManyPixels {
            width: 60_000,
            height: 60_000,
        };
        assert_eq!(decode(&file), Err(expected));
    }

    /// The checksum of PNG chunks (ISO 3309), bit by bit.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    #[test]
    fn what_is_no_picture_is_told_so() {
        for bytes in [
            &b""[..],
            b"hello",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"GIF89a..",
        ] {
            assert_eq!(decode(bytes), Err(DecodeError::NotAPicture));
        }
        let too_large = vec![0; MAX_IMAGE_BYTES + 1];
        assert_eq!(decode(&too_large), Err(DecodeError::TooManyBytes));
    }
}
