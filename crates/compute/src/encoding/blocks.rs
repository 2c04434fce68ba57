//! ggml's blocks, taken apart into what they have in common.

use half::f16;

use super::Encoding;

/// A block of any format: `value = (quant - offset) · scale · scales[group] - min · mins[group]`, in
/// this order: first the scales, then the product, then the difference, each rounded to f32.
pub(crate) struct Block {
    /// The block's scale, an f16.
    pub scale: f16,
    /// What the groups' minimums are multiplied by.
    pub min: f16,
    /// Of each group of [`Shape::group`] values.
    pub scales: [i8; 16],
    /// Of each group; 0 where the format has none.
    pub mins: [i8; 16],
    /// One for each value, from 0 on.
    pub quants: [u8; 256],
}

/// What blocks of one format share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Values under one scale: 16 or 32.
    pub group: usize,
    /// The quant that means zero.
    pub offset: i16,
    /// Bits of a quant.
    pub bits: usize,
    /// Whether there are minimums.
    pub has_min: bool,
}

impl Shape {
    /// Of a format in blocks.
    ///
    /// # Panics
    /// If `encoding` is none.
    pub fn of(encoding: Encoding) -> Self {
        let (group, offset, bits, has_min) = match encoding {
            Encoding::Q4_0 => (32, 8, 4, false),
            Encoding::Q4_1 => (32, 0, 4, true),
            Encoding::Q5_0 => (32, 16, 5, false),
            Encoding::Q5_1 => (32, 0, 5, true),
            Encoding::Q8_0 => (32, 128, 8, false),
            Encoding::Q2K => (16, 0, 2, true),
            Encoding::Q3K => (16, 4, 3, false),
            Encoding::Q4K => (32, 0, 4, true),
            Encoding::Q5K => (32, 0, 5, true),
            Encoding::Q6K => (16, 32, 6, false),
            other => unreachable!("{other} has no blocks; this is a bug"),
        };
        Self {
            group,
            offset,
            bits,
            has_min,
        }
    }
}

impl Default for Block {
    fn default() -> Self {
        Self {
            scale: f16::ZERO,
            min: f16::ZERO,
            scales: [1; 16],
            mins: [0; 16],
            quants: [0; 256],
        }
    }
}

impl Block {
    /// Reads one block, of `encoding.block_bytes()` bytes.
    pub fn take_apart(&mut self, encoding: Encoding, bytes: &[u8]) {
        match encoding {
            Encoding::Q4_0 => self.plain([None, None], bytes),
            Encoding::Q4_1 => self.plain([Some(2), None], bytes),
            Encoding::Q5_0 => self.plain([None, Some(2)], bytes),
            Encoding::Q5_1 => self.plain([Some(2), Some(4)], bytes),
            Encoding::Q8_0 => self.q8_0(bytes),
            Encoding::Q2K => self.q2_k(bytes),
            Encoding::Q3K => self.q3_k(bytes),
            Encoding::Q4K => self.q4_k(&bytes[..16], None, &bytes[16..]),
            Encoding::Q5K => self.q4_k(&bytes[..16], Some(&bytes[16..48]), &bytes[48..]),
            Encoding::Q6K => self.q6_k(bytes),
            other => unreachable!("{other} has no blocks; this is a bug"),
        }
    }

    /// The values from `start` on, as many as `target` has.
    pub fn decode(&self, encoding: Encoding, start: usize, target: &mut [f32]) {
        let Shape { group, offset, .. } = Shape::of(encoding);
        let (scale, min) = (self.scale.to_f32(), self.min.to_f32());
        for (index, target) in (start..).zip(target) {
            let scale = scale * f32::from(self.scales[index / group]);
            let min = min * f32::from(self.mins[index / group]);
            *target = f32::from(i16::from(self.quants[index]) - offset) * scale - min;
        }
    }

    /// Blocks of 32 in four bits: a scale, a minimum there, high bits there, and sixteen bytes of two
    /// quants at the end.
    fn plain(&mut self, [min, high]: [Option<usize>; 2], bytes: &[u8]) {
        self.scale = half_at(bytes, 0);
        self.scales = [1; 16];
        // What is stored is added, not subtracted.
        self.mins = [if min.is_some() { -1 } else { 0 }; 16];
        self.min = min.map_or(f16::ZERO, |at| half_at(bytes, at));
        let low = &bytes[bytes.len() - 16..];
        for (index, &pair) in low.iter().enumerate() {
            self.quants[index] = pair & 0xf;
            self.quants[16 + index] = pair >> 4;
        }
        let high = high.map_or(&[0; 4][..], |at| &bytes[at..at + 4]);
        for (index, quant) in self.quants[..32].iter_mut().enumerate() {
            *quant |= (high[index / 8] >> (index % 8) & 1) << 4;
        }
    }

