//! Convolution of pictures whose channels lie side by side (NHWC), in two ways.
//!
//! [`direct`] is an implicit matrix product: the pixels under a few hundred output pixels are copied,
//! padded and normalised, into a patch that stays near the core, and the kernels read their rows right
//! there. [`winograd`] computes 3 × 3 convolutions of some size with a quarter of the multiplications.
//! Which one runs is decided by the layer and the size of the picture alone.

mod direct;
mod lanes;
mod patch;
mod transform;
mod winograd;

pub(super) use patch::normalise;

use super::{CpuDevice, kernels::Kernels};
use crate::{Conv2d, ConvGeometry, Convolution, Target, Tensor};

/// Channels are padded with zeros to this many, the width of a vector of the transformations.
const LANES: usize = 8;

/// The weight in panels of the kernels' column width: `[panel][ky][kx][padded_in][columns]`.
pub(super) struct PackedConv {
    panels: Vec<f32>,
    /// One value for each column of all panels.
    bias: Vec<f32>,
    /// Columns of a panel.
    columns: usize,
    /// Input channels with their padding.
    padded_in: usize,
    /// Values of a panel.
    panel_size: usize,
    /// The transformed weight, where it is small enough to be kept.
    transformed: Option<Vec<f32>>,
}

impl PackedConv {
    fn new(kernels: &Kernels, weight: &Tensor, bias: Option<&Tensor>) -> Self {
        let [outputs, inputs, kernel, _] = weight.rank4();
        let (columns, taps) = (kernels.columns, kernel * kernel);
        let padded_in = inputs.next_multiple_of(LANES);
        let panel_size = taps * padded_in * columns;
        let mut panels = vec![0.0; outputs.div_ceil(columns) * panel_size];
        for (output, source) in weight.data().chunks_exact(inputs * taps).enumerate() {
            let panel = &mut panels[output / columns * panel_size..][..panel_size];
            for (i, value) in source.iter().enumerate() {
                let (input, tap) = (i / taps, i % taps);
                panel[(tap * padded_in + input) * columns + output % columns] = *value;
            }
        }
        let mut padded_bias = vec![0.0; outputs.next_multiple_of(columns)];
        if let Some(bias) = bias {
            padded_bias[..outputs].copy_from_slice(bias.data());
        }
        Self {
            panels,
            bias: padded_bias,
            columns,
            padded_in,
            panel_size,
            transformed: None,
        }
    }
}

pub(super) fn pack(
    device: &CpuDevice,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: ConvGeometry,
) -> Conv2d {
    let mut packed = PackedConv::new(device.kernels, weight, bias);
    if winograd::suits(weight.rank4(), geometry)
        && winograd::is_kept(packed.padded_in, packed.bias.len())
    {
        packed.transformed = Some(winograd::transformed(device, &packed).to_vec());
    }
    Conv2d::new(weight.rank4(), geometry, packed)
}

/// See [`crate::Device::conv2d_bytes`].
pub(super) fn bytes(device: &CpuDevice, shape: [usize; 4], geometry: ConvGeometry) -> usize {
    let [outputs, inputs, kernel, _] = shape;
    let padded_in = inputs.next_multiple_of(LANES);
    let padded_out = outputs.next_multiple_of(device.kernels.columns);
    let kept = winograd::suits(shape, geometry) && winograd::is_kept(padded_in, padded_out);
    let transformed = match kept {
        true => winograd::transformed_size(padded_in, padded_out),
        false => 0,
    };
    (padded_out * (kernel * kernel * padded_in + 1) + transformed) * size_of::<f32>()
}

pub(super) fn run(device: &CpuDevice, convolution: &Convolution<'_>, target: Target<'_>) {
    convolution.check(&target);
    let (layer, (height, width)) = (convolution.layer, convolution.output_size());
    let kernel = layer.kernel();
    let shape = [layer.out_channels(), layer.in_channels(), kernel, kernel];
    if winograd::suits(shape, layer.geometry()) && winograd::repays(height, width) {
        winograd::run(device, convolution, target);
    } else {
        direct::run(device, convolution, target);
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
