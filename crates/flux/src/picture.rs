//! Pictures in and out of the VAE: 8-bit RGB to numbers in [-1, 1] and back, and resizing.

use image::RgbImage;
use tintype_compute::Tensor;
use tintype_pixels::{Dimensions, Filter};

use crate::size::Size;

/// Resizes by Lanczos, as diffusers has Pillow do it.
pub fn resize(picture: &RgbImage, size: Size) -> RgbImage {
    let size = Dimensions {
        width: size.width,
        height: size.height,
    };
    tintype_pixels::resize(picture, size, Filter::Lanczos)
}

/// Numbers in [-1, 1] for a batch of pictures of one size: `(batch, height, width, 3)`.
///
/// # Panics
/// If the pictures differ in size or there are none.
pub fn to_tensor(pictures: &[RgbImage]) -> Tensor {
    let (width, height) = pictures[0].dimensions();
    let mut values = Vec::with_capacity(pictures.len() * pictures[0].len());
    for picture in pictures {
        assert_eq!(picture.dimensions(), (width, height), "this is a bug");
        // In diffusers' order: to [0, 1] first, then 2x - 1.
        values.extend(picture.iter().map(|&v| 2.0 * (f32::from(v) / 255.0) - 1.0));
    }
    Tensor::from_vec([pictures.len(), height as usize, width as usize, 3], values)
}

/// 8-bit pictures from what the VAE decoded, `(batch, height, width, 3)` around [-1, 1]: clamped
/// and rounded as `VaeImageProcessor.postprocess` does.
///
/// # Panics
/// If the tensor does not have three channels.
pub fn from_tensor(tensor: &Tensor) -> Vec<RgbImage> {
    let [batch, height, width, channels] = tensor.rank4();
    assert_eq!(channels, 3, "this is a bug");
    (0..batch)
        .map(|index| {
            let pixels = tensor.sample(index).iter().map(|&v| to_byte(v)).collect();
            RgbImage::from_raw(width as u32, height as u32, pixels)
                .expect("a picture has three bytes a pixel; this is a bug")
        })
        .collect()
}

/// [-1, 1] to 0..=255; what is not a number becomes black.
fn to_byte(value: f32) -> u8 {
    // numpy rounds halves to even.
    ((value * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_the_way_there_and_back() {
        let pixels: Vec<u8> = (0..=255).flat_map(|v| [v, 255 - v, v / 2]).collect();
        let picture = RgbImage::from_raw(16, 16, pixels).expect("256 pixels");
        let tensor = to_tensor(&[picture.clone(), picture.clone()]);
        assert_eq!(tensor.shape(), [2, 16, 16, 3]);
        assert_eq!(from_tensor(&tensor), [picture.clone(), picture]);
    }

    #[test]
    fn values_out_of_range_are_clamped() {
        let values = vec![-7.0, 1.5, f32::NAN];
        let pictures = from_tensor(&Tensor::from_vec([1, 1, 1, 3], values));
        assert_eq!(pictures[0].as_raw(), &[0, 255, 0]);
    }
}
