//! Any convolution as an implicit matrix product: the rows of A are the pixels under the kernel, and
//! lie one after the other in a patch, so that nothing is gathered pixel by pixel.

use super::{
    super::{
        CpuDevice,
        kernels::{Block, Kernels},
    },
    Band, PackedConv, bands,
    patch::{Position, Source},
};
use crate::{Convolution, Target, workspace::Buffer};

/// Output pixels of a patch, in blocks of the kernels' rows: the patch stays in the second-level cache,
/// and each panel of the weight is used this many times while it is in the first.
const BLOCKS: usize = 16;

/// Output pixels of a task at least.
const TASK_PIXELS: usize = 256;

pub(super) fn run(
    device: &CpuDevice,
    (convolution, packed): (&Convolution<'_>, &PackedConv),
    target: Target<'_>,
) {
    let (_, width) = convolution.output_size();
    let channels = convolution.layer.out_channels();
    let height = TASK_PIXELS.div_ceil(width.max(1));
    let tasks = bands(target.tensor, target.first_row, convolution, height);
    let work = |buffers: &mut Buffers, band: Band<'_>| {
        let source = Source::new(device.simd(), convolution, band.sample, buffers.padded);
        for (index, output) in band.output.chunks_exact_mut(width * channels).enumerate() {
            let mut start = Position {
                row: band.first_row + index,
                column: 0,
            };
            for output in output.chunks_mut(buffers.pixels * channels) {
                let pixels = output.len() / channels;
                buffers.gather(convolution, &source, start, pixels);
                buffers.multiply(device.kernels, (convolution, packed), pixels);
                buffers.finish((convolution, packed), output, target.add);
                start.column += pixels;
            }
        }
    };
    device.for_each(tasks, || Buffers::new(device, convolution, packed), work);
}

/// What a thread works in.
pub(super) struct Buffers {
    /// `(kernel, line / padded, padded)`
    patch: Buffer,
    /// `(pixels, panels * columns)`
    sums: Buffer,
    /// A panel of the weight, if it is not stored as f32.
    panel: Buffer,
    /// Output pixels that fit.
    pixels: usize,
    /// Values of a row of the patch.
    line: usize,
    padded: usize,
}

impl Buffers {
    pub fn new(device: &CpuDevice, convolution: &Convolution<'_>, packed: &PackedConv) -> Self {
        let layer = convolution.layer;
        let pixels = device.kernels.rows * BLOCKS;
        let line = ((pixels - 1) * layer.geometry().stride + layer.kernel()) * packed.padded_in;
        Self {
            patch: device.scratch(layer.kernel() * line),
            sums: device.scratch(pixels * packed.bias.len()),
            panel: device.scratch(packed.room()),
            pixels,
            line,
            padded: packed.padded_in,
        }
    }

    /// What lies under `pixels` output pixels from `start` on to the right.
    pub fn gather(
        &mut self,
        convolution: &Convolution<'_>,
        source: &Source<'_>,
        start: Position,
        pixels: usize,
    ) {
        let layer = convolution.layer;
        let stride = layer.geometry().stride;
        let needed = ((pixels - 1) * stride + layer.kernel()) * self.padded;
        for (ky, target) in self.patch.chunks_exact_mut(self.line).enumerate() {
            let start = Position {
                row: start.row * stride + ky,
                column: start.column * stride,
            };
            source.copy_row(start, &mut target[..needed]);
        }
    }

    /// The sums of at least `pixels` output pixels; those beyond are nobody's.
    pub fn multiply(
        &mut self,
        kernels: &Kernels,
        (convolution, packed): (&Convolution<'_>, &PackedConv),
        pixels: usize,
    ) {
        let layer = convolution.layer;
        let a_stride = layer.geometry().stride * self.padded;
        let stride = packed.bias.len();
        let depth = layer.kernel() * self.padded * packed.columns;
        for index in 0..packed.count() {
            let panel = packed.panel(kernels, index, &mut self.panel);
            for pixel in (0..pixels).step_by(kernels.rows) {
                for (ky, b) in panel.chunks_exact(depth).enumerate() {
                    let block = Block {
                        values: &mut self.sums[pixel * stride + index * packed.columns..],
                        stride,
                        accumulate: ky > 0,
                    };
                    let a = &self.patch[ky * self.line + pixel * a_stride..];
                    kernels.product_rows_into(a, a_stride, b, block);
                }
            }
        }
    }

    /// Bias and, if asked, what was there before.
    pub fn finish(
        &self,
        (convolution, packed): (&Convolution<'_>, &PackedConv),
        output: &mut [f32],
        add: bool,
    ) {
        let pixels = output.chunks_exact_mut(convolution.layer.out_channels());
        for (pixel, sums) in pixels.zip(self.sums.chunks_exact(packed.bias.len())) {
            for ((out, sum), bias) in pixel.iter_mut().zip(sums).zip(&packed.bias) {
                let before = if add { *out } else { 0.0 };
                *out = before + (sum + bias);
            }
        }
    }
}
