//! From the bytes of a panel's chunk to f32, a vector of columns at a time, with the operations of
//! [`Encoding`]'s decoding in their order.

use super::layout::{Groups, block_bytes};
use crate::{
    Encoding,
    cpu::{
        kernels::{Group, Kernels, Number},
        simd::{Simd, vectorised},
    },
    encoding::Shape,
};

/// Columns of the widest panels.
const MAX_COLUMNS: usize = 32;

/// A chunk of a panel as [`layout`](super::layout) has it.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    pub encoding: Encoding,
    pub bytes: &'a [u8],
    /// What every value is multiplied by.
    pub scale: f32,
    /// Whether values are rounded to bf16 then.
    pub rounded: bool,
}

/// Makes a chunk f32: `[depth][kernels.columns]`.
pub fn widen(kernels: &Kernels, values: Values<'_>, target: &mut [f32]) {
    let Values {
        encoding,
        bytes,
        scale,
        rounded,
    } = values;
    let simd = Simd::of(kernels);
    let number = match encoding {
        Encoding::F16 => Some(Number::Half),
        Encoding::F8E4m3 => Some(Number::E4m3),
        Encoding::F8E5m2 => Some(Number::E5m2),
        _ => None,
    };
    if let Some(number) = number {
        kernels.widen_numbers(number, bytes, scale, target);
    } else {
        match encoding {
            Encoding::F32 | Encoding::Bf16 => encoding.decode(bytes, 0, target),
            _ => blocks(kernels, encoding, bytes, target),
        }
        if scale != 1.0 {
            multiply(simd, target, scale);
        }
    }
    if rounded {
        round_to_bf16(simd, target);
    }
}

/// The scales of a panel's columns.
type Row = [f32; MAX_COLUMNS];

fn blocks(kernels: &Kernels, encoding: Encoding, bytes: &[u8], target: &mut [f32]) {
    let (width, shape) = (kernels.columns, Shape::of(encoding));
    let groups = Groups::of(encoding);
    let count = encoding.block_values() / shape.group;
    let blocks = bytes.chunks_exact(block_bytes(encoding) * width);
    let targets = target.chunks_exact_mut(encoding.block_values() * width);
    let [mut scales, mut mins, mut scale, mut min]: [Row; 4] = [[0.0; MAX_COLUMNS]; 4];
    for (bytes, target) in blocks.zip(targets) {
        let (halves, bytes) = bytes.split_at(2 * width);
        kernels.widen_numbers(Number::Half, halves, 1.0, &mut scales[..width]);
        let (halves, bytes) = bytes.split_at(if shape.has_min { 2 * width } else { 0 });
        kernels.widen_numbers(Number::Half, halves, 1.0, &mut mins[..halves.len() / 2]);
        let (of_groups, quants) = bytes.split_at(count * groups.bytes() * width);
        let quants = quants.chunks_exact(shape.group * shape.bits / 8 * width);
        let parts = quants.zip(target.chunks_exact_mut(shape.group * width));
        for (group, (bytes, target)) in parts.enumerate() {
            let row = |index: usize| &of_groups[index * width..][..width];
            match groups {
                Groups::None => (scale, min) = (scales, mins),
                Groups::Scales => times(&mut scale, &scales, row(group), |byte| byte.cast_signed()),
                Groups::ScalesAndMins => {
                    times(&mut scale, &scales, row(group), |byte| byte.cast_signed());
                    times(&mut min, &mins, row(count + group), |byte| {
                        byte.cast_signed()
                    });
                }
                Groups::Nibbles => {
                    times(&mut scale, &scales, row(group), |byte| {
                        (byte & 0xf).cast_signed()
                    });
                    times(&mut min, &mins, row(group), |byte| {
                        (byte >> 4).cast_signed()
                    });
                }
            }
            let group = Group {
                bits: shape.bits,
                offset: i32::from(shape.offset),
                bytes,
                scales: &scale,
                mins: shape.has_min.then_some(&min),
            };
            kernels.widen_quants(group, target);
        }
    }
}

/// The scales of a group: those of the block times its own.
#[inline(always)]
fn times(target: &mut Row, scales: &Row, bytes: &[u8], factor: impl Fn(u8) -> i8) {
    for ((target, scale), &byte) in target.iter_mut().zip(scales).zip(bytes) {
        *target = scale * f32::from(factor(byte));
    }
}

vectorised! {
    /// Multiplies every value.
    pub fn multiply(values: &mut [f32], factor: f32) {
        values.iter_mut().for_each(|value| *value *= factor);
    }

    /// To the nearest bf16, ties to the even one; NaN stays NaN.
    pub fn round_to_bf16(values: &mut [f32]) {
        for value in values {
            let bits = value.to_bits();
            let even = (bits >> 16) & 1;
            let rounded = bits.wrapping_add(0x7fff + even) & 0xffff_0000;
            let not_a_number = bits & 0x7fff_ffff > 0x7f80_0000;
            *value = f32::from_bits(if not_a_number { bits | 0x40_0000 } else { rounded });
        }
    }
}
