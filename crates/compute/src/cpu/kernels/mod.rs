//! The inner kernels of matrix products: one table of functions for each instruction set.
//!
//! A product is computed block by block: `rows` × `columns` values of the output, from a panel of A
//! (`[depth][rows]`) and a panel of B (`[depth][columns]`), as in Goto and van de Geijn 2008 (Anatomy
//! of High-Performance Matrix Multiplication). Panels are padded with zeros up to the block's size
//! ([`pack`]); a block at the edge of the output is computed into a scratch of full size.
//!
//! Every value of a block is the sum of its products in the order of the depth, whatever the block's
//! place, so how the output is cut changes no bit; only the chunks ([`DEPTH`]) that the depth is cut into do.
#![expect(
    unsafe_code,
    reason = "kernels take raw pointers, and instructions that must have been detected"
)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
mod coded;
pub(super) mod int8;
mod isa;
pub(super) mod pack;
mod portable;
mod thin;

use std::ops::Range;

pub(super) use coded::{Number, Quants};
use int8::RawIntegers;
pub(super) use int8::{IntegerPanels, Quantised};
pub use isa::{Isa, MissingIsa, UnknownIsa};
pub(super) use thin::{NumberPanels, QuantPanels, thin_rows};
use thin::{RawNumbers, RawQuants};

/// `c = a · b`, or `c += a · b` if `accumulate`, for one block; see [`Kernels::product`].
type Product = unsafe fn(
    depth: usize,
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    stride: usize,
    accumulate: bool,
);

/// The same from rows of A.
type ProductRows = unsafe fn(depth: usize, a: Source<f32>, b: *const f32, c: Target);

/// A few rows of A against several panels of B.
type Thin<T> =
    unsafe fn(rows: usize, depth: usize, a: Source<f32>, b: Source<T>, c: Target, panels: usize);

/// A matrix to read, as the kernels see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<T> {
    /// The first value.
    pub start: *const T,
    /// Values from one row (of A) or panel (of B) to the next.
    pub stride: usize,
}

/// A matrix to write, as the kernels see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// The first value.
    pub start: *mut f32,
    /// Values from one row to the next.
    pub stride: usize,
    /// Whether the product is added to what is there.
    pub accumulate: bool,
}

/// Chunks that the depth is cut into, so that one of a panel of B stays near the core: 16 KiB of the
/// first-level cache with AVX2, 32 KiB with AVX-512 (where 24 KiB were no faster). They are whole blocks of
/// every encoding, and the same for all: how a weight is stored changes no bit of a product.
pub(super) const DEPTH: usize = 256;

/// The chunks of a depth, in their order.
pub(super) fn chunks(depth: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..depth).step_by(DEPTH);
    starts.map(move |start| start..depth.min(start + DEPTH))
}

// The sums of a chunk of integers stay within 32 bits.
const _: () = assert!(DEPTH as f32 * int8::MAX_ACTIVATION * int8::MAX_WEIGHT < i32::MAX as f32);

/// The most rows of a thin product.
pub(super) const THIN_ROWS: usize = 4;

/// The kernels of one instruction set.
#[derive(Debug)]
pub(super) struct Kernels {
    /// What they are written for; the machine has it.
    pub isa: Isa,
    /// Rows of a block (MR): the width of A's panels.
    pub rows: usize,
    /// Columns of a block (NR): the width of B's panels.
    pub columns: usize,
    product: Product,
    product_rows: ProductRows,
    thin_f32: Thin<f32>,
    thin_bf16: Thin<u16>,
    thin_quants: unsafe fn(rows: usize, quants: RawQuants, a: Source<f32>, c: Target) -> bool,
    thin_numbers: unsafe fn(rows: usize, numbers: RawNumbers, a: Source<f32>, c: Target),
    widen: unsafe fn(stored: *const u16, values: *mut f32, count: usize),
    product_int8: unsafe fn(product: Quantised, c: Target),
    thin_int8: unsafe fn(rows: usize, panels: RawIntegers, c: Target),
    widen_int8: unsafe fn(stored: *const i8, values: *mut i16, count: usize),
    widen_quants: unsafe fn(Quants),
    widen_numbers: unsafe fn(number: Number, bytes: *const u8, scale: f32, target: &mut [f32]),
}

