//! Small files that claim to be large ones, opened by a process that may have 64 MB.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::*;

/// Tells a test that it is the process with little memory, and which folder to decode.
const FOLDER: &str = "TINTYPE_TEST_BOMBS";

/// What that process may have, in kilobytes as the shell counts them.
const MEMORY_KILOBYTES: usize = 64 * 1024;

/// More than it may have.
const UNPACKED_BYTES: usize = 100 * 1024 * 1024;

fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a short chunk");
    let mut checksum = flate2::Crc::new();
    checksum.update(kind);
    checksum.update(data);
    let sum = checksum.sum().to_be_bytes();
    [&length.to_be_bytes(), &kind[..], data, &sum].concat()
}

fn png_header(size: u32, depth_and_colour: [u8; 2]) -> Vec<u8> {
    let size = size.to_be_bytes();
    let data = [&size[..], &size, &depth_and_colour, &[0, 0, 0]].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &png_chunk(b"IHDR", &data)].concat()
}

/// A PNG of eight by eight grey pixels with a chunk in front of them.
fn png_with(chunk: &[u8]) -> Vec<u8> {
    png_of(&[chunk, &png_chunk(b"IDAT", &packed(8 * 9))].concat())
}

fn png_of(chunks: &[u8]) -> Vec<u8> {
    [&png_header(8, [8, 0])[..], chunks, &png_chunk(b"IEND", &[])].concat()
}

/// So many zeros, as a zlib stream.
fn packed(bytes: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let block = vec![0; 64 * 1024];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(block.len());
        encoder.write_all(&block[..now]).expect("memory");
        left -= now;
    }
    encoder.finish().expect("memory")
}

fn riff(chunks: &[u8]) -> Vec<u8> {
    let size = u32::try_from(chunks.len() + 4).expect("a short file");
    [b"RIFF", &size.to_le_bytes()[..], b"WEBP", chunks].concat()
}

fn riff_chunk(kind: &[u8; 4], claimed: u32, data: &[u8]) -> Vec<u8> {
    [&kind[..], &claimed.to_le_bytes(), data].concat()
}

/// An extended WebP header with these features and a canvas of 2^24 by 2^24, or a small one.
fn vp8x(features: u8, canvas: [u8; 6]) -> Vec<u8> {
    riff_chunk(b"VP8X", 10, &[&[features, 0, 0, 0], &canvas[..]].concat())
}

fn lossless(size_bits: u32, claimed: u32) -> Vec<u8> {
    let body = [&[0x2f][..], &size_bits.to_le_bytes(), &[0; 16]].concat();
    riff_chunk(b"VP8L", claimed, &body)
}

/// The JPEG segments up to the scan of a picture that claims 65,535 by 65,535 pixels.
fn jpeg(start_of_frame: u8) -> Vec<u8> {
    let tables = b"\xff\xdb\0\x43\0".iter().copied().chain([1; 64]);
    let frame = [
        0xff,
        start_of_frame,
        0,
        11,
        8,
        0xff,
        0xff,
        0xff,
        0xff,
        1,
        1,
        0x11,
        0,
    ];
    let scan = *b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\0\0\xff\xd9";
    let start = [0xff, 0xd8].into_iter();
    start.chain(tables).chain(frame).chain(scan).collect()
}

const SMALL: [u8; 6] = [7, 0, 0, 7, 0, 0];

