//! Plain Rust for any processor: blocks of 4 × 8, which the compiler keeps in the sixteen registers of
//! four values that the oldest x86-64 and every ARMv8 have.

use super::{Isa, Kernels, Source, Target, block::block_products};

pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Portable,
    rows: ROWS,
    columns: COLUMNS,
    depth: 256,
    product,
    product_rows,
    thin_f32,
    thin_bf16,
    widen,
};

/// Four values that stand for a vector register.
type Lanes = [f32; 4];

block_products! {
    features: [],
    rows: 4, vectors: 2, lanes: 4, vector: Lanes,
    zero: zero, load: load, load_bf16: load_bf16, splat: splat,
    multiply_add: multiply_add, add: add, store: store, prefetch: prefetch,
}

#[inline(always)]
fn zero() -> Lanes {
    [0.0; 4]
}

/// # Safety
/// `values` must be valid for reads of four values.
#[inline(always)]
unsafe fn load(values: *const f32) -> Lanes {
    // SAFETY: by the contract; a vector has the alignment of its values.
    unsafe { values.cast::<Lanes>().read() }
}

/// # Safety
/// `value` must be valid for a read.
#[inline(always)]
unsafe fn splat(value: *const f32) -> Lanes {
    // SAFETY: by the contract.
    unsafe { [*value; 4] }
}

/// Not `f32::mul_add`: without the instruction for it that is a call into the mathematics library.
#[inline(always)]
fn multiply_add(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
}

#[inline(always)]
fn add(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] + b[lane])
}

/// # Safety
/// `target` must be valid for writes of four values.
#[inline(always)]
unsafe fn store(target: *mut f32, values: Lanes) {
    // SAFETY: by the contract.
    unsafe { target.cast::<Lanes>().write(values) }
}

/// # Safety
/// `values` must be valid for reads of four values.
#[inline(always)]
unsafe fn load_bf16(values: *const u16) -> Lanes {
    // SAFETY: by the contract.
    let values = unsafe { values.cast::<[u16; 4]>().read() };
    values.map(|value| f32::from_bits(u32::from(value) << 16))
}

#[inline(always)]
fn prefetch(_: *const f32) {}

/// # Safety
/// As `Kernels::widen`.
unsafe fn widen(stored: *const u16, values: *mut f32, count: usize) {
    for i in (0..count).step_by(4) {
        // SAFETY: `count` is a multiple of four, by the contract.
        unsafe { store(values.add(i), load_bf16(stored.add(i))) };
    }
}
