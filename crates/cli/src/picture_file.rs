//! Pictures on disk: read for an edit, written at the end.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, ImageReader, RgbImage};
use tintype_service::picture;

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
    let decoder = ImageReader::new(file)
        .with_guessed_format()?
        .into_decoder()?;
    if let Some((width, height)) = picture::excessive_size(&decoder) {
        bail!(
            "it has {width}×{height} pixels; at most {} million are accepted",
            picture::MAX_MEGAPIXELS
        );
    }
    Ok(picture::read_pixels(decoder)?)
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
                let encoder = JpegEncoder::new_with_quality(&mut file, picture::JPEG_QUALITY);
                picture.write_with_encoder(encoder)?;
            }
            _ => picture.write_to(&mut file, format)?,
        }
        file.flush()?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
