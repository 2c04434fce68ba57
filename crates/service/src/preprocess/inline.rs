//! Pictures that are written into the field itself: `data:` URIs and bare base64.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tintype_catalog::ImageReference;

use super::sniff;

/// No file has a longer name: a longer text is meant as a picture.
const MAX_FILE_NAME_CHARS: usize = 255;

/// Padding may be there or not, and encoders that are careless about the last bits are forgiven.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What a reference holds.
pub(crate) enum Inline {
    /// An address or a name.
    No,
    /// The bytes of a file. Whether they are a picture is found out when it is decoded.
    Picture(Vec<u8>),
    /// It was meant to be a picture; why it is none, to be read after the field's name.
    Broken(&'static str),
}

/// Tells pictures from names, and decodes them.
pub(crate) fn read(reference: &ImageReference) -> Inline {
    match reference {
        ImageReference::Url(_) => Inline::No,
        ImageReference::DataUri(uri) => read_data_uri(uri),
        ImageReference::NameOrBase64(text) => match decode(text) {
            Some(bytes) if sniff(&bytes).is_some() || text.len() > MAX_FILE_NAME_CHARS => {
                Inline::Picture(bytes)
            }
            None if text.len() > MAX_FILE_NAME_CHARS => {
                Inline::Broken("is neither an address, nor a file name, nor base64")
            }
            _ => Inline::No,
        },
    }
}

/// A name for a picture that came without one.
pub(crate) fn file_name(input: &str, bytes: &[u8]) -> String {
    let extension = sniff(bytes).map_or("bin", |kind| kind.extension());
    format!("{input}.{extension}")
}

fn read_data_uri(uri: &str) -> Inline {
    let Some((head, body)) = uri.split_once(',') else {
        return Inline::Broken("is a data: URI without a comma before its data");
    };
    if !head.to_ascii_lowercase().ends_with(";base64") {
        return Inline::Broken("is a data: URI that is not in base64");
    }
    match decode(body) {
        Some(bytes) if !bytes.is_empty() => Inline::Picture(bytes),
        _ => Inline::Broken("is a data: URI whose base64 is damaged"),
    }
}

/// Both alphabets; line breaks are skipped, and a blank is the plus sign that it was before a form
/// was decoded once too often.
fn decode(text: &str) -> Option<Vec<u8>> {
    let standard = text
        .trim()
        .bytes()
        .filter(|byte| !b"\r\n\t".contains(byte))
        .map(|byte| match byte {
            b'-' | b' ' => b'+',
            b'_' => b'/',
            byte => byte,
        });
    LENIENT.decode(standard.collect::<Vec<u8>>()).ok()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    /// The first bytes of a PNG, and some that need every letter of the alphabets.
    const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\xfb\xef\xbe\xff\xff\xfe\x00";

    fn bytes_of(text: &str) -> Option<Vec<u8>> {
        match read(&ImageReference::parse(text)) {
            Inline::Picture(bytes) => Some(bytes),
            Inline::No | Inline::Broken(_) => None,
        }
    }

    #[test]
    fn pictures_are_read_from_every_kind_of_base64() {
        let base64 = STANDARD.encode(PICTURE);
        for text in [
            base64.clone(),
            base64.trim_end_matches('=').to_owned(),
            URL_SAFE_NO_PAD.encode(PICTURE),
            format!("{}\r\n{}", &base64[..8], &base64[8..]),
            base64.replace('+', " "),
            format!("data:image/png;base64,{base64}"),
            format!("DATA:IMAGE/PNG;BASE64,{base64}"),
            format!("data:;base64,{base64}"),
        ] {
            assert_eq!(bytes_of(&text).as_deref(), Some(PICTURE), "{text}");
        }
    }

    #[test]
    fn names_and_addresses_are_left_alone() {
        for text in [
            "cookie",
            "abcd",
            "input-depth-to-image-4.jpg",
            "https://example.org/a.png",
        ] {
            assert!(
                matches!(read(&ImageReference::parse(text)), Inline::No),
                "{text}"
            );
        }
    }

    #[test]
    fn damaged_pictures_are_told_from_names() {
        let long_and_not_base64 = "?".repeat(MAX_FILE_NAME_CHARS + 1);
        for text in [
            "data:image/png,abc",
            "data:image/png;base64",
            "data:;base64,%%%",
            &long_and_not_base64,
        ] {
            assert!(
                matches!(read(&ImageReference::parse(text)), Inline::Broken(_)),
                "{text}"
            );
        }
    }
}
