//! Convolutions by tiles, as an implicit matrix product in bf16 with sums in f32.
//!
//! The pixels under some hundred output pixels are padded, normalised and rounded into a patch that stays
//! in the second-level cache. Sixteen neighbouring output pixels are the rows of a tile: for each tap of
//! the kernel their inputs lie in the patch at equal distances, so tiles are loaded right from there, and
//! nothing is gathered for a tap.

use super::{
    super::{
        CpuDevice,
        amx::{
            TileUnit,
            block::{self, Ahead, BLOCK_COLUMNS, BLOCK_ROWS, Rows, Sums, shares_of},
            on_tiles, rounding,
            tiles::{Operand, TILE_ROWS, Tiles},
            weight::{TilePanels, splits},
        },
        simd::vectorised,
        view::{view, view_mut},
    },
    Band, bands,
    patch::{Position, Source},
};
use crate::{Convolution, StoredMatrix, Target, Tensor, workspace::Buffer};

/// Channels of one multiplication.
const STEP: usize = <u16 as Operand>::STEP;

/// Steps after which the next block of rows has its turn: so many of a panel of the weight, 32 KiB, stay
/// in the first-level cache.
const CHUNK_STEPS: usize = 16;

/// Output pixels of a patch, about: with 512 channels their inputs take 0.7 MiB of a second-level cache of
/// 2 MiB, and each part of the weight is used this many times while it is in the first.
const PATCH_PIXELS: usize = 512;

/// Width of a patch at most, in output pixels: so it is high, too, and few pixels belong to two patches.
const PATCH_WIDTH: usize = 64;

/// So many tasks that no thread waits long for the last one.
const TASKS_PER_THREAD: usize = 4;

/// Values between two pixels of a patch beyond their channels, a cache line: without them the rows of a
/// tile would share a few sets of the first-level cache.
const SKEW: usize = 32;

/// Added to each row of the sums, a cache line, for the same reason.
const SUMS_STRIDE: usize = BLOCK_COLUMNS + 16;

/// A layer as tiles read it.
pub(super) struct TileConv {
    /// The depth is `(ky, kx, padded_in)`.
    panels: TilePanels<u16>,
    /// One value for each column of all panels.
    bias: Vec<f32>,
    /// Input channels, filled up to whole steps.
    padded_in: usize,
}

impl TileConv {
    /// Rounds `weight`, `(out, in, kernel, kernel)`, to bf16.
    pub fn new(device: &CpuDevice, weight: &Tensor, bias: Option<&Tensor>) -> Self {
        let [outputs, inputs, kernel, _] = weight.rank4();
        let taps = kernel * kernel;
        let padded_in = inputs.next_multiple_of(STEP);
        let mut by_taps = Tensor::zeros([outputs, taps * padded_in]);
        let rows = by_taps.data_mut().chunks_exact_mut(taps * padded_in);
        for (row, source) in rows.zip(weight.data().chunks_exact(inputs * taps)) {
            for (i, value) in source.iter().enumerate() {
                row[i % taps * padded_in + i / taps] = *value;
            }
        }
        let mut padded_bias = vec![0.0; outputs.next_multiple_of(BLOCK_COLUMNS)];
        if let Some(bias) = bias {
            padded_bias[..outputs].copy_from_slice(bias.data());
        }
        Self {
            panels: TilePanels::bf16(device, &StoredMatrix::of(&by_taps)),
            bias: padded_bias,
            padded_in,
        }
    }

    /// Bytes that [`Self::new`] would take of a weight of `shape`.
    pub fn bytes([outputs, inputs, kernel, _]: [usize; 4]) -> usize {
        let depth = kernel * kernel * inputs.next_multiple_of(STEP);
        let bias = outputs.next_multiple_of(BLOCK_COLUMNS) * size_of::<f32>();
        TilePanels::bytes(depth, outputs) + bias
    }
}

