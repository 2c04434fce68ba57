//! What becomes of good and of damaged pictures.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
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

/// Red, green over blue, white; large enough that a JPEG's blocks do not bleed.
fn corners() -> RgbImage {
    RgbImage::from_fn(64, 32, |x, y| {
        Rgb(match (x < 32, y < 16) {
            (true, true) => [255, 0, 0],
            (false, true) => [0, 255, 0],
            (true, false) => [0, 0, 255],
            (false, false) => [255, 255, 255],
        })
    })
}

/// The corners of a picture as letters, row by row.
fn letters(picture: &RgbImage) -> String {
    let (right, below) = (picture.width() - 4, picture.height() - 4);
    let letter = |(x, y)| match picture.get_pixel(x, y).0.map(|channel| channel > 127) {
        [true, false, false] => 'r',
        [false, true, false] => 'g',
        [false, false, true] => 'b',
        [true, true, true] => 'w',
        _ => '?',
    };
    let places = [(4, 4), (right, 4), (4, below), (right, below)];
    places.map(letter).iter().collect()
}

/// A TIFF header with one entry: the orientation (0x0112).
fn exif(orientation: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    exif[18] = orientation;
    exif
}

fn encode_with(mut encoder: impl ImageEncoder, exif: Vec<u8>) {
    encoder.set_exif_metadata(exif).expect("metadata");
    let picture = corners();
    let written = encoder.write_image(&picture, 64, 32, ExtendedColorType::Rgb8);
    written.expect("encodes");
}

#[test]
fn all_eight_orientations_of_cameras_are_applied() {
    for (orientation, expected) in [
        (1, "rgbw"),
        (2, "grwb"),
        (3, "wbgr"),
        (4, "bwrg"),
        (5, "rbgw"),
        (6, "brwg"),
        (7, "wgbr"),
        (8, "gwrb"),
        // Not defined: as stored.
        (0, "rgbw"),
        (9, "rgbw"),
    ] {
        let (mut jpeg, mut png, mut webp) = (Vec::new(), Vec::new(), Vec::new());
        encode_with(JpegEncoder::new(&mut jpeg), exif(orientation));
        encode_with(PngEncoder::new(&mut png), exif(orientation));
        encode_with(WebPEncoder::new_lossless(&mut webp), exif(orientation));
        for file in [jpeg, png, webp] {
            let kind = sniff(&file);
            let picture = decode(&file).expect("decodes");
            assert_eq!(letters(&picture), expected, "{kind:?} {orientation}");
            let upright = !(5..=8).contains(&orientation);
            assert_eq!(picture.width() == 64, upright, "{kind:?} {orientation}");
        }
    }
}

#[test]
fn damaged_metadata_is_no_reason_to_refuse_a_picture() {
    for damaged in [&b""[..], b"II", b"II*\0\xff\xff\xff\xff", &[0xff; 64]] {
        let mut file = Vec::new();
        encode_with(JpegEncoder::new(&mut file), damaged.to_vec());
        assert_eq!(letters(&decode(&file).expect("decodes")), "rgbw");
    }
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
