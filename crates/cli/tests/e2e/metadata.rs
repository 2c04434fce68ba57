//! What a picture says beside its pixels (the place, the camera, comments) stays behind.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use serde_json::json;

use crate::client::KONTEXT;
use crate::server::Place;

/// Stands in every kind of metadata, and in the prompt.
const MARK: &[u8] = b"48.8584N-2.2945E-taken-by-someone";

fn mark() -> &'static str {
    std::str::from_utf8(MARK).expect("a text")
}

/// An EXIF block whose image description (0x010e) is the mark.
fn exif() -> Vec<u8> {
    let length = u32::try_from(MARK.len()).expect("short").to_le_bytes();
    let entry = [b"\x0e\x01\x02\0", &length[..], b"\x1a\0\0\0"].concat();
    [b"II*\0\x08\0\0\0\x01\0", &entry[..], b"\0\0\0\0", MARK].concat()
}

fn encoded_with(mut encoder: impl ImageEncoder) {
    encoder.set_exif_metadata(exif()).expect("EXIF");
    encoder.set_icc_profile(MARK.to_vec()).expect("a profile");
    let picture = RgbImage::new(32, 32);
    let written = encoder.write_image(&picture, 32, 32, ExtendedColorType::Rgb8);
    written.expect("encodes");
}

/// With XMP and a comment.
fn jpeg() -> Vec<u8> {
    let mut file = Vec::new();
    encoded_with(JpegEncoder::new(&mut file));
    let segment = |marker: u8, head: &[u8]| {
        let body = [head, MARK].concat();
        let length = u16::try_from(body.len() + 2).expect("short").to_be_bytes();
        [&[0xff, marker], &length[..], &body].concat()
    };
    let xmp = segment(0xe1, b"http://ns.adobe.com/xap/1.0/\0");
    let comment = segment(0xfe, b"");
    file.splice(2..2, [xmp, comment].concat());
    file
}

/// With a comment.
fn png() -> Vec<u8> {
    const AFTER_HEADER: usize = 33;
    let mut file = Vec::new();
    encoded_with(PngEncoder::new(&mut file));
    let body = [&b"Comment\0"[..], MARK].concat();
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    let mut checksum = flate2::Crc::new();
    checksum.update(b"tEXt");
    checksum.update(&body);
    let sum = checksum.sum().to_be_bytes();
    let chunk = [&length[..], b"tEXt", &body, &sum].concat();
    file.splice(AFTER_HEADER..AFTER_HEADER, chunk);
    file
}

/// The kinds of chunks that a PNG is made of.
fn png_chunks(file: &[u8]) -> Vec<String> {
    let mut kinds = Vec::new();
    let mut rest = &file[8..];
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        kinds.push(String::from_utf8_lossy(&head[4..]).into_owned());
        rest = &behind[length as usize + 4..];
    }
    kinds
}

/// The markers of a JPEG's segments up to its scan.
fn jpeg_markers(file: &[u8]) -> Vec<u8> {
    let mut markers = Vec::new();
    let mut rest = &file[2..];
    while let [0xff, marker, high, low, ..] = rest {
        markers.push(*marker);
        if *marker == 0xda {
            break;
        }
        rest = &rest[2 + usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    markers
}

#[tokio::test]
async fn metadata_of_inputs_and_prompts_is_not_in_outputs() {
    let place = Place::new();
    let server = place.serve();
    let client = server.client();
    let holds_mark = |file: &[u8]| file.windows(MARK.len()).any(|window| window == MARK);
    for input in [jpeg(), png()] {
        assert!(holds_mark(&input), "there is something to leak");
        for format in ["png", "jpeg"] {
            let token = client.run(
                KONTEXT,
                json!({
                    "prompt": mark(),
                    "inputImage": STANDARD.encode(&input),
                    "outputFormat": format,
                }),
            );
            let output = client.picture_file(&client.ended(&token.await).await).await;
            assert!(!holds_mark(&output), "{format}");
            if format == "png" {
                for kind in png_chunks(&output) {
                    assert!(["IHDR", "IDAT", "IEND"].contains(&kind.as_str()), "{kind}");
                }
            } else {
                // Nothing of an application but JFIF's own, and no comment.
                let markers = jpeg_markers(&output);
                assert!(markers.contains(&0xda), "{markers:x?}");
                for marker in markers {
                    assert!(
                        !(0xe1..=0xef).contains(&marker) && marker != 0xfe,
                        "{marker:x}"
                    );
                }
            }
        }
    }
}