pub(super) fn run(
    device: &CpuDevice,
    unit: TileUnit,
    (convolution, weight): (&Convolution<'_>, &TileConv),
    target: Target<'_>,
) {
    on_tiles!(unit, T => run_on::<T>(device, (convolution, weight), target));
}

fn run_on<T: Tiles>(
    device: &CpuDevice,
    (convolution, weight): (&Convolution<'_>, &TileConv),
    target: Target<'_>,
) {
    let sizes = Sizes::new(device, convolution, weight);
    let add = target.add;
    let tasks = bands(target.tensor, target.first_row, convolution, sizes.rows);
    let scratch = || Scratch::<T>::new(device, sizes);
    device.for_each(tasks, scratch, |scratch, mut band| {
        let pass = Pass {
            device,
            convolution,
            weight,
            sizes,
            add,
        };
        pass.band(scratch, &mut band);
    });
}

/// How an output is cut into patches; no bit depends on it.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Width of the output.
    width: usize,
    channels: usize,
    /// Output rows of a patch.
    rows: usize,
    /// Output pixels of a row of a patch.
    columns: usize,
    /// The same in tiles.
    tiles_wide: usize,
    /// Pixels of a row of the patch, and rows.
    patch: [usize; 2],
    /// Values from pixel to pixel of the patch.
    pixel: usize,
}

impl Sizes {
    fn new(device: &CpuDevice, convolution: &Convolution<'_>, weight: &TileConv) -> Self {
        let layer = convolution.layer;
        let (_, width) = convolution.output_size();
        let (stride, kernel) = (layer.geometry().stride, layer.kernel());
        let columns = width.div_ceil(width.div_ceil(PATCH_WIDTH).max(1)).max(1);
        let tiles_wide = columns.div_ceil(TILE_ROWS);
        let tasks = match device.threads() {
            1 => 1,
            threads => TASKS_PER_THREAD * threads,
        };
        let rows =
            (PATCH_PIXELS / (tiles_wide * TILE_ROWS)).min(convolution.rows.len().div_ceil(tasks));
        let rows = rows.max(1);
        let under = |outputs: usize| (outputs - 1) * stride + kernel;
        Self {
            width,
            channels: layer.out_channels(),
            rows,
            columns,
            tiles_wide,
            patch: [under(tiles_wide * TILE_ROWS), under(rows)],
            pixel: weight.padded_in + SKEW,
        }
    }

    /// Values of a row of the patch.
    fn line(&self) -> usize {
        self.patch[0] * self.pixel
    }
}

/// A thread's tiles and buffers, kept from band to band.
struct Scratch<T> {
    tiles: T,
    /// One row of the patch before it is rounded, without [`SKEW`].
    line: Buffer,
    /// `(rows, pixels, padded_in + SKEW)` in bf16.
    patch: Buffer,
    /// `(tiles of output pixels, 16, SUMS_STRIDE)`
    sums: Buffer,
}

impl<T: Tiles> Scratch<T> {
    fn new(device: &CpuDevice, sizes: Sizes) -> Self {
        let [pixels, rows] = sizes.patch;
        let tiles = (sizes.rows * sizes.tiles_wide).next_multiple_of(BLOCK_ROWS / TILE_ROWS);
        let patch_bytes = rows * sizes.line() * size_of::<u16>();
        Self {
            tiles: T::configure(),
            line: device.scratch(pixels * (sizes.pixel - SKEW)),
            patch: device.scratch(patch_bytes.div_ceil(size_of::<f32>())),
            sums: device.scratch(tiles * TILE_ROWS * SUMS_STRIDE),
        }
    }
}

/// What all tasks of one run share.
struct Pass<'a> {
    device: &'a CpuDevice,
    convolution: &'a Convolution<'a>,
    weight: &'a TileConv,
    sizes: Sizes,
    add: bool,
}

