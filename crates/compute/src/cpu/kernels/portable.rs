//! Plain Rust for any processor: blocks of 4 × 8, which the compiler keeps in the sixteen registers of
//! four values that the oldest x86-64 and every ARMv8 have.

use super::{
    Isa, Kernels, Number, Quantised, Quants, Source, Target,
    block::block_products,
    coded::coded_widening,
    int8::{RawIntegers, int8_product},
    thin::{RawNumbers, RawQuants, coded_products},
};
use crate::cpu::coded::Groups;
use crate::encoding::{e4m3, e5m2};

pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Portable,
    rows: ROWS,
    columns: COLUMNS,
    product,
    product_rows,
    thin_f32,
    thin_bf16,
    thin_quants,
    thin_numbers,
    widen,
    product_int8,
    thin_int8,
    widen_int8,
    widen_quants,
    widen_numbers,
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

/// Four sums, or four pairs of sixteen bits each.
type Integers = [i32; 4];

int8_product! {
    features: [],
    vectors: 2, lanes: 4, vector: Integers,
    zero: no_sums, load: load_pairs, widen: widen_pairs, splat: splat_pair,
    multiply_add: multiply_add_pairs, to_f32: to_f32,
    load_f32: load, splat_f32: splat, multiply: multiply, add: add, store: store,
}

#[inline(always)]
fn no_sums() -> Integers {
    [0; 4]
}

/// # Safety
/// `values` must be valid for reads of eight values.
#[inline(always)]
unsafe fn load_pairs(values: *const i16) -> Integers {
    // SAFETY: by the contract.
    unsafe { values.cast::<Integers>().read_unaligned() }
}

/// # Safety
/// `pair` must be valid for reads of two values.
#[inline(always)]
unsafe fn splat_pair(pair: *const i16) -> Integers {
    // SAFETY: by the contract.
    unsafe { [pair.cast::<i32>().read_unaligned(); 4] }
}

/// # Safety
/// `values` must be valid for reads of eight values.
#[inline(always)]
unsafe fn widen_pairs(values: *const i8) -> Integers {
    // SAFETY: by the contract.
    let pairs = unsafe { values.cast::<[[i8; 2]; 4]>().read() };
    pairs.map(|[low, high]| i32::from(low) & 0xffff | i32::from(high) << 16)
}

#[inline(always)]
fn multiply_add_pairs(sums: Integers, a: Integers, b: Integers) -> Integers {
    let low = |pair: i32| i32::from(pair as i16);
    let high = |pair: i32| pair >> 16;
    std::array::from_fn(|i| sums[i] + low(a[i]) * low(b[i]) + high(a[i]) * high(b[i]))
}

#[inline(always)]
fn to_f32(sums: Integers) -> Lanes {
    sums.map(|sum| sum as f32)
}

#[inline(always)]
fn multiply(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] * b[lane])
}

/// # Safety
/// As `Kernels::widen_int8`.
unsafe fn widen_int8(stored: *const i8, values: *mut i16, count: usize) {
    for i in 0..count {
        // SAFETY: by the contract.
        unsafe { values.add(i).write(i16::from(stored.add(i).read())) };
    }
}

coded_widening! {
    features: [],
    vectors: 2, lanes: 4, vector: Integers,
    load_bytes: load_bytes, shift_left: shift_left, shift_right: shift_right,
    and: and, or: or, subtract: subtract, to_f32: to_f32,
    load_half: load_half, load_e4m3: load_e4m3, load_e5m2: load_e5m2,
    load_f32: load, splat_f32: splat, multiply: multiply, subtract_f32: subtract_f32, store: store,
}

/// # Safety
/// `bytes` must be valid for reads of four.
#[inline(always)]
unsafe fn load_bytes(bytes: *const u8) -> Integers {
    // SAFETY: by the contract.
    let bytes = unsafe { bytes.cast::<[u8; 4]>().read() };
    bytes.map(i32::from)
}

#[inline(always)]
fn shift_left(values: Integers, bits: usize) -> Integers {
    values.map(|value| value << bits)
}

#[inline(always)]
fn shift_right(values: Integers, bits: usize) -> Integers {
    values.map(|value| value >> bits)
}

#[inline(always)]
fn and(values: Integers, mask: i32) -> Integers {
    values.map(|value| value & mask)
}

#[inline(always)]
fn or(a: Integers, b: Integers) -> Integers {
    std::array::from_fn(|i| a[i] | b[i])
}

#[inline(always)]
fn subtract(values: Integers, number: i32) -> Integers {
    values.map(|value| value - number)
}

#[inline(always)]
fn subtract_f32(a: Lanes, b: Lanes) -> Lanes {
    std::array::from_fn(|lane| a[lane] - b[lane])
}

/// # Safety
/// `bytes` must be valid for reads of four numbers.
#[inline(always)]
unsafe fn load_half(bytes: *const u8) -> Lanes {
    // SAFETY: by the contract.
    let bytes = unsafe { bytes.cast::<[[u8; 2]; 4]>().read() };
    bytes.map(|number| half::f16::from_le_bytes(number).to_f32())
}

/// # Safety
/// `bytes` must be valid for reads of four numbers.
#[inline(always)]
unsafe fn load_e4m3(bytes: *const u8) -> Lanes {
    // SAFETY: by the contract.
    unsafe { bytes.cast::<[u8; 4]>().read() }.map(e4m3)
}

/// # Safety
/// `bytes` must be valid for reads of four numbers.
#[inline(always)]
unsafe fn load_e5m2(bytes: *const u8) -> Lanes {
    // SAFETY: by the contract.
    unsafe { bytes.cast::<[u8; 4]>().read() }.map(e5m2)
}

coded_products! {
    features: [],
    vectors: 2, lanes: 4, vector: Lanes,
    load_bytes: load_bytes, load_signed: load_signed,
    shift_right: shift_right, and: and, to_f32: to_f32,
    load_half: load_half, load_e4m3: load_small_e4m3, load_e5m2: load_e5m2,
    zero: zero, splat: splat, multiply: multiply,
    multiply_add: multiply_add, store: store,
}

/// Eight-bit floats divided by 256.
///
/// # Safety
/// `bytes` must be valid for reads of four numbers.
#[inline(always)]
unsafe fn load_small_e4m3(bytes: *const u8) -> Lanes {
    // SAFETY: by the contract.
    unsafe { load_e4m3(bytes) }.map(|value| value / 256.0)
}

/// # Safety
/// `bytes` must be valid for reads of four.
#[inline(always)]
unsafe fn load_signed(bytes: *const u8) -> Integers {
    // SAFETY: by the contract.
    let bytes = unsafe { bytes.cast::<[i8; 4]>().read() };
    bytes.map(i32::from)
}