    fn q8_0(&mut self, bytes: &[u8]) {
        self.scale = half_at(bytes, 0);
        (self.min, self.scales, self.mins) = (f16::ZERO, [1; 16], [0; 16]);
        for (quant, byte) in self.quants.iter_mut().zip(&bytes[2..]) {
            // From two's complement to an offset of 128.
            *quant = byte ^ 0x80;
        }
    }

    fn q2_k(&mut self, bytes: &[u8]) {
        (self.scale, self.min) = (half_at(bytes, 80), half_at(bytes, 82));
        for (group, byte) in bytes[..16].iter().enumerate() {
            self.scales[group] = (byte & 0xf).cast_signed();
            self.mins[group] = (byte >> 4).cast_signed();
        }
        self.pairs_of_bits(&bytes[16..80], 0);
    }

    fn q3_k(&mut self, bytes: &[u8]) {
        let (high, rest) = bytes.split_at(32);
        let (low, rest) = rest.split_at(64);
        (self.scale, self.min, self.mins) = (half_at(rest, 12), f16::ZERO, [0; 16]);
        for group in 0..16 {
            let low = rest[group % 8] >> (group / 8 * 4) & 0xf;
            let high = rest[8 + group % 4] >> (group / 4 * 2) & 3;
            self.scales[group] = (low | high << 4).cast_signed() - 32;
        }
        self.pairs_of_bits(low, 0);
        self.single_bits(high, 2);
    }

    /// `head` is both scales and the groups' six-bit numbers.
    fn q4_k(&mut self, head: &[u8], high: Option<&[u8]>, low: &[u8]) {
        (self.scale, self.min) = (half_at(head, 0), half_at(head, 2));
        let packed = &head[4..];
        for group in 0..4 {
            let [scale, min, both] = [0, 4, 8].map(|at| packed[at + group]);
            self.scales[group] = (scale & 0x3f).cast_signed();
            self.mins[group] = (min & 0x3f).cast_signed();
            self.scales[4 + group] = (both & 0xf | scale >> 2 & 0x30).cast_signed();
            self.mins[4 + group] = (both >> 4 | min >> 2 & 0x30).cast_signed();
        }
        self.nibbles::<32>(low);
        if let Some(high) = high {
            self.single_bits(high, 4);
        }
    }

    fn q6_k(&mut self, bytes: &[u8]) {
        let (low, rest) = bytes.split_at(128);
        let (high, rest) = rest.split_at(64);
        (self.scale, self.min, self.mins) = (half_at(rest, 16), f16::ZERO, [0; 16]);
        for (scale, &byte) in self.scales.iter_mut().zip(rest) {
            *scale = byte.cast_signed();
        }
        self.nibbles::<64>(low);
        self.pairs_of_bits(high, 4);
    }

    /// 256 quants of four bits: `N` low halves, then the `N` high halves of the same bytes.
    fn nibbles<const N: usize>(&mut self, bytes: &[u8]) {
        let parts = self.quants.chunks_exact_mut(2 * N);
        for (quants, bytes) in parts.zip(bytes.chunks_exact(N)) {
            for (index, byte) in bytes.iter().enumerate() {
                quants[index] = byte & 0xf;
                quants[N + index] = byte >> 4;
            }
        }
    }

    /// 256 times two bits of a quant, from bit `at` on: 32 bytes hold four times 32. At 0 they are the
    /// lowest, and what was there before is gone.
    fn pairs_of_bits(&mut self, bytes: &[u8], at: usize) {
        for (index, quant) in self.quants.iter_mut().enumerate() {
            let byte = bytes[index / 128 * 32 + index % 32];
            let bits = byte >> (index / 32 % 4 * 2) & 3;
            *quant = if at == 0 { bits } else { *quant | bits << at };
        }
    }

    /// Bit `at` of 256 quants: 32 bytes hold eight times 32.
    fn single_bits(&mut self, bytes: &[u8], at: usize) {
        for (index, quant) in self.quants.iter_mut().enumerate() {
            *quant |= (bytes[index % 32] >> (index / 32) & 1) << at;
        }
    }
}

fn half_at(bytes: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]])
}
