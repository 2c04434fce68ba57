//! The types in which files hold weights: numbers one by one, or blocks of integers that share scales.
//!
//! The blocks are those of ggml (`ggml-common.h`; every GGUF file), decoded as its `gguf` package does,
//! to the bit: each scale is rounded to f32 before it is multiplied, each product before a minimum is
//! subtracted.

mod blocks;
mod float8;

use std::fmt;

use half::f16;

pub(crate) use blocks::{Block, Shape};
pub(crate) use float8::{e4m3, e5m2};

/// How values lie in a file, little-endian, at any address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// OCP 8-bit with four bits of exponent: PyTorch's `float8_e4m3fn`, without infinities.
    F8E4m3,
    /// OCP 8-bit with five bits of exponent: PyTorch's `float8_e5m2`, the upper half of an f16.
    F8E5m2,
    /// Blocks of 32: four bits and a scale.
    Q4_0,
    /// Blocks of 32: four bits, a scale and a minimum.
    Q4_1,
    /// Blocks of 32: five bits and a scale.
    Q5_0,
    /// Blocks of 32: five bits, a scale and a minimum.
    Q5_1,
    /// Blocks of 32: eight bits and a scale.
    Q8_0,
    /// Blocks of 256: two bits; every 16 have a scale and a minimum of four bits.
    Q2K,
    /// Blocks of 256: three bits; every 16 have a scale of six bits.
    Q3K,
    /// Blocks of 256: four bits; every 32 have a scale and a minimum of six bits.
    Q4K,
    /// Blocks of 256: five bits; every 32 have a scale and a minimum of six bits.
    Q5K,
    /// Blocks of 256: six bits; every 16 have a scale of eight bits.
    Q6K,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::F8E4m3,
        Self::F8E5m2,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// What people call it: `F16`, `F8_E4M3`, `Q4_K`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F8E4m3 => "F8_E4M3",
            Self::F8E5m2 => "F8_E5M2",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// How many values a block has: 1, 32 or 256. A tensor's rows are whole blocks.
    pub fn block_values(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 | Self::F8E4m3 | Self::F8E5m2 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// How many bytes a block takes.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4m3 | Self::F8E5m2 => 1,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// How many bytes so many values take; `None` if they are not whole blocks, or more than memory has
    /// addresses for.
    pub fn size_bytes(self, values: usize) -> Option<usize> {
        let whole = values.is_multiple_of(self.block_values());
        let blocks = whole.then(|| values / self.block_values())?;
        blocks.checked_mul(self.block_bytes())
    }

    /// The values from `start` on, as many as `target` has, as f32.
    ///
    /// # Panics
    /// If `bytes` end before.
    pub(crate) fn decode(self, bytes: &[u8], start: usize, target: &mut [f32]) {
        match self {
            Self::F32 => each(bytes, start, target, f32::from_le_bytes),
            Self::F16 => each(bytes, start, target, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => each(bytes, start, target, |b| {
                f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)
            }),
            Self::F8E4m3 => each(bytes, start, target, |[byte]| e4m3(byte)),
            Self::F8E5m2 => each(bytes, start, target, |[byte]| e5m2(byte)),
            _ => self.decode_blocks(bytes, start, target),
        }
    }

    fn decode_blocks(self, bytes: &[u8], start: usize, mut target: &mut [f32]) {
        let (values, size) = (self.block_values(), self.block_bytes());
        let mut block = Block::default();
        let (mut index, mut skip) = (start / values, start % values);
        while !target.is_empty() {
            block.take_apart(self, &bytes[index * size..][..size]);
            let (part, rest) = target.split_at_mut(target.len().min(values - skip));
            block.decode(self, skip, part);
            (target, index, skip) = (rest, index + 1, 0);
        }
    }
}

/// Numbers of `N` bytes each.
fn each<const N: usize>(
    bytes: &[u8],
    start: usize,
    target: &mut [f32],
    decode: impl Fn([u8; N]) -> f32,
) {
    let numbers = bytes[N * start..][..N * target.len()].as_chunks().0;
    for (target, &number) in target.iter_mut().zip(numbers) {
        *target = decode(number);
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
