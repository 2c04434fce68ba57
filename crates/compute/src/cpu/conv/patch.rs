//! The input as a convolution sees it: padded, doubled if it upsamples, normalised if it is told to.

use super::super::simd::{self, Simd};
use crate::{Activation, Convolution, Normalisation, Strip};

/// One sample of a convolution's input.
pub(super) struct Source<'a> {
    simd: Simd,
    input: Strip<'a>,
    sample: usize,
    norm: Option<&'a Normalisation>,
    grow: usize,
    padding: [usize; 2],
    /// Channels of a pixel of a patch: those of the input, then zeros.
    padded: usize,
}

/// A pixel of the padded (and doubled) picture.
#[derive(Clone, Copy)]
pub(super) struct Position {
    pub row: usize,
    pub column: usize,
}

impl<'a> Source<'a> {
    pub fn new(simd: Simd, convolution: &Convolution<'a>, sample: usize, padded: usize) -> Self {
        let geometry = convolution.layer.geometry();
        Self {
            simd,
            input: convolution.input,
            sample,
            norm: convolution.norm,
            grow: if geometry.upsample { 2 } else { 1 },
            padding: [geometry.padding.top, geometry.padding.left],
            padded,
        }
    }

    /// Fills `target`, pixels of `padded` channels, with those from `start` on to the right.
    pub fn copy_row(&self, start: Position, target: &mut [f32]) {
        let width = self.input.rows.dim(2) * self.grow;
        let [top, left] = self.padding;
        let count = target.len() / self.padded;
        // Wrapping: what lies above the picture becomes huge, so outside, too.
        let row = start.row.wrapping_sub(top);
        let from = left.saturating_sub(start.column).min(count);
        let to = (width + left).saturating_sub(start.column).min(count);
        let (from, to) = match row < self.input.height * self.grow {
            true => (from, to.max(from)),
            false => (count, count),
        };
        target[..from * self.padded].fill(0.0);
        target[to * self.padded..].fill(0.0);
        if from < to {
            let line = self.input.row(self.sample, row / self.grow);
            let target = &mut target[from * self.padded..to * self.padded];
            self.copy_pixels(line, start.column + from - left, target);
            self.normalise(target);
        }
    }

    fn copy_pixels(&self, line: &[f32], first: usize, target: &mut [f32]) {
        let channels = self.input.rows.width();
        if self.grow == 1 && channels == self.padded {
            target.copy_from_slice(&line[first * channels..][..target.len()]);
            return;
        }
        for (i, pixel) in target.chunks_exact_mut(self.padded).enumerate() {
            let source = (first + i) / self.grow * channels;
            let (values, padding) = pixel.split_at_mut(channels);
            values.copy_from_slice(&line[source..][..channels]);
            padding.fill(0.0);
        }
    }

    fn normalise(&self, pixels: &mut [f32]) {
        let Some(norm) = self.norm else { return };
        let channels = self.input.rows.width();
        if channels == self.padded {
            normalise(self.simd, norm, self.sample, pixels);
            return;
        }
        for pixel in pixels.chunks_exact_mut(self.padded) {
            normalise(self.simd, norm, self.sample, &mut pixel[..channels]);
        }
    }
}

/// `activation(x * factor + offset)` over pixels of one sample.
pub fn normalise(simd: Simd, norm: &Normalisation, sample: usize, pixels: &mut [f32]) {
    let affine = norm.affine(sample);
    let silu = norm.activation == Some(Activation::Silu);
    simd::channel_affine(simd, pixels, &affine.factors, &affine.offsets, silu);
    if let (false, Some(activation)) = (silu, norm.activation) {
        simd::activate(simd, pixels, activation);
    }
}
