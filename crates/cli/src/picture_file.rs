//! Pictures on disk: read for an edit, written at the end.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage};

/// Millions of pixels at most, as the service takes them.
const MAX_MEGAPIXELS: u64 = 64;

/// What a decoder may allocate: 64 million pixels of four 16-bit channels.
const MAX_DECODED_BYTES: u64 = 512 * 1024 * 1024;

/// High enough that flat areas stay flat.
const JPEG_QUALITY: u8 = 95;

/// Reads a JPEG, PNG or WebP picture: turned as the camera held it, transparency on white.
///
/// # Errors
/// When there is no such file, or it is not such a picture, or it is too large.
pub fn read(path: &Path) -> anyhow::Result<RgbImage> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    decode(BufReader::new(file)).with_context(|| {
        format!(
            "{} cannot be used as a picture (JPEG, PNG or WebP)",
            path.display()
        )
    })
}

fn decode(file: BufReader<File>) -> anyhow::Result<RgbImage> {
    let mut decoder = ImageReader::new(file)
        .with_guessed_format()?
        .into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_MEGAPIXELS * 1_000_000 {
        bail!("it has {width}×{height} pixels; at most {MAX_MEGAPIXELS} million are accepted");
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    decoder.set_limits(limits)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(on_white(picture))
}

fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let rgba = picture.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [red, green, blue, alpha] = rgba.get_pixel(x, y).0.map(u32::from);
        let blend = |channel| ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        Rgb([red, green, blue].map(blend))
    })
}

/// The format that a file name asks for.
///
/// # Errors
/// When its ending is neither `.png` nor `.jpg` nor `.jpeg`, or its folder is not there: said
/// before anything is drawn.
pub fn format_of(path: &Path) -> anyhow::Result<ImageFormat> {
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        bail!("there is no folder {}", folder.display());
    }
    match path.extension().and_then(ImageFormat::from_extension) {
        Some(format @ (ImageFormat::Png | ImageFormat::Jpeg)) => Ok(format),
        _ => Err(anyhow!(
            "{}: the name of the output must end in .png, .jpg or .jpeg",
            path.display()
        )),
    }
}

/// Writes a picture.
///
/// # Errors
/// When the file cannot be written.
pub fn write(picture: &RgbImage, path: &Path, format: ImageFormat) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        match format {
            ImageFormat::Jpeg => {
                let encoder = JpegEncoder::new_with_quality(&mut file, JPEG_QUALITY);
                picture.write_with_encoder(encoder)?;
            }
            _ => picture.write_to(&mut file, format)?,
        }
        file.flush()?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
