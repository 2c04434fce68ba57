//! Convolution as a matrix product over a bounded window: the pixels under the kernel are gathered for
//! one tile of the output at a time (a few hundred output pixels), never for the whole picture.

use super::{
    CpuDevice,
    linear::PackedMatrix,
    matmul::{self, Matrix},
    simd,
    tile::{Grid, Tile, tiles},
};
use crate::{Conv2d, ConvGeometry, Device, Tensor};

/// Values of a thread's gather buffer: 2 MiB, so that it stays near the core.
const GATHER_VALUES: usize = 512 * 1024;

/// Output pixels of a tile at most.
const TILE_PIXELS: usize = 256;

/// Reorders `(out, in, ky, kx)` to `(out, ky, kx, in)`, the order in which NHWC pixels are gathered.
pub(super) fn pack(weight: &Tensor, bias: Option<&Tensor>, geometry: ConvGeometry) -> Conv2d {
    let shape = weight.rank4();
    let [outputs, inputs, kernel, _] = shape;
    let taps = kernel * kernel;
    let mut reordered = Vec::with_capacity(weight.data().len());
    for output in 0..outputs {
        for tap in 0..taps {
            let source = &weight.data()[output * inputs * taps..];
            reordered.extend((0..inputs).map(|input| source[input * taps + tap]));
        }
    }
    let packed = PackedMatrix::new(&reordered, taps * inputs, bias);
    Conv2d::new(shape, geometry, packed)
}

pub(super) fn run(
    device: &CpuDevice,
    layer: &Conv2d,
    input: &Tensor,
    residual: Option<&Tensor>,
) -> Tensor {
    let packed: &PackedMatrix = layer.packed();
    let shape = layer.output_shape(input);
    let [_, height, width, channels] = shape;
    let depth = layer.kernel() * layer.kernel() * layer.in_channels();
    let grid = Grid {
        rows: height * width,
        columns: channels,
        tile_rows: (GATHER_VALUES / depth).clamp(32, TILE_PIXELS),
        tile_columns: channels,
    };
    let mut output = device.tensor(&shape);
    let tasks = tiles(output.data_mut(), grid);
    let scratch = || device.scratch(grid.tile_rows * depth);
    device.for_each(tasks, scratch, |scratch, mut tile| {
        gather(layer, input, &tile, width, scratch);
        let gathered = Matrix::rows(scratch, depth);
        matmul::into_tile(&mut tile, false, depth, gathered, packed.from(0, 0));
        for row in 0..tile.rows {
            let position = (tile.row + row) * channels;
            let sample = tile.sample;
            let values = tile.row_mut(row);
            if let Some(bias) = &packed.bias {
                simd::add(device.simd(), values, bias);
            }
            if let Some(residual) = residual {
                simd::add(
                    device.simd(),
                    values,
                    &residual.sample(sample)[position..][..channels],
                );
            }
        }
    });
    output
}

/// Fills `scratch` with the `(kernel, kernel, in)` window of each output pixel of the tile.
fn gather(layer: &Conv2d, input: &Tensor, tile: &Tile<'_>, width: usize, scratch: &mut [f32]) {
    let window = Window::new(layer, input, tile.sample);
    let row_values = layer.kernel() * layer.in_channels();
    let mut rows = scratch.chunks_exact_mut(row_values);
    for pixel in tile.row..tile.row + tile.rows {
        for ky in 0..layer.kernel() {
            let target = rows
                .next()
                .expect("the scratch holds the tile; this is a bug");
            window.copy_row(pixel / width, pixel % width, ky, target);
        }
    }
}

/// The input as a convolution sees it: padded, and doubled if it upsamples.
struct Window<'a> {
    pixels: &'a [f32],
    height: usize,
    width: usize,
    channels: usize,
    geometry: ConvGeometry,
    grow: usize,
}

impl<'a> Window<'a> {
    fn new(layer: &Conv2d, input: &'a Tensor, sample: usize) -> Self {
        let [_, height, width, channels] = input.rank4();
        let geometry = layer.geometry();
        Self {
            pixels: input.sample(sample),
            height,
            width,
            channels,
            geometry,
            grow: if geometry.upsample { 2 } else { 1 },
        }
    }

    /// The pixels under row `ky` of the kernel at output pixel `(y, x)`; zeros where they lie outside.
    fn copy_row(&self, y: usize, x: usize, ky: usize, target: &mut [f32]) {
        let ConvGeometry {
            stride, padding, ..
        } = self.geometry;
        // Wrapping: what lies above or left of the picture becomes huge, so outside, too.
        let row = (y * stride + ky).wrapping_sub(padding.top);
        if row >= self.height * self.grow {
            target.fill(0.0);
            return;
        }
        let line = &self.pixels[row / self.grow * self.width * self.channels..];
        let first = (x * stride).wrapping_sub(padding.left);
        let taps = target.len() / self.channels;
        let inside = first < self.width && first + taps <= self.width;
        if inside && self.grow == 1 {
            target.copy_from_slice(&line[first * self.channels..][..target.len()]);
            return;
        }
        for (tap, target) in target.chunks_exact_mut(self.channels).enumerate() {
            let column = first.wrapping_add(tap);
            if column < self.width * self.grow {
                let source = &line[column / self.grow * self.channels..];
                target.copy_from_slice(&source[..self.channels]);
            } else {
                target.fill(0.0);
            }
        }
    }
}
