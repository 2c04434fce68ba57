//! The tile registers in software, bit for bit as Intel's manual describes them (Intel 64 and IA-32
//! Architectures Software Developer's Manual, volume 2, `TDPBF16PS` and `TDPBSSD`).
//!
//! It is there so that everything around the instructions (packing, blocking, edges, epilogues) runs
//! in the tests of every machine. It is no kernel: nothing but tests makes a device of it.
#![expect(
    unsafe_code,
    reason = "tiles are loaded and stored through raw pointers"
)]

use super::tiles::{ROW_BYTES, TILE_COLUMNS, TILE_ROWS, Tiles};

type Register = [[u32; TILE_COLUMNS]; TILE_ROWS];

/// Eight registers in memory.
pub struct ModelTiles {
    registers: Box<[Register; 8]>,
}

impl Tiles for ModelTiles {
    fn configure() -> Self {
        Self {
            registers: Box::new([[[0; TILE_COLUMNS]; TILE_ROWS]; 8]),
        }
    }

    fn zero<const TILE: u8>(&mut self) {
        self.registers[TILE as usize] = [[0; TILE_COLUMNS]; TILE_ROWS];
    }

    unsafe fn load<const TILE: u8>(&mut self, from: *const u8, stride_bytes: usize) {
        for (row, values) in self.registers[TILE as usize].iter_mut().enumerate() {
            // SAFETY: each row is valid for reads by the contract.
            unsafe {
                let from = from.add(row * stride_bytes);
                values
                    .as_mut_ptr()
                    .cast::<u8>()
                    .copy_from_nonoverlapping(from, ROW_BYTES);
            }
        }
    }

    unsafe fn load_passing<const TILE: u8>(&mut self, from: *const u8, stride_bytes: usize) {
        // SAFETY: by the contract. There is no cache here.
        unsafe { self.load::<TILE>(from, stride_bytes) };
    }

    unsafe fn store<const TILE: u8>(&mut self, to: *mut u8, stride_bytes: usize) {
        for (row, values) in self.registers[TILE as usize].iter().enumerate() {
            // SAFETY: each row is valid for writes by the contract.
            unsafe {
                let to = to.add(row * stride_bytes);
                to.copy_from_nonoverlapping(values.as_ptr().cast(), ROW_BYTES);
            }
        }
    }

    fn multiply_bf16<const C: u8, const A: u8, const B: u8>(&mut self) {
        let (a, b) = self.operands::<C, A, B>();
        bf16_product(&mut self.registers[C as usize], &a, &b);
    }

    fn multiply_int8<const C: u8, const A: u8, const B: u8>(&mut self) {
        let (a, b) = self.operands::<C, A, B>();
        int8_product(&mut self.registers[C as usize], &a, &b);
    }
}

impl ModelTiles {
    /// The real instructions fault if two of the three registers are one.
    fn operands<const C: u8, const A: u8, const B: u8>(&self) -> (Register, Register) {
        assert!(C != A && C != B && A != B, "this is a bug");
        (self.registers[A as usize], self.registers[B as usize])
    }
}

/// Compiled for FMA where there is one: as a call into the mathematics library it gives the same bits
/// some fifty times slower.
fn bf16_product(c: &mut Register, a: &Register, b: &Register) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn with_fma(c: &mut Register, a: &Register, b: &Register) {
            bf16_product_text(c, a, b);
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
        {
            // SAFETY: just detected.
            return unsafe { with_fma(c, a, b) };
        }
    }
    bf16_product_text(c, a, b);
}

/// Even and odd depths are summed up apart, each by fused multiply-adds in the order of the depth;
/// then even + odd, then that onto C. Everywhere, denormals count as zero and become zero, and
/// rounding is to nearest, whatever MXCSR says.
#[inline(always)]
fn bf16_product_text(c: &mut Register, a: &Register, b: &Register) {
    for (c, a) in c.iter_mut().zip(a) {
        let mut even = [0.0_f32; TILE_COLUMNS];
        let mut odd = [0.0_f32; TILE_COLUMNS];
        for (a, b) in a.iter().zip(b) {
            let (a_even, a_odd) = halves(*a);
            for column in 0..TILE_COLUMNS {
                let (b_even, b_odd) = halves(b[column]);
                even[column] = flush(a_even.mul_add(b_even, even[column]));
                odd[column] = flush(a_odd.mul_add(b_odd, odd[column]));
            }
        }
        for column in 0..TILE_COLUMNS {
            let sum = flush(even[column] + odd[column]);
            c[column] = flush(flush(f32::from_bits(c[column])) + sum).to_bits();
        }
    }
}

/// The two bf16 of a word, the lower one first.
#[inline(always)]
fn halves(word: u32) -> (f32, f32) {
    let lower = f32::from_bits(word << 16);
    let upper = f32::from_bits(word & 0xffff_0000);
    (flush(lower), flush(upper))
}

