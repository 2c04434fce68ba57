//! AVX-512: blocks of 14 × 32 take twenty-eight of the thirty-two registers, leave two for B and one
//! for A.

use std::arch::x86_64::{
    __m256i, __m512, __m512i, _CMP_GT_OQ, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_loadu_si128,
    _mm_prefetch, _mm256_and_si256, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16, _mm256_loadu_si256,
    _mm256_or_si256, _mm256_set1_epi16, _mm256_slli_epi16, _mm512_abs_ps, _mm512_add_epi32,
    _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepi8_epi16,
    _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32,
    _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_madd_epi16,
    _mm512_mask_mov_ps, _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_sll_epi32, _mm512_slli_epi32, _mm512_srl_epi32,
    _mm512_storeu_ps, _mm512_storeu_si512, _mm512_sub_epi32, _mm512_sub_ps,
};

use super::{
    Isa, Kernels, Number, Quantised, Quants, Source, Target,
    block::block_products,
    coded::coded_widening,
    int8::{RawIntegers, int8_product},
    thin::{RawNumbers, RawQuants, coded_products},
};
use crate::cpu::coded::Groups;

pub(super) static KERNELS: Kernels = TABLE;

/// The same for processors with VNNI.
pub(super) static KERNELS_VNNI: Kernels = Kernels {
    product_int8: vnni::product_int8,
    thin_int8: vnni::thin_int8,
    ..TABLE
};

const TABLE: Kernels = Kernels {
    isa: Isa::Avx512,
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

block_products! {
    features: ["avx512f,avx512bw,avx512dq,avx512vl"],
    rows: 14, vectors: 2, lanes: 16, vector: __m512,
    zero: _mm512_setzero_ps, load: _mm512_loadu_ps, load_bf16: load_bf16, splat: splat,
    multiply_add: _mm512_fmadd_ps, add: _mm512_add_ps, store: _mm512_storeu_ps, prefetch: prefetch,
}

/// # Safety
/// `value` must be valid for a read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn splat(value: *const f32) -> __m512 {
    // SAFETY: by the contract.
    _mm512_set1_ps(unsafe { *value })
}

/// # Safety
/// `values` must be valid for reads of sixteen values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_bf16(values: *const u16) -> __m512 {
    // SAFETY: by the contract.
    let values = unsafe { _mm256_loadu_si256(values.cast::<__m256i>()) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(values)))
}

/// Any address may be prefetched.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn prefetch(value: *const f32) {
    _mm_prefetch::<_MM_HINT_T0>(value.cast());
}

/// # Safety
/// As `Kernels::widen`, and the machine has the instructions of this file.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn widen(stored: *const u16, values: *mut f32, count: usize) {
    for i in (0..count).step_by(16) {
        // SAFETY: `count` is a multiple of sixteen, by the contract.
        unsafe { _mm512_storeu_ps(values.add(i), load_bf16(stored.add(i))) };
    }
}

int8_product! {
    features: ["avx512f,avx512bw,avx512dq,avx512vl"],
    vectors: 2, lanes: 16, vector: __m512i,
    zero: _mm512_setzero_si512, load: load_pairs, widen: widen_pairs, splat: splat_pair,
    multiply_add: multiply_add_pairs, to_f32: _mm512_cvtepi32_ps,
    load_f32: _mm512_loadu_ps, splat_f32: splat, multiply: _mm512_mul_ps,
    add: _mm512_add_ps, store: _mm512_storeu_ps,
}

/// The product of integers with VNNI.
mod vnni {
    use std::arch::x86_64::_mm512_dpwssd_epi32;

    use super::{super::int8::int8_product, *};

    int8_product! {
        features: ["avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"],
        vectors: 2, lanes: 16, vector: __m512i,
        zero: _mm512_setzero_si512, load: load_pairs, widen: widen_pairs, splat: splat_pair,
        multiply_add: _mm512_dpwssd_epi32, to_f32: _mm512_cvtepi32_ps,
        load_f32: _mm512_loadu_ps, splat_f32: splat, multiply: _mm512_mul_ps,
        add: _mm512_add_ps, store: _mm512_storeu_ps,
    }
}

/// # Safety
/// `values` must be valid for reads of thirty-two values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn widen_pairs(values: *const i8) -> __m512i {
    // SAFETY: by the contract.
    _mm512_cvtepi8_epi16(unsafe { _mm256_loadu_si256(values.cast::<__m256i>()) })
}

/// # Safety
/// `values` must be valid for reads of thirty-two values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_pairs(values: *const i16) -> __m512i {
    // SAFETY: by the contract.
    unsafe { _mm512_loadu_si512(values.cast()) }
}

/// # Safety
/// `pair` must be valid for reads of two values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn splat_pair(pair: *const i16) -> __m512i {
    // SAFETY: by the contract.
    _mm512_set1_epi32(unsafe { pair.cast::<i32>().read_unaligned() })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn multiply_add_pairs(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(sums, _mm512_madd_epi16(a, b))
}