/// A name, the file, and how the answer begins.
fn bombs() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let bomb = packed(UNPACKED_BYTES);
    let text = |kind: &[u8; 4], head: &[u8]| png_with(&png_chunk(kind, &[head, &bomb].concat()));
    let endless = |kind: &[u8; 4]| {
        let head = [&0x7fff_ffff_u32.to_be_bytes()[..], kind, &[0; 32]].concat();
        png_of(&head)
    };
    let frames = png_chunk(b"acTL", &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let mut claim = png_header(50_000, [8, 2]);
    claim.extend(png_chunk(b"IDAT", &packed(100)));
    claim.extend(png_chunk(b"IEND", &[]));
    assert!(claim.len() <= 100, "a file of {} bytes", claim.len());
    let too_many = "TooManyPixels";
    vec![
        ("png that claims 50,000 x 50,000", claim, too_many),
        (
            "png of single bits",
            png_header(50_000, [1, 0]),
            "Truncated",
        ),
        (
            "png with palette",
            [
                png_header(50_000, [8, 3]),
                png_chunk(b"PLTE", &[0; 3]),
                png_chunk(b"IDAT", b"x"),
            ]
            .concat(),
            too_many,
        ),
        (
            "png of the largest size",
            [png_header(0x7fff_ffff, [16, 6]), png_chunk(b"IDAT", b"x")].concat(),
            "",
        ),
        (
            "png whose pixels never end",
            png_of(&png_chunk(b"IDAT", &bomb)),
            "ok",
        ),
        ("png with an endless chunk of pixels", endless(b"IDAT"), ""),
        ("png with an endless comment", endless(b"tEXt"), ""),
        ("png with an endless profile", endless(b"iCCP"), ""),
        ("png with endless EXIF", endless(b"eXIf"), ""),
        ("png with a bomb for a profile", text(b"iCCP", b"p\0\0"), ""),
        (
            "png with a bomb for a comment",
            text(b"zTXt", b"Comment\0\0"),
            "ok",
        ),
        (
            "png with a bomb for a text",
            text(b"iTXt", b"Comment\0\x01\0\0\0"),
            "ok",
        ),
        (
            "png with a bomb for XMP",
            text(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0"),
            "ok",
        ),
        ("png with two billion frames", png_with(&frames), "ok"),
        ("jpeg that claims all it can", jpeg(0xc0), too_many),
        (
            "progressive jpeg that claims all it can",
            jpeg(0xc2),
            too_many,
        ),
        (
            "webp with a huge canvas",
            riff(&[vp8x(0, [0xff; 6]), lossless(0, 21)].concat()),
            "",
        ),
        (
            "webp that claims all it can",
            riff(&[lossless(15_999 | 15_999 << 14, 21), vec![0]].concat()),
            too_many,
        ),
        (
            "webp with endless EXIF",
            riff(
                &[
                    vp8x(8, SMALL),
                    lossless(0x1_c007, 21),
                    vec![0],
                    riff_chunk(b"EXIF", u32::MAX - 1, b"II*\0"),
                ]
                .concat(),
            ),
            "Truncated",
        ),
        (
            "webp with an endless profile",
            riff(&[vp8x(32, SMALL), riff_chunk(b"ICCP", 0xfff_fff0, b"")].concat()),
            "Truncated",
        ),
        (
            "webp with endless frames",
            riff(
                &[
                    vp8x(2, SMALL),
                    riff_chunk(b"ANIM", 6, &[0; 6]),
                    riff_chunk(b"ANMF", 0xfff_fff0, &[0xff; 16]),
                ]
                .concat(),
            ),
            "Truncated",
        ),
        (
            "webp with a frame larger than its canvas",
            riff(
                &[
                    vp8x(2, SMALL),
                    riff_chunk(b"ANIM", 6, &[0; 6]),
                    riff_chunk(b"ANMF", 16, &[0xff; 16]),
                ]
                .concat(),
            ),
            "",
        ),
    ]
}

/// This test once more, in a process with little memory, on the files of a folder.
fn with_little_memory(test: &str, folder: &Path) -> Output {
    let this = std::env::current_exe().expect("this program");
    Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -d {MEMORY_KILOBYTES} && exec \"$0\" \"$@\""),
        ])
        .arg(this)
        .args(["--exact", "--nocapture", "--test-threads=1", test])
        .env(FOLDER, folder)
        .output()
        .expect("a shell")
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "counts memory as Linux does")]
fn bombs_are_refused_in_64_megabytes() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return decode_all(Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let bombs = bombs();
    for (name, file, _) in &bombs {
        std::fs::write(folder.path().join(name), file).expect("a file");
    }
    let name = "preprocess::decode::bombs::bombs_are_refused_in_64_megabytes";
    let output = with_little_memory(name, folder.path());
    let told = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{complaints}");
    for (name, _, expected) in bombs {
        let start = format!("<{name}> {expected}");
        assert!(
            told.lines().any(|line| line.starts_with(&start)),
            "{start}\n{told}"
        );
    }
}

fn decode_all(folder: &Path) {
    for file in std::fs::read_dir(folder).expect("a folder") {
        let file = file.expect("a file");
        let bytes = std::fs::read(file.path()).expect("its bytes");
        let answer = match decode(&bytes) {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{error:?}"),
        };
        println!("\n<{}> {answer}", file.file_name().display());
    }
}

/// The test above means something only if its limit does.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "counts memory as Linux does")]
fn a_process_with_little_memory_dies_of_more() {
    if std::env::var_os(FOLDER).is_some() {
        let large = vec![1_u8; MEMORY_KILOBYTES * 1024];
        assert_eq!(large.iter().filter(|&&byte| byte == 1).count(), large.len());
        return;
    }
    let name = "preprocess::decode::bombs::a_process_with_little_memory_dies_of_more";
    let output = with_little_memory(name, Path::new("."));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("memory allocation of 67108864 bytes failed"),
        "{told}"
    );
}
