//! Normalisations, row by row: a row is read from memory once and stays in the cache for its moments and
//! its result. And what else goes value by value.

use super::{CpuDevice, simd};
use crate::{Chunk, Device, Tensor};

/// Values that one task takes: a row block that fits the second-level cache.
const TASK_VALUES: usize = 64 * 1024;

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
    let blocks = output.data_mut().chunks_mut(size).enumerate();
    device.for_each(blocks, || (), |(), (index, block)| f(index * size, block));
    output
}

/// About [`TASK_VALUES`], in whole rows of `width`.
fn block_values(width: usize) -> usize {
    (TASK_VALUES / width).max(1) * width
}
