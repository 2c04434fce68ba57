//! Convolution of pictures whose channels lie side by side (NHWC), in three ways.
//!
//! [`direct`] is an implicit matrix product: the pixels under a few hundred output pixels are copied,
//! padded and normalised, into a patch that stays near the core, and the kernels read their rows right
//! there. [`winograd`] computes 3 × 3 convolutions of some size with a quarter of the multiplications.
//! Which one runs is decided by the layer and the size of the picture alone. [`tiled`] is what a device
//! with tiles makes of weights of bf16: an implicit product again, in bf16.

mod direct;
mod lanes;
mod patch;
mod tiled;
mod transform;
mod weight;
mod winograd;

pub(super) use patch::normalise;

use self::{tiled::TileConv, weight::PackedConv};
use super::{CpuDevice, WeightFormat, amx::TileUnit};
use crate::{Conv2d, ConvGeometry, Convolution, StoredMatrix, Target, Tensor};

/// Channels are padded with zeros to this many, the width of a vector of the transformations.
const LANES: usize = 8;

/// A layer as this device keeps it.
enum Layer {
    /// For the kernels of f32.
    Vectors(PackedConv),
    /// For tiles.
    Tiles(TileUnit, TileConv),
}

pub(super) fn pack(
    device: &CpuDevice,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: ConvGeometry,
) -> Conv2d {
    let shape = weight.rank4();
    let fits = device.weights == WeightFormat::Bf16 || StoredMatrix::of(weight).fits_bf16();
    let layer = match device.tiles {
        Some(unit) if fits => Layer::Tiles(unit, TileConv::new(device, weight, bias)),
        _ => Layer::Vectors(PackedConv::new(device, (weight, fits), bias, geometry)),
    };
    Conv2d::new(shape, geometry, layer)
}

/// See [`crate::Device::conv2d_bytes`].
pub(super) fn bytes(
    device: &CpuDevice,
    weight: &StoredMatrix<'_>,
    shape: [usize; 4],
    geometry: ConvGeometry,
) -> usize {
    let fits = device.weights == WeightFormat::Bf16 || weight.is_bf16();
    match device.tiles {
        Some(_) if fits => TileConv::bytes(shape),
        _ => PackedConv::bytes(device, (shape, fits), geometry),
    }
}

/// See [`crate::Device::conv2d_work_bytes`]: as [`winograd`] takes it, which takes most.
pub(super) fn work_bytes(device: &CpuDevice, channels: [usize; 2]) -> usize {
    let padded @ [inputs, outputs] = PackedConv::padded(device, channels);
    let shared = match winograd::is_kept(inputs, outputs) {
        true => 0,
        false => winograd::transformed_size(inputs, outputs),
    };
    let room = winograd::Room::new(device.kernels, padded);
    (shared + device.threads() * room.values()) * size_of::<f32>()
}

pub(super) fn run(device: &CpuDevice, convolution: &Convolution<'_>, target: Target<'_>) {
    convolution.check(&target);
    let (layer, (height, width)) = (convolution.layer, convolution.output_size());
    let kernel = layer.kernel();
    let shape = [layer.out_channels(), layer.in_channels(), kernel, kernel];
    match layer.packed() {
        Layer::Tiles(unit, weight) => tiled::run(device, *unit, (convolution, weight), target),
        Layer::Vectors(weight)
            if winograd::suits(shape, layer.geometry()) && winograd::repays(height, width) =>
        {
            winograd::run(device, (convolution, weight), target);
        }
        Layer::Vectors(weight) => direct::run(device, (convolution, weight), target),
    }
}

/// Some rows of one sample's output, for one task.
struct Band<'a> {
    sample: usize,
    first_row: usize,
    /// `(rows, width, channels)`
    output: &'a mut [f32],
}

/// Cuts the rows to be computed into bands of `height`, counted from the first.
fn bands<'a>(
    target: &'a mut Tensor,
    first_row: usize,
    convolution: &Convolution<'_>,
    height: usize,
) -> Vec<Band<'a>> {
    let [_, held, width, channels] = target.rank4();
    let row = width * channels;
    let rows = convolution.rows.clone();
    let samples = target
        .data_mut()
        .chunks_exact_mut((held * row).max(1))
        .enumerate();
    let mut bands = Vec::new();
    for (sample, values) in samples {
        let values = &mut values[(rows.start - first_row) * row..(rows.end - first_row) * row];
        for (index, output) in values.chunks_mut(height * row).enumerate() {
            bands.push(Band {
                sample,
                first_row: rows.start + index * height,
                output,
            });
        }
    }
    bands
}
