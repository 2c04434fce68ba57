//! From the bytes of a panel's chunk to f32, a vector of columns at a time, with the operations of
//! [`Encoding`]'s decoding in their order.

use super::layout::{Groups, STEPS, planes};
use crate::{Encoding, cpu::simd::vectorised};

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

vectorised! {
    /// Makes a chunk f32: `[depth][LANES]`, a panel being as wide as two registers.
    pub fn widen(values: Values<'_>, target: &mut [f32]) {
        let bytes = values.bytes;
        let target = target.as_chunks_mut::<LANES>().0;
        match values.encoding {
            Encoding::F32 => numbers(bytes, target, f32::from_le_bytes),
            Encoding::F16 => numbers(bytes, target, |b| half(u16::from_le_bytes(b))),
            Encoding::Bf16 => numbers(bytes, target, |b| {
                f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)
            }),
            Encoding::F8E4m3 => numbers(bytes, target, |[byte]| e4m3(byte)),
            Encoding::F8E5m2 => numbers(bytes, target, |[byte]| half(u16::from(byte) << 8)),
            Encoding::Q4_0 => blocks::<LANES, 4, 32, 32, 8, false>(Groups::None, bytes, target),
            Encoding::Q4_1 => blocks::<LANES, 4, 32, 32, 0, true>(Groups::None, bytes, target),
            Encoding::Q5_0 => blocks::<LANES, 5, 32, 32, 16, false>(Groups::None, bytes, target),
            Encoding::Q5_1 => blocks::<LANES, 5, 32, 32, 0, true>(Groups::None, bytes, target),
            Encoding::Q8_0 => blocks::<LANES, 8, 32, 32, 128, false>(Groups::None, bytes, target),
            Encoding::Q2K => blocks::<LANES, 2, 256, 16, 0, true>(Groups::Nibbles, bytes, target),
            Encoding::Q3K => blocks::<LANES, 3, 256, 16, 4, false>(Groups::Scales, bytes, target),
            Encoding::Q4K => {
                blocks::<LANES, 4, 256, 32, 0, true>(Groups::ScalesAndMins, bytes, target);
            }
            Encoding::Q5K => {
                blocks::<LANES, 5, 256, 32, 0, true>(Groups::ScalesAndMins, bytes, target);
            }
            Encoding::Q6K => blocks::<LANES, 6, 256, 16, 32, false>(Groups::Scales, bytes, target),
        }
        if values.scale != 1.0 {
            for row in &mut *target {
                row.iter_mut().for_each(|value| *value *= values.scale);
            }
        }
        if values.rounded {
            for row in &mut *target {
                row.iter_mut().for_each(|value| *value = to_bf16(*value));
            }
        }
    }
}

#[inline(always)]
fn numbers<const W: usize, const N: usize>(
    bytes: &[u8],
    target: &mut [[f32; W]],
    decode: impl Fn([u8; N]) -> f32,
) {
    let numbers = bytes.as_chunks::<N>().0.as_chunks::<W>().0;
    for (row, numbers) in target.iter_mut().zip(numbers) {
        for (value, number) in row.iter_mut().zip(numbers) {
            *value = decode(*number);
        }
    }
}

/// Blocks of `BLOCK` values with quants of `BITS`, under a scale every `GROUP`; the quant `OFFSET` means
/// zero, and `MIN` says whether there are minimums.
#[inline(always)]
fn blocks<
    const W: usize,
    const BITS: usize,
    const BLOCK: usize,
    const GROUP: usize,
    const OFFSET: i32,
    const MIN: bool,
