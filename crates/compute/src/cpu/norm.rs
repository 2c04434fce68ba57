//! Normalisations, row by row: a row is read from memory once and stays in the cache for its moments and
//! its result. And what else goes value by value.

use super::{CpuDevice, simd};
use crate::{Activation, Chunk, Device, GroupNorm, Tensor};

/// Values that one task takes: a row block that fits the second-level cache.
const TASK_VALUES: usize = 64 * 1024;

/// Pixels over which one partial sum of a group norm runs; the partial sums are added in order.
const SUM_PIXELS: usize = 1024;

pub(super) fn adaln(
    device: &CpuDevice,
    input: &Tensor,
    scale: Chunk<'_>,
    shift: Chunk<'_>,
    eps: f32,
) -> Tensor {
    let [_, rows, width] = input.rank3();
    by_row(device, input, |row, x, output| {
        let (scale, shift) = (scale.row(row / rows, width), shift.row(row / rows, width));
        simd::modulated_norm(device.simd(), output, x, eps, scale, shift);
    })
}

pub(super) fn layer_norm(
    device: &CpuDevice,
    input: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f32,
) -> Tensor {
    by_row(device, input, |_, x, output| {
        simd::layer_norm(device.simd(), output, x, eps, weight.data(), bias.data());
    })
}

pub(super) fn rms_norm(device: &CpuDevice, input: &Tensor, weight: &Tensor, eps: f32) -> Tensor {
    by_row(device, input, |_, x, output| {
        simd::rms_norm(device.simd(), output, x, eps, weight.data());
    })
}

pub(super) fn group_norm(
    device: &CpuDevice,
    input: &Tensor,
    norm: &GroupNorm,
    activation: Option<Activation>,
) -> Tensor {
    let [batch, height, width, channels] = input.rank4();
    assert_eq!(channels % norm.groups, 0, "this is a bug");
    let sums = partial_sums(device, input);
    let per_sample = sums.len() / batch;
    // One row of factors and one of offsets per sample: the norm as `x * a + b` for each channel.
    let affine: Vec<(Vec<f32>, Vec<f32>)> = sums
        .chunks_exact(per_sample)
        .map(|partial| channel_affine(partial, norm, height * width))
        .collect();
    let mut output = device.tensor(input.shape());
    output.data_mut().copy_from_slice(input.data());
    let sample_size = height * width * channels;
    let block = block_values(channels);
    let tasks: Vec<(usize, &mut [f32])> = output
        .data_mut()
        .chunks_exact_mut(sample_size)
        .enumerate()
        .flat_map(|(sample, pixels)| pixels.chunks_mut(block).map(move |block| (sample, block)))
        .collect();
    let silu = activation == Some(Activation::Silu);
    device.for_each(
        tasks,
        || (),
        |(), (sample, pixels)| {
            let (a, b) = &affine[sample];
            simd::channel_affine(device.simd(), pixels, a, b, silu);
            if let (false, Some(activation)) = (silu, activation) {
                simd::activate(device.simd(), pixels, activation);
            }
        },
    );
    output
}

/// Sums and sums of squares by channel over blocks of [`SUM_PIXELS`] pixels, in order, samples first.
fn partial_sums(device: &CpuDevice, input: &Tensor) -> Vec<(Vec<f64>, Vec<f64>)> {
    let channels = input.width();
    let blocks = (0..input.dim(0)).flat_map(|sample| {
        let pixels = input.sample(sample);
        pixels.chunks(SUM_PIXELS * channels)
    });
    let mut sums: Vec<_> = blocks
        .map(|block| (block, (vec![0.0; channels], vec![0.0; channels])))
        .collect();
    device.for_each(
        sums.iter_mut().collect(),
        || (),
        |(), (block, (sums, squares))| simd::channel_sums(device.simd(), block, sums, squares),
    );
    sums.into_iter().map(|(_, sums)| sums).collect()
}

/// The group norm of one sample as a factor and an offset for each channel.
fn channel_affine(
    partial: &[(Vec<f64>, Vec<f64>)],
    norm: &GroupNorm,
    pixels: usize,
) -> (Vec<f32>, Vec<f32>) {
    let channels = norm.weight.width();
    let per_group = channels / norm.groups;
    let count = (pixels * per_group) as f64;
    let (mut a, mut b) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
    for group in 0..norm.groups {
        let members = group * per_group..(group + 1) * per_group;
        let (mut sum, mut squares) = (0.0, 0.0);
        for (block_sums, block_squares) in partial {
            sum += block_sums[members.clone()].iter().sum::<f64>();
            squares += block_squares[members.clone()].iter().sum::<f64>();
        }
        let mean = sum / count;
        let variance = (squares / count - mean * mean).max(0.0);
        let factor = 1.0 / (variance + f64::from(norm.eps)).sqrt();
        for channel in members {
            let weight = f64::from(norm.weight.data()[channel]) * factor;
            a.push(weight as f32);
            b.push((f64::from(norm.bias.data()[channel]) - mean * weight) as f32);
        }
    }
    (a, b)
}

pub(super) fn silu(device: &CpuDevice, input: &Tensor) -> Tensor {
    by_block(device, input, TASK_VALUES, |start, output| {
        let x = &input.data()[start..][..output.len()];
        simd::silu(device.simd(), output, x);
    })
}

pub(super) fn sum(device: &CpuDevice, a: &Tensor, b: &Tensor) -> Tensor {
    by_block(device, a, TASK_VALUES, |start, output| {
        let part = start..start + output.len();
        let (a, b) = (&a.data()[part.clone()], &b.data()[part]);
        simd::sum(device.simd(), output, a, b);
    })
}

/// `f(row index, input row, output row)` for every row.
fn by_row(
    device: &CpuDevice,
    input: &Tensor,
    f: impl Fn(usize, &[f32], &mut [f32]) + Sync + Send,
) -> Tensor {
    let width = input.width();
    by_block(device, input, block_values(width), |start, output| {
        let input = &input.data()[start..][..output.len()];
        let rows = input.chunks_exact(width);
        for (row, (x, output)) in rows.zip(output.chunks_exact_mut(width)).enumerate() {
            f(start / width + row, x, output);
        }
    })
}

/// A tensor like `input`, filled in blocks of `size` values by `f(first value, block)`.
fn by_block(
    device: &CpuDevice,
    input: &Tensor,
    size: usize,
    f: impl Fn(usize, &mut [f32]) + Sync + Send,
) -> Tensor {
    let mut output = device.tensor(input.shape());
    let blocks = output.data_mut().chunks_mut(size).enumerate().collect();
    device.for_each(blocks, || (), |(), (index, block)| f(index * size, block));
    output
}

/// About [`TASK_VALUES`], in whole rows of `width`.
fn block_values(width: usize) -> usize {
    (TASK_VALUES / width).max(1) * width
}
