//! 8-bit RGB pictures: resizing with Pillow's results, byte for byte.
//!
//! A picture must reach a model as the Python libraries would hand it over, so this follows
//! Pillow's `src/libImaging/Resample.c`: filter weights in f64, rounded to 22 fractional bits,
//! one pass along the rows and one along the columns with 8-bit values between them.

mod filter;

use image::RgbImage;

pub use filter::Filter;

/// A picture's size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Fractional bits of a weight: what an i32 leaves beside 8 bits of pixel and two of headroom.
const PRECISION: u32 = 32 - 8 - 2;

const CHANNELS: usize = 3;

/// Resizes as `PIL.Image.resize` does.
pub fn resize(picture: &RgbImage, size: Dimensions, filter: Filter) -> RgbImage {
    let from = picture.dimensions();
    let mut pixels = picture.as_raw().clone();
    let (mut width, to_width) = (from.0 as usize, size.width as usize);
    let (height, to_height) = (from.1 as usize, size.height as usize);
    let columns = |pixels: Vec<u8>, width| match to_height == height {
        true => pixels,
        false => resize_columns(&pixels, width, &windows(filter, height, to_height)),
    };
    let columns_first = columns_first(from, size);
    if columns_first {
        pixels = columns(pixels, width);
    }
    if to_width != width {
        pixels = resize_rows(&pixels, width, &windows(filter, width, to_width));
        width = to_width;
    }
    if !columns_first {
        pixels = columns(pixels, width);
    }
    RgbImage::from_raw(size.width, size.height, pixels)
        .expect("three bytes for each pixel; this is a bug")
}

/// Whether the pass along the columns comes first. It matters, as each pass rounds to bytes; Pillow
/// since version 13 has it first where the height loses more than twice what the width does.
fn columns_first((width, height): (u32, u32), to: Dimensions) -> bool {
    let lost_height = i64::from(height) - i64::from(to.height);
    let lost_width = i64::from(width) - i64::from(to.width);
    lost_height > 0 && lost_height > 2 * lost_width
}

/// The weights of the neighbouring input pixels that make one output pixel.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// The windows of every output pixel along one axis.
fn windows(filter: Filter, from: usize, to: usize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    // Shrinking widens the filter so that every input pixel is seen.
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    (0..to)
        .map(|index| {
            let center = (index as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let weights: Vec<f64> = (start..end)
                .map(|x| filter.weight((x as f64 - center + 0.5) / stretch))
                .collect();
            let sum: f64 = weights.iter().sum();
            Window {
                start,
                weights: weights.iter().map(|w| fixed_point(w / sum)).collect(),
            }
        })
        .collect()
}

/// Rounds half away from zero, as Pillow does.
fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION)).round() as i32
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

/// What a sum starts with, so that the shift rounds.
const HALF: i32 = 1 << (PRECISION - 1);

/// `pixels` is (rows, `width`, 3); returns (rows, windows, 3).
fn resize_rows(pixels: &[u8], width: usize, windows: &[Window]) -> Vec<u8> {
    let mut output = Vec::with_capacity(pixels.len() / width * windows.len());
    for row in pixels.chunks_exact(width * CHANNELS) {
        for window in windows {
            let mut sums = [HALF; CHANNELS];
            let neighbours = row[window.start * CHANNELS..].chunks_exact(CHANNELS);
            for (pixel, weight) in neighbours.zip(&window.weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            output.extend(sums.map(to_byte));
        }
    }
    output
}

/// `pixels` is (rows, `width`, 3); returns (windows, `width`, 3).
fn resize_columns(pixels: &[u8], width: usize, windows: &[Window]) -> Vec<u8> {
    let stride = width * CHANNELS;
    let mut output = Vec::with_capacity(windows.len() * stride);
    let mut sums = vec![0; stride];
    for window in windows {
        sums.fill(HALF);
        let rows = pixels[window.start * stride..].chunks_exact(stride);
        for (row, weight) in rows.zip(&window.weights) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += i32::from(*value) * weight;
            }
        }
        output.extend(sums.iter().map(|&sum| to_byte(sum)));
    }
    output
}
