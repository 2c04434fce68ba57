//! What a run is heading for, as small pictures that cost little.
//!
//! Between two steps the velocity points from the latents to the noise that is left in them, so
//! the picture is known already, if not well: `x0 = x - sigma * v` (flow matching). It is averaged
//! down in latent space, where a cell is 64 pixels and more, and decoded there by the model's own
//! decoder: right for every VAE, and of a large picture a small part of the work of one step.
//! Nothing here changes the run.

use std::ops::Range;

use image::RgbImage;
use tintype_compute::Tensor;

use crate::picture;

use super::Run;
use super::run::decode_cells;

impl Run<'_> {
    /// The pictures as the latest step sees them, none of their sides longer than `longest`
    /// pixels; nothing before the first step, nor where the VAE is not held beside the transformer.
    pub fn preview(&self, longest: u32) -> Option<Vec<RgbImage>> {
        let (latents, velocity) = (self.latents(), self.latest_velocity()?);
        let vae = self.vae_for_preview()?;
        let sigma = self.sigmas()[self.steps_done()];
        let clean = latents.data().iter().zip(velocity.data());
        let clean = clean.map(|(x, v)| x - sigma * v).collect();
        let clean = self.to_cells(&Tensor::from_vec(latents.shape().to_vec(), clean));
        let cells = longest as usize / self.cell_pixels();
        let pixels = decode_cells(&vae, shrink(&clean, cells.max(1)));
        Some(picture::from_tensor(&pixels))
    }
}

/// Averages `(batch, height, width, channels)` down until no side is longer than `longest`.
fn shrink(cells: &Tensor, longest: usize) -> Tensor {
    let [batch, height, width, channels] = cells.rank4();
    let side = height.max(width);
    if side <= longest {
        return cells.clone();
    }
    let shrunk = |length: usize| (length * longest / side).max(1);
    let (rows, columns) = (shrunk(height), shrunk(width));
    let mut values = Vec::with_capacity(batch * rows * columns * channels);
    for index in 0..batch {
        let sample = cells.sample(index);
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))) {
            let (ys, xs) = (part(row, rows, height), part(column, columns, width));
            let share = 1.0 / (ys.len() * xs.len()) as f32;
            let start = values.len();
            values.resize(start + channels, 0.0);
            for (y, x) in ys.flat_map(|y| xs.clone().map(move |x| (y, x))) {
                let cell = &sample[(y * width + x) * channels..][..channels];
                for (sum, value) in values[start..].iter_mut().zip(cell) {
                    *sum += share * value;
                }
            }
        }
    }
    Tensor::from_vec([batch, rows, columns, channels], values)
}

/// The cells of a line that part `index` of `parts` stands for: never none, and of neighbouring
/// parts not more than one in common.
fn part(index: usize, parts: usize, length: usize) -> Range<usize> {
    index * length / parts..((index + 1) * length).div_ceil(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(height: usize, width: usize) -> Tensor {
        let values = (0..height * width * 2).map(|value| value as f32).collect();
        Tensor::from_vec([1, height, width, 2], values)
    }

    #[test]
    fn whole_factors_average_blocks() {
        let shrunk = shrink(&ramp(4, 4), 2);
        assert_eq!(shrunk.shape(), [1, 2, 2, 2]);
        // The cells 0, 1, 4 and 5, two channels each.
        assert_eq!(shrunk.data()[..2], [5.0, 6.0]);
    }

    #[test]
    fn what_is_small_enough_stays_as_it_is() {
        assert_eq!(shrink(&ramp(3, 5), 5).data(), ramp(3, 5).data());
    }

    #[test]
    fn every_ratio_fits_and_a_mean_stays_a_mean() {
        for (height, width) in [(98, 168), (42, 98), (1, 98), (65, 64), (130, 97)] {
            let even = Tensor::from_vec([1, height, width, 2], vec![0.5; height * width * 2]);
            let shrunk = shrink(&even, 32);
            let [_, rows, columns, _] = shrunk.rank4();
            assert_eq!(rows.max(columns), 32, "{height}x{width}");
            assert!(rows.min(columns) >= 1, "{height}x{width}");
            let off = |value: &f32| (value - 0.5).abs();
            assert!(shrunk.data().iter().all(|value| off(value) < 1e-5));
        }
    }

    #[test]
    fn parts_cover_a_line() {
        for (parts, length) in [(1, 7), (3, 7), (7, 7), (32, 33), (32, 174)] {
            let covered: Vec<_> = (0..parts).flat_map(|i| part(i, parts, length)).collect();
            assert!((0..length).all(|cell| covered.contains(&cell)));
            assert!((0..parts).all(|i| !part(i, parts, length).is_empty()));
        }
    }
}