impl Pass<'_> {
    fn band<T: Tiles>(&self, scratch: &mut Scratch<T>, band: &mut Band<'_>) {
        let Sizes { width, columns, .. } = self.sizes;
        let padded = self.weight.padded_in;
        let source = Source::new(self.device.simd(), self.convolution, band.sample, padded);
        let steps = self.steps();
        for first in (0..width).step_by(columns) {
            let count = columns.min(width - first);
            let start = Position {
                row: band.first_row,
                column: first,
            };
            let rows = band.output.len() / (width * self.sizes.channels);
            self.fill_patch(scratch, &source, start, rows);
            for panel in 0..self.weight.panels.count() {
                self.multiply(scratch, &steps, panel, rows);
                self.finish(scratch, band, panel, first..first + count);
            }
        }
    }

    /// Where in the patch each step of the depth begins, behind an output pixel's first input.
    fn steps(&self) -> Vec<usize> {
        let kernel = self.convolution.layer.kernel();
        let taps = (0..kernel * kernel).map(|tap| (tap / kernel, tap % kernel));
        let taps = taps.map(|(ky, kx)| ky * self.sizes.line() + kx * self.sizes.pixel);
        let channels = (0..self.weight.padded_in).step_by(STEP);
        taps.flat_map(|tap| channels.clone().map(move |channel| tap + channel))
            .collect()
    }

    /// What lies under `rows` rows of output pixels from `start` on.
    fn fill_patch<T>(
        &self,
        scratch: &mut Scratch<T>,
        source: &Source<'_>,
        start: Position,
        rows: usize,
    ) {
        let layer = self.convolution.layer;
        let (stride, padded) = (layer.geometry().stride, self.weight.padded_in);
        let simd = self.device.simd();
        let patch = view_mut::<u16>(&mut scratch.patch);
        let lines = patch.chunks_exact_mut(self.sizes.line());
        let needed = (rows - 1) * stride + layer.kernel();
        for (y, target) in lines.take(needed).enumerate() {
            let start = Position {
                row: start.row * stride + y,
                column: start.column * stride,
            };
            source.copy_row(start, &mut scratch.line);
            let pixels = target.chunks_exact_mut(self.sizes.pixel);
            for (pixel, values) in pixels.zip(scratch.line.chunks_exact(padded)) {
                rounding::to_bf16(simd, &mut pixel[..padded], values);
            }
        }
    }

    /// The sums of one panel of output channels for all tiles of the patch.
    fn multiply<T: Tiles>(
        &self,
        scratch: &mut Scratch<T>,
        steps: &[usize],
        panel: usize,
        rows: usize,
    ) {
        let stride = self.convolution.layer.geometry().stride;
        let Sizes {
            tiles_wide, pixel, ..
        } = self.sizes;
        let count = rows * tiles_wide;
        let start_of = |tile: usize| {
            let (row, column) = (tile / tiles_wide, tile % tiles_wide * TILE_ROWS);
            row * stride * self.sizes.line() + column * stride * pixel
        };
        let (patch, panels) = (view::<u16>(&scratch.patch), &self.weight.panels);
        for split in splits(panels.depth) {
            let b = panels.panels_from(&split, panel);
            let steps = &steps[split.start / STEP..split.end / STEP];
            let chunk_size = CHUNK_STEPS * STEP * BLOCK_COLUMNS;
            for (chunk, steps) in steps.chunks(CHUNK_STEPS).enumerate() {
                let (b, next) =
                    b[chunk * chunk_size..].split_at(steps.len() * STEP * BLOCK_COLUMNS);
                let next = &next[..next.len().min(chunk_size)];
                let shares = shares_of(next, count.div_ceil(2));
                for (first, ahead) in (0..count).step_by(2).zip(shares) {
                    let a = Rows {
                        values: patch,
                        tiles: [first, (first + 1).min(count - 1)].map(start_of),
                        stride: stride * pixel,
                        steps,
                    };
                    let sums = Sums {
                        values: &mut scratch.sums[first * TILE_ROWS * SUMS_STRIDE..],
                        stride: SUMS_STRIDE,
                        accumulate: split.start + chunk > 0,
                    };
                    block::product_of_rows(&mut scratch.tiles, &a, b, Ahead::of(ahead), sums);
                }
            }
        }
    }

    /// Bias and, if asked, what was there before; `columns` are those of the output.
    fn finish<T>(
        &self,
        scratch: &Scratch<T>,
        band: &mut Band<'_>,
        panel: usize,
        columns: std::ops::Range<usize>,
    ) {
        let Sizes {
            width,
            channels,
            tiles_wide,
            ..
        } = self.sizes;
        let channel = panel * BLOCK_COLUMNS;
        let bias = &self.weight.bias[channel..channels.min(channel + BLOCK_COLUMNS)];
        let rows = band.output.chunks_exact_mut(width * channels);
        let sums = scratch
            .sums
            .chunks_exact(tiles_wide * TILE_ROWS * SUMS_STRIDE);
        for (output, sums) in rows.zip(sums) {
            let output = &mut output[columns.start * channels + channel..columns.end * channels];
            finish_row(self.device.simd(), (output, channels), sums, bias, self.add);
        }
    }
}

vectorised! {
    /// `output = sums + bias`, or `output += sums + bias`, for pixels that lie so many values apart.
    pub fn finish_row(
        output: (&mut [f32], usize),
        sums: &[f32],
        bias: &[f32],
        add: bool,
    ) {
        let (output, channels) = output;
        for (output, sums) in output.chunks_mut(channels).zip(sums.chunks_exact(SUMS_STRIDE)) {
            for ((output, sum), bias) in output.iter_mut().zip(sums).zip(bias) {
                let before = if add { *output } else { 0.0 };
                *output = before + (sum + bias);
            }
        }
    }
}