/// Zero of the same sign in place of a denormal.
#[inline(always)]
fn flush(value: f32) -> f32 {
    let denormal = value.abs() < f32::MIN_POSITIVE;
    let keep = if denormal { 1 << 31 } else { u32::MAX };
    f32::from_bits(value.to_bits() & keep)
}

fn int8_product(c: &mut Register, a: &Register, b: &Register) {
    for (c, a) in c.iter_mut().zip(a) {
        for (a, b) in a.iter().zip(b) {
            let a = a.to_le_bytes();
            for (c, b) in c.iter_mut().zip(b) {
                for (a, b) in a.iter().zip(b.to_le_bytes()) {
                    let product = i32::from(*a as i8) * i32::from(b as i8);
                    *c = c.wrapping_add(product as u32);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ModelTiles, Register, Tiles, flush};

    fn registers(c: Register, a: Register, b: Register) -> ModelTiles {
        let mut tiles = ModelTiles::configure();
        (tiles.registers[0], tiles.registers[1], tiles.registers[2]) = (c, a, b);
        tiles
    }

    /// One row of A against one column of B, both as pairs of bf16.
    fn sum_of(c: f32, a: &[[f32; 2]], b: &[[f32; 2]]) -> f32 {
        let pair = |[low, high]: [f32; 2]| (low.to_bits() >> 16) | (high.to_bits() & 0xffff_0000);
        let (mut ra, mut rb) = ([[0; 16]; 16], [[0; 16]; 16]);
        for (k, (a, b)) in a.iter().zip(b).enumerate() {
            ra[0][k] = pair(*a);
            rb[k][0] = pair(*b);
        }
        let mut rc = [[0; 16]; 16];
        rc[0][0] = c.to_bits();
        let mut tiles = registers(rc, ra, rb);
        tiles.multiply_bf16::<0, 1, 2>();
        f32::from_bits(tiles.registers[0][0][0])
    }

    #[test]
    fn even_and_odd_depths_are_summed_apart() {
        // 2^24 + 1 - 2^24: in one chain the 1 is lost, in two it stays.
        let big = 16_777_216.0;
        let a = [[big, 1.0], [-big, 0.0]];
        assert_eq!(sum_of(0.0, &a, &[[1.0, 1.0], [1.0, 0.0]]), 1.0);
        // The same values, the 1 on the even side between the large ones.
        let a = [[big, 0.0], [1.0, 0.0], [-big, 0.0]];
        assert_eq!(sum_of(0.0, &a, &[[1.0, 0.0]; 3]), 0.0);
        // C joins last.
        assert_eq!(sum_of(1.0, &[[big, -big]], &[[1.0, 1.0]]), 1.0);
    }

    #[test]
    fn products_are_fused() {
        // (1 + 2^-7)² = 1 + 2^-6 + 2^-14 exactly; adding -1 leaves all of it.
        let x = 1.0 + 2.0_f32.powi(-7);
        let a = [[-1.0, 0.0], [x, 0.0]];
        let found = sum_of(0.0, &a, &[[1.0, 0.0], [x, 0.0]]);
        assert_eq!(found, 2.0_f32.powi(-6) + 2.0_f32.powi(-14));
    }

    #[test]
    fn denormals_are_zero_coming_and_going() {
        let tiny = f32::from_bits(0x0040_0000);
        assert_eq!(sum_of(0.0, &[[tiny, 0.0]], &[[1e30, 0.0]]), 0.0);
        assert_eq!(sum_of(tiny, &[[0.0, 0.0]], &[[0.0, 0.0]]), 0.0);
        assert_eq!(sum_of(0.0, &[[1e-30, 0.0]], &[[1e-10, 0.0]]), 0.0);
        assert_eq!(flush(-tiny).to_bits(), (-0.0_f32).to_bits());
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        assert_eq!(
            sum_of(0.0, &[[f32::INFINITY, 1.0]], &[[1.0, 1.0]]),
            f32::INFINITY
        );
        assert!(sum_of(0.0, &[[f32::INFINITY, 1.0]], &[[0.0, 1.0]]).is_nan());
        assert!(sum_of(f32::NAN, &[[1.0, 1.0]], &[[1.0, 1.0]]).is_nan());
    }

    #[test]
    fn bytes_are_signed_and_their_sums_wrap() {
        let mut tiles = registers(
            [[i32::MAX as u32; 16]; 16],
            [[u32::from_le_bytes([0x80, 1, 0xff, 2]); 16]; 16],
            [[u32::from_le_bytes([0x80, 0x7f, 3, 0xfe]); 16]; 16],
        );
        tiles.multiply_int8::<0, 1, 2>();
        let sum = 16 * ((-128 * -128) + 127 - 3 - 4);
        let expected = i32::MAX.wrapping_add(sum) as u32;
        assert_eq!(tiles.registers[0], [[expected; 16]; 16]);
    }
}