>(
    groups: Groups,
    bytes: &[u8],
    target: &mut [[f32; W]],
) {
    let count = BLOCK / GROUP;
    let halves = if MIN { 2 } else { 1 };
    let head = (2 * halves + count * groups.bytes()) * W;
    let size = head + BLOCK * BITS / 8 * W;
    let blocks = bytes.chunks_exact(size).zip(target.chunks_exact_mut(BLOCK));
    for (bytes, target) in blocks {
        let (head, quants) = bytes.split_at(head);
        let (halves, of_groups) = head.split_at(2 * halves * W);
        let scales = half_row::<W>(halves);
        let mins = if MIN {
            half_row(&halves[2 * W..])
        } else {
            [0.0; W]
        };
        let quants = quants.chunks_exact(GROUP * BITS / 8 * W);
        let parts = quants.zip(target.chunks_exact_mut(GROUP));
        for (group, (quants, target)) in parts.enumerate() {
            let slot = group * W;
            let (scale, min) = match groups {
                Groups::None => (scales, mins),
                Groups::Scales => {
                    let of_group = row_of::<W>(&of_groups[slot..]);
                    (times(scales, |c| of_group[c].cast_signed()), mins)
                }
                Groups::ScalesAndMins => {
                    let of_group = row_of::<W>(&of_groups[slot..]);
                    let min_of_group = row_of::<W>(&of_groups[count * W + slot..]);
                    (
                        times(scales, |c| of_group[c].cast_signed()),
                        times(mins, |c| min_of_group[c].cast_signed()),
                    )
                }
                Groups::Nibbles => {
                    let of_group = row_of::<W>(&of_groups[slot..]);
                    (
                        times(scales, |c| (of_group[c] & 0xf).cast_signed()),
                        times(mins, |c| (of_group[c] >> 4).cast_signed()),
                    )
                }
            };
            let steps = quants.chunks_exact(BITS * W);
            for (quants, target) in steps.zip(target.chunks_exact_mut(STEPS)) {
                for (k, row) in target.iter_mut().enumerate() {
                    for (c, value) in row.iter_mut().enumerate() {
                        let quant = quant::<W, BITS>(quants, k, c) - OFFSET;
                        let product = quant as f32 * scale[c];
                        *value = if MIN { product - min[c] } else { product };
                    }
                }
            }
        }
    }
}

/// The quant of step `k` in column `c`.
#[inline(always)]
fn quant<const W: usize, const BITS: usize>(quants: &[u8], k: usize, c: usize) -> i32 {
    let [low, high] = const { planes(BITS) };
    let quant = bits::<W>(&quants[..low * W], low, k, c);
    if high == 0 {
        return quant;
    }
    quant | bits::<W>(&quants[low * W..][..high * W], high, k, c) << low
}

/// The `n` bits of step `k` in column `c` of a plane.
#[inline(always)]
fn bits<const W: usize>(plane: &[u8], n: usize, k: usize, c: usize) -> i32 {
    let each = 8 / n;
    let byte = i32::from(plane[k / each * W + c]);
    byte >> (k % each * n) & ((1 << n) - 1)
}

#[inline(always)]
fn row_of<const W: usize>(bytes: &[u8]) -> &[u8; W] {
    bytes.first_chunk().expect("a whole row; this is a bug")
}

#[inline(always)]
fn times<const W: usize>(scales: [f32; W], factor: impl Fn(usize) -> i8) -> [f32; W] {
    std::array::from_fn(|c| scales[c] * f32::from(factor(c)))
}

#[inline(always)]
fn half_row<const W: usize>(bytes: &[u8]) -> [f32; W] {
    let halves = bytes.as_chunks::<2>().0;
    std::array::from_fn(|c| half(u16::from_le_bytes(halves[c])))
}

/// An f16, without branches.
#[inline(always)]
fn half(bits: u16) -> f32 {
    /// 2⁻²⁴: the step of the numbers below the least normal one.
    const STEP: f32 = 1.0 / (1 << 24) as f32;
    let magnitude = i32::from(bits & 0x7fff);
    let sign = u32::from(bits & 0x8000) << 16;
    let below = (magnitude as f32 * STEP).to_bits();
    let shifted = magnitude.cast_unsigned() << 13;
    let normal = shifted + (112 << 23);
    let value = if magnitude < 0x400 { below } else { normal };
    let value = if magnitude >= 0x7c00 {
        shifted | 0x7f80_0000
    } else {
        value
    };
    f32::from_bits(value | sign)
}

/// An eight-bit float of four bits of exponent, without branches.
#[inline(always)]
fn e4m3(byte: u8) -> f32 {
    const STEP: f32 = 1.0 / 512.0;
    let magnitude = i32::from(byte & 0x7f);
    let sign = u32::from(byte & 0x80) << 24;
    let below = (magnitude as f32 * STEP).to_bits();
    let normal = (magnitude.cast_unsigned() << 20) + (120 << 23);
    let value = if magnitude < 8 { below } else { normal };
    let value = if magnitude == 0x7f {
        0x7fc0_0000
    } else {
        value
    };
    f32::from_bits(value | sign)
}

/// To the nearest bf16, ties to the even one; NaN stays NaN.
#[inline(always)]
fn to_bf16(value: f32) -> f32 {
    let bits = value.to_bits();
    let even = (bits >> 16) & 1;
    let rounded = bits.wrapping_add(0x7fff + even) & 0xffff_0000;
    let not_a_number = bits & 0x7fff_ffff > 0x7f80_0000;
    f32::from_bits(if not_a_number {
        bits | 0x40_0000
    } else {
        rounded
    })
}
