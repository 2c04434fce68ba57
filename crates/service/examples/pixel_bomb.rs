//! How long it takes to refuse small files that claim to be enormous:
//! `cargo run --release -p tintype-service --example pixel_bomb`.

use std::time::Instant;

use tintype_service::test_support::refusal_of_picture;

/// The checksum of PNG chunks (ISO 3309), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A PNG of 50,000 by 50,000 pixels, as far as its header goes.
fn png() -> Vec<u8> {
    let size = 50_000_u32.to_be_bytes();
    let header = [b"IHDR", &size[..], &size, &[8, 2, 0, 0, 0]].concat();
    let sum = crc32(&header).to_be_bytes();
    let pixels = b"\0\0\0\x01IDATx";
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\x0d",
        &header[..],
        &sum,
        pixels,
        &[0; 4],
    ]
    .concat()
}

/// A lossless WebP of 16,000 by 16,000 pixels, as far as its header goes.
fn webp() -> Vec<u8> {
    let size = (15_999_u32 | 15_999 << 14).to_le_bytes();
    [b"RIFF\x24\0\0\0WEBPVP8L\x15\0\0\0\x2f", &size[..], &[0; 17]].concat()
}

fn main() {
    for (name, file) in [("PNG", png()), ("WebP", webp())] {
        let mut slowest = 0.0_f64;
        let mut refusal = None;
        for _ in 0..1000 {
            let began = Instant::now();
            refusal = refusal_of_picture(&file);
            slowest = slowest.max(began.elapsed().as_secs_f64() * 1e3);
        }
        let refusal = refusal.unwrap_or_else(|| "IT WAS TAKEN".to_owned());
        println!(
            "{name} of {} bytes: {slowest:.3} ms at most of 1,000 times: {refusal}",
            file.len()
        );
    }
}
