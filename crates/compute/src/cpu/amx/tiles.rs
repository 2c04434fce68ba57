//! What the tile code is written against: eight registers of 16 rows × 64 bytes, and what they multiply.
#![expect(
    unsafe_code,
    reason = "tiles are loaded and stored through raw pointers"
)]

use std::fmt;

use crate::cpu::aligned::Plain;

/// Rows of a tile.
pub const TILE_ROWS: usize = 16;

/// Bytes of a tile's row.
pub const ROW_BYTES: usize = 64;

/// Columns of a tile of sums: sixteen values of four bytes.
pub const TILE_COLUMNS: usize = ROW_BYTES / size_of::<f32>();

/// A thread's eight tile registers, all configured to their full size. They are configured when the
/// value is made and released when it is dropped, on the same thread.
///
/// A register is named by its number; a number above 7 does not compile on the real machine.
pub trait Tiles: Sized {
    /// Takes the registers.
    ///
    /// # Panics
    /// If this thread holds them already, or the machine has none.
    fn configure() -> Self;

    /// `tilezero`
    fn zero<const TILE: u8>(&mut self);

    /// `tileloadd`: sixteen rows of 64 bytes, `stride_bytes` apart.
    ///
    /// # Safety
    /// All sixteen rows must be valid for reads.
    unsafe fn load<const TILE: u8>(&mut self, from: *const u8, stride_bytes: usize);

    /// `tileloaddt1`: the same, of what passes by and should push nothing out of the first-level cache.
    ///
    /// # Safety
    /// As [`Tiles::load`].
    unsafe fn load_passing<const TILE: u8>(&mut self, from: *const u8, stride_bytes: usize);

    /// `tilestored`: sixteen rows of 64 bytes, `stride_bytes` apart.
    ///
    /// # Safety
    /// All sixteen rows must be valid for writes.
    unsafe fn store<const TILE: u8>(&mut self, to: *mut u8, stride_bytes: usize);

    /// `tdpbf16ps`: `C (16, 16) f32 += A (16, 32) · B (32, 16)` in bf16. Row `k` of B's register holds
    /// rows `2k` and `2k + 1` of the matrix, column by column in pairs.
    fn multiply_bf16<const C: u8, const A: u8, const B: u8>(&mut self);

    /// `tdpbssd`: `C (16, 16) i32 += A (16, 64) · B (64, 16)` in signed bytes. Row `k` of B's register
    /// holds rows `4k` to `4k + 3` of the matrix, column by column in fours.
    fn multiply_int8<const C: u8, const A: u8, const B: u8>(&mut self);
}

/// A type that tiles multiply, and the type of its sums.
pub trait Operand: Plain + Default + fmt::Debug + Send + Sync + 'static {
    /// What products are summed up in: four bytes.
    type Sum: Plain + Default + fmt::Debug + Send;

    /// Depth of one multiplication: what fits into a row of A's tile.
    const STEP: usize = ROW_BYTES / size_of::<Self>();

    /// Neighbours along the depth that stand together in B's tile.
    const GROUP: usize = size_of::<Self::Sum>() / size_of::<Self>();

    /// `C += A · B`
    fn multiply<T: Tiles, const C: u8, const A: u8, const B: u8>(tiles: &mut T);
}

/// bf16: the upper half of an f32.
impl Operand for u16 {
    type Sum = f32;

    #[inline(always)]
    fn multiply<T: Tiles, const C: u8, const A: u8, const B: u8>(tiles: &mut T) {
        tiles.multiply_bf16::<C, A, B>();
    }
}

impl Operand for i8 {
    type Sum = i32;

    #[inline(always)]
    fn multiply<T: Tiles, const C: u8, const A: u8, const B: u8>(tiles: &mut T) {
        tiles.multiply_int8::<C, A, B>();
    }
}