/// A group of a panel's blocks: what lies under one scale in each column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a> {
    /// Bits of a quant.
    pub bits: usize,
    /// The quant that means zero.
    pub offset: i32,
    /// Planes, eight steps of the depth after eight.
    pub bytes: &'a [u8],
    /// One for each column.
    pub scales: &'a [f32],
    /// What is subtracted in each column, if anything is.
    pub mins: Option<&'a [f32]>,
}

/// Where a block of the output goes.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// From the block's first value on, at least up to its last.
    pub values: &'a mut [f32],
    /// Values from one row to the next.
    pub stride: usize,
    /// Whether the product is added to what is there.
    pub accumulate: bool,
}

impl Kernels {
    /// The table of `isa`; where the processor adds products of integers in one instruction (VNNI),
    /// with that one, which gives the same bits.
    ///
    /// # Panics
    /// If the machine lacks it: ask [`Isa::checked`] first.
    pub fn of(isa: Isa) -> &'static Self {
        assert!(isa.is_available(), "{}; this is a bug", MissingIsa(isa));
        match isa {
            Isa::Portable => &portable::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if isa::has_avx_vnni() => &avx2::KERNELS_VNNI,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &avx2::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx if isa::has_avx512_vnni() => &avx512::KERNELS_VNNI,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => &avx512::KERNELS,
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("only available sets get here"),
        }
    }

    /// A block of `self.rows` × `self.columns`: `c = a · b`, or `c += a · b` if `accumulate`.
    ///
    /// # Safety
    /// `a` must be valid for reads of `depth * self.rows` values, `b` of `depth * self.columns`, and
    /// `c` valid for writes (and, if `accumulate`, initialised) of `self.rows` rows of `self.columns`
    /// values, `stride` apart, which nothing else touches meanwhile.
    #[inline]
    pub unsafe fn product(
        &self,
        depth: usize,
        a: *const f32,
        b: *const f32,
        c: *mut f32,
        stride: usize,
        accumulate: bool,
    ) {
        // SAFETY: the pointers by this function's contract; that the machine has the instructions was
        // checked by `of`, the only way to a table.
        unsafe { (self.product)(depth, a, b, c, stride, accumulate) }
    }

    /// The same from rows of A, each `depth` values that follow each other: nothing is to be packed
    /// where the rows lie near each other already.
    ///
    /// # Safety
    /// `a` must be valid for reads of `self.rows` rows of `depth` values, `b` of
    /// `depth * self.columns`, and `c` valid for writes (and, if it accumulates, initialised) of
    /// `self.rows` rows of `self.columns` values, which nothing else touches meanwhile.
    #[inline]
    pub unsafe fn product_rows(&self, depth: usize, a: Source<f32>, b: *const f32, c: Target) {
        // SAFETY: by this function's contract, and `of` as above.
        unsafe { (self.product_rows)(depth, a, b, c) }
    }

    /// `rows` rows (1 to [`THIN_ROWS`]) against `panels` panels of B that are read once, as they are
    /// stored: what a product of few rows costs is the reading of B.
    ///
    /// # Safety
    /// As [`Self::product_rows`] for `rows` rows and the `panels` panels, `b.stride` apart.
    #[inline]
    pub unsafe fn thin_f32(
        &self,
        rows: usize,
        depth: usize,
        a: Source<f32>,
        b: Source<f32>,
        c: Target,
        panels: usize,
    ) {
        // SAFETY: by this function's contract, and `of` as above.
        unsafe { (self.thin_f32)(rows, depth, a, b, c, panels) }
    }

    /// The same over panels of bf16.
    ///
    /// # Safety
    /// As [`Self::thin_f32`].
    #[inline]
    pub unsafe fn thin_bf16(
        &self,
        rows: usize,
        depth: usize,
        a: Source<f32>,
        b: Source<u16>,
        c: Target,
        panels: usize,
    ) {
        // SAFETY: by this function's contract, and `of` as above.
        unsafe { (self.thin_bf16)(rows, depth, a, b, c, panels) }
    }

    /// From bf16 to f32; whole panels, so a multiple of `self.columns` values.
    ///
    /// # Panics
    /// If the slices differ in length, or are no whole panels.
    pub fn widen(&self, stored: &[u16], values: &mut [f32]) {
        assert_eq!(stored.len(), values.len(), "this is a bug");
        assert_eq!(stored.len() % self.columns, 0, "this is a bug");
        // SAFETY: just checked; `self.columns` is a multiple of every kernel's vector.
        unsafe { (self.widen)(stored.as_ptr(), values.as_mut_ptr(), stored.len()) }
    }

    /// A block in integers: `c = scales · (a · b)`, or added to what is there.
    ///
    /// # Safety
    /// `product.a` must be valid for reads of `self.rows` rows of `2 * pairs` values, `b` of
    /// `2 * pairs * self.columns`, the scales of `self.rows` and `self.columns`; `c` as for
    /// [`Self::product_rows`].
    #[inline]
    pub unsafe fn product_int8(&self, product: Quantised, c: Target) {
        // SAFETY: by this function's contract, and `of` as above.
        unsafe { (self.product_int8)(product, c) }
    }

    /// From eight to sixteen bits; whole panels of pairs, so a multiple of `2 * self.columns` values.
    ///
    /// # Panics
    /// If the slices differ in length, or are no whole panels.
    pub fn widen_int8(&self, stored: &[i8], values: &mut [i16]) {
        assert_eq!(stored.len(), values.len(), "this is a bug");
        assert_eq!(stored.len() % (2 * self.columns), 0, "this is a bug");
        // SAFETY: just checked; twice `self.columns` is a multiple of every kernel's vector.
        unsafe { (self.widen_int8)(stored.as_ptr(), values.as_mut_ptr(), stored.len()) }
    }

    /// From the quants of a group of a panel's blocks to values: `(quant - offset) · scale - min`, for
    /// `target.len() / self.columns` steps of the depth, a multiple of eight.
    ///
    /// # Panics
    /// If a slice does not hold what that takes.
    pub fn widen_quants(&self, group: Group<'_>, target: &mut [f32]) {
        let steps = target.len() / (8 * self.columns);
        assert_eq!(target.len(), steps * 8 * self.columns, "this is a bug");
        let bytes = steps * group.bits * self.columns;
        assert!(group.bytes.len() >= bytes, "this is a bug");
        assert!(group.scales.len() >= self.columns, "this is a bug");
        let mins = group.mins.map(|mins| {
            assert!(mins.len() >= self.columns, "this is a bug");
            mins.as_ptr()
        });
        let quants = Quants {
            bits: group.bits,
            offset: group.offset,
            steps,
            bytes: group.bytes.as_ptr(),
            scales: group.scales.as_ptr(),
            mins,
            target: target.as_mut_ptr(),
        };
        // SAFETY: just checked; and `of` as above.
        unsafe { (self.widen_quants)(quants) }
    }

    /// From numbers one by one to values times `scale`; whole panels, so a multiple of `self.columns`.
    ///
    /// # Panics
    /// If the slices differ in length, or are no whole panels.
    pub fn widen_numbers(&self, number: Number, bytes: &[u8], scale: f32, target: &mut [f32]) {
        let size = number.size_bytes();
        assert_eq!(bytes.len(), target.len() * size, "this is a bug");
        assert_eq!(target.len() % self.columns, 0, "this is a bug");
        // SAFETY: just checked; `self.columns` is a multiple of every kernel's vector.
        unsafe { (self.widen_numbers)(number, bytes.as_ptr(), scale, target) }
    }

    /// A few rows in integers, see [`IntegerPanels`]: `target`, `[rows][panels * columns]`, becomes
    /// `scales · (a · b)`.
    ///
    /// # Panics
    /// If a slice does not hold what that takes.
    pub fn thin_int8(&self, panels: IntegerPanels<'_>, target: &mut [f32]) {
        let IntegerPanels {
            rows,
            pairs,
            a,
            a_scales,
            count,
            b,
        } = panels;
        let panel_bytes = (2 * pairs + size_of::<f32>()) * self.columns;
        assert_eq!(rows, thin_rows(rows), "this is a bug");
        assert!(a.len() >= rows * 2 * pairs, "this is a bug");
        assert!(a_scales.len() >= rows, "this is a bug");
        assert_eq!(b.len(), count * panel_bytes, "this is a bug");
        assert_eq!(
            b.as_ptr().align_offset(size_of::<f32>()),
            0,
            "this is a bug"
        );
        let width = count * self.columns;
        assert!(target.len() >= rows * width, "this is a bug");
        let panels = RawIntegers {
            panels: count,
            pairs,
            a: a.as_ptr(),
            a_scales: a_scales.as_ptr(),
            b: b.as_ptr(),
            panel_bytes,
        };
        let c = Target {
            start: target.as_mut_ptr(),
            stride: width,
            accumulate: false,
        };
        // SAFETY: just checked; that the machine has the instructions was checked by `of`.
        unsafe { (self.thin_int8)(rows, panels, c) }
    }

    /// The same as [`Self::product`] for slices: `a` is `[depth][self.rows]`, `b` `[depth][self.columns]`.
    ///
    /// # Panics
    /// If the panels are not of one depth, or the block does not hold its last value.
    pub fn product_into(&self, a: &[f32], b: &[f32], block: Block<'_>) {
        let depth = a.len() / self.rows;
        assert_eq!(a.len(), depth * self.rows, "this is a bug");
        assert_eq!(b.len(), depth * self.columns, "this is a bug");
        assert!(block.stride >= self.columns, "this is a bug");
        let last = (self.rows - 1) * block.stride + self.columns;
        assert!(last <= block.values.len(), "this is a bug");
        // SAFETY: just checked; the slices are borrowed for the call, the output exclusively.
        unsafe {
            self.product(
                depth,
                a.as_ptr(),
                b.as_ptr(),
                block.values.as_mut_ptr(),
                block.stride,
                block.accumulate,
            );
        }
    }

    /// The same as [`Self::product_rows`] for slices: the depth is that of `b`, and A's rows lie
    /// `a_stride` values apart.
    ///
    /// # Panics
    /// If `a` or the block does not hold its last value.
    pub fn product_rows_into(&self, a: &[f32], a_stride: usize, b: &[f32], block: Block<'_>) {
        let depth = b.len() / self.columns;
        assert_eq!(b.len(), depth * self.columns, "this is a bug");
        assert!(
            (self.rows - 1) * a_stride + depth <= a.len(),
            "this is a bug"
        );
        assert!(block.stride >= self.columns, "this is a bug");
        let last = (self.rows - 1) * block.stride + self.columns;
        assert!(last <= block.values.len(), "this is a bug");
        let a = Source {
            start: a.as_ptr(),
            stride: a_stride,
        };
        let c = Target {
            start: block.values.as_mut_ptr(),
            stride: block.stride,
            accumulate: block.accumulate,
        };
        // SAFETY: just checked; the slices are borrowed for the call, the output exclusively.
        unsafe { self.product_rows(depth, a, b.as_ptr(), c) }
    }
}

#[cfg(test)]
mod tests;