/// # Safety
/// As `Kernels::widen_int8`, and the machine has the instructions of this file.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn widen_int8(stored: *const i8, values: *mut i16, count: usize) {
    for i in (0..count).step_by(32) {
        // SAFETY: `count` is a multiple of thirty-two, by the contract.
        unsafe {
            let bytes = _mm256_loadu_si256(stored.add(i).cast::<__m256i>());
            _mm512_storeu_si512(values.add(i).cast(), _mm512_cvtepi8_epi16(bytes));
        }
    }
}

coded_widening! {
    features: ["avx512f,avx512bw,avx512dq,avx512vl"],
    vectors: 2, lanes: 16, vector: __m512i,
    load_bytes: load_bytes, shift_left: shift_left, shift_right: shift_right,
    and: and, or: _mm512_or_si512, subtract: subtract, to_f32: _mm512_cvtepi32_ps,
    load_half: load_half, load_e4m3: load_e4m3, load_e5m2: load_e5m2,
    load_f32: _mm512_loadu_ps, splat_f32: splat, multiply: _mm512_mul_ps,
    subtract_f32: _mm512_sub_ps, store: _mm512_storeu_ps,
}

/// # Safety
/// `bytes` must be valid for reads of sixteen.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_bytes(bytes: *const u8) -> __m512i {
    // SAFETY: by the contract.
    _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(bytes.cast()) })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn shift_left(values: __m512i, bits: usize) -> __m512i {
    _mm512_sll_epi32(values, _mm_cvtsi32_si128(bits as i32))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn shift_right(values: __m512i, bits: usize) -> __m512i {
    _mm512_srl_epi32(values, _mm_cvtsi32_si128(bits as i32))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn and(values: __m512i, mask: i32) -> __m512i {
    _mm512_and_si512(values, _mm512_set1_epi32(mask))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn subtract(values: __m512i, number: i32) -> __m512i {
    _mm512_sub_epi32(values, _mm512_set1_epi32(number))
}

/// # Safety
/// `bytes` must be valid for reads of sixteen numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_half(bytes: *const u8) -> __m512 {
    // SAFETY: by the contract.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(bytes.cast()) })
}

/// # Safety
/// `bytes` must be valid for reads of sixteen numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_e5m2(bytes: *const u8) -> __m512 {
    // SAFETY: by the contract.
    let bytes = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.cast()) });
    _mm512_cvtph_ps(_mm256_slli_epi16::<8>(bytes))
}

/// By way of an f16: the same mantissa, and an exponent that is 8 too small, numbers below the normal
/// ones among them.
///
/// # Safety
/// `bytes` must be valid for reads of sixteen numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_e4m3(bytes: *const u8) -> __m512 {
    // SAFETY: by the contract.
    let bytes = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(bytes.cast()) });
    let magnitude = _mm256_slli_epi16::<7>(_mm256_and_si256(bytes, _mm256_set1_epi16(0x7f)));
    let sign = _mm256_slli_epi16::<8>(_mm256_and_si256(bytes, _mm256_set1_epi16(0x80)));
    let values = _mm512_cvtph_ps(_mm256_or_si256(magnitude, sign));
    let values = _mm512_mul_ps(values, _mm512_set1_ps(256.0));
    // What would be 480 is no number.
    let absolute = _mm512_abs_ps(values);
    let none = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(absolute, _mm512_set1_ps(448.0));
    _mm512_mask_mov_ps(values, none, _mm512_set1_ps(f32::NAN))
}

coded_products! {
    features: ["avx512f,avx512bw,avx512dq,avx512vl"],
    vectors: 2, lanes: 16, vector: __m512,
    load_bytes: load_bytes, load_signed: load_signed,
    shift_right: shift_right, and: and, to_f32: _mm512_cvtepi32_ps,
    load_half: load_half, load_e4m3: load_small_e4m3, load_e5m2: load_e5m2,
    zero: _mm512_setzero_ps, splat: splat, multiply: _mm512_mul_ps,
    multiply_add: _mm512_fmadd_ps, store: _mm512_storeu_ps,
}

/// Eight-bit floats, but for NaN, divided by 256: sign and the other bits where an f16 has them.
///
/// # Safety
/// `bytes` must be valid for reads of sixteen numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_small_e4m3(bytes: *const u8) -> __m512 {
    // SAFETY: by the contract.
    let bytes = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(bytes.cast()) });
    // The sign lies in the two highest bits now: the second is not meant.
    let bits = _mm256_and_si256(_mm256_slli_epi16::<7>(bytes), _mm256_set1_epi16(!0x4000));
    _mm512_cvtph_ps(bits)
}

/// # Safety
/// `bytes` must be valid for reads of sixteen.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load_signed(bytes: *const u8) -> __m512i {
    // SAFETY: by the contract.
    _mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(bytes.cast()) })
}
