//! Whether a file is all there, where decoders do not look or believe what it claims.

use super::Kind;

/// Whether no part of the file that its own marks promise is missing. What this cannot tell, the
/// decoder will.
pub(super) fn is_whole(bytes: &[u8], kind: Kind) -> bool {
    match kind {
        Kind::Jpeg => jpeg_is_whole(bytes),
        Kind::WebP => webp_is_whole(bytes),
        Kind::Png => true,
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

/// Whether every chunk of a WebP file ends within it. The decoder makes room for what a chunk of
/// metadata claims to hold, which can be 4 GB, before it looks for it.
fn webp_is_whole(bytes: &[u8]) -> bool {
    /// A name and the length of what follows; the file itself is such a chunk.
    const HEADER_BYTES: usize = 8;
    /// `WEBP`, before the first chunk inside.
    const FORM_BYTES: usize = 4;
    let length = |header: &[u8]| u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    let Some((header, behind)) = bytes.split_at_checked(HEADER_BYTES) else {
        return false;
    };
    // What follows the file in the file is nobody's business.
    let inside = &behind[..behind.len().min(length(header) as usize)];
    let mut rest = inside.get(FORM_BYTES..).unwrap_or_default();
    while let Some((header, behind)) = rest.split_at_checked(HEADER_BYTES) {
        let size = length(header) as usize;
        if size > behind.len() {
            return false;
        }
        // Chunks of odd length are padded; the last one's padding is often forgotten.
        rest = behind.get(size + size % 2..).unwrap_or_default();
    }
    true
}
