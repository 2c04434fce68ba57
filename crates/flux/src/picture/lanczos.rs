//! Lanczos resizing with Pillow's results, byte for byte.
//!
//! A reference picture must reach the model as `diffusers` would hand it over, so this follows
//! Pillow's `src/libImaging/Resample.c`: filter weights in f64, rounded to 22 fractional bits,
//! one pass along the rows and one along the columns with 8-bit values between them.

use image::RgbImage;

use crate::size::Size;

/// Lobes on each side.
const LOBES: f64 = 3.0;

/// Fractional bits of a weight: what an i32 leaves beside 8 bits of pixel and two of headroom.
const PRECISION: u32 = 32 - 8 - 2;

const CHANNELS: usize = 3;

/// Resizes by Lanczos with three lobes, as `PIL.Image.resize` does.
pub fn resize(picture: &RgbImage, size: Size) -> RgbImage {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (new_width, new_height) = (size.width as usize, size.height as usize);
    let mut pixels = picture.as_raw().clone();
    if new_width != width {
        pixels = resize_rows(&pixels, width, &windows(width, new_width));
    }
    if new_height != height {
        pixels = resize_columns(&pixels, new_width, &windows(height, new_height));
    }
    RgbImage::from_raw(size.width, size.height, pixels)
        .expect("three bytes for each pixel; this is a bug")
}

/// The weights of the neighbouring input pixels that make one output pixel.
struct Window {
    start: usize,
    weights: Vec<i32>,
}

/// The windows of every output pixel along one axis.
fn windows(from: usize, to: usize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    // Shrinking widens the filter so that every input pixel is seen.
    let stretch = scale.max(1.0);
    let support = LOBES * stretch;
    (0..to)
        .map(|index| {
            let center = (index as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let weights: Vec<f64> = (start..end)
                .map(|x| lanczos((x as f64 - center + 0.5) / stretch))
                .collect();
            let sum: f64 = weights.iter().sum();
            Window {
                start,
                weights: weights.iter().map(|w| fixed_point(w / sum)).collect(),
            }
        })
        .collect()
}

/// sinc(x) sinc(x/3) within three lobes.
fn lanczos(x: f64) -> f64 {
    if (-LOBES..LOBES).contains(&x) {
        sinc(x) * sinc(x / LOBES)
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let x = x * std::f64::consts::PI;
    x.sin() / x
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
