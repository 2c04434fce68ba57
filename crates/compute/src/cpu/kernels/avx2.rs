//! AVX2 and FMA: blocks of 6 × 16 take twelve of the sixteen registers, leave two for B and one for A,
//! and do twelve multiply-adds for eight loads.

use std::arch::{
    asm,
    x86_64::{
        __m128i, __m256, __m256i, _CMP_GT_OQ, _MM_HINT_T0, _mm_and_si128, _mm_cvtepi8_epi16,
        _mm_cvtepu8_epi16, _mm_cvtsi32_si128, _mm_loadl_epi64, _mm_loadu_si128, _mm_or_si128,
        _mm_prefetch, _mm_set1_epi16, _mm_slli_epi16, _mm256_add_epi32, _mm256_add_ps,
        _mm256_and_si256, _mm256_andnot_ps, _mm256_broadcast_ss, _mm256_castsi256_ps,
        _mm256_cmp_ps, _mm256_cvtepi8_epi16, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
        _mm256_cvtepu8_epi32, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_fmadd_ps,
        _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_or_ps,
        _mm256_or_si256, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_setzero_si256, _mm256_sll_epi32, _mm256_slli_epi32, _mm256_srl_epi32,
        _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_epi32, _mm256_sub_ps,
    },
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
    isa: Isa::Avx2,
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
    features: ["avx2,fma"],
    rows: 6, vectors: 2, lanes: 8, vector: __m256,
    zero: _mm256_setzero_ps, load: _mm256_loadu_ps, load_bf16: load_bf16, splat: splat,
    multiply_add: _mm256_fmadd_ps, add: _mm256_add_ps, store: _mm256_storeu_ps, prefetch: prefetch,
}

/// # Safety
/// `value` must be valid for a read.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn splat(value: *const f32) -> __m256 {
    // SAFETY: by the contract.
    _mm256_broadcast_ss(unsafe { &*value })
}

/// # Safety
/// `values` must be valid for reads of eight values.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_bf16(values: *const u16) -> __m256 {
    // SAFETY: by the contract.
    let values = unsafe { _mm_loadu_si128(values.cast::<__m128i>()) };
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(values)))
}

/// Any address may be prefetched.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn prefetch(value: *const f32) {
    _mm_prefetch::<_MM_HINT_T0>(value.cast());
}

/// # Safety
/// As `Kernels::widen`, and the machine has the instructions of this file.
#[target_feature(enable = "avx2,fma")]
unsafe fn widen(stored: *const u16, values: *mut f32, count: usize) {
    for i in (0..count).step_by(8) {
        // SAFETY: `count` is a multiple of eight, by the contract.
        unsafe { _mm256_storeu_ps(values.add(i), load_bf16(stored.add(i))) };
    }
}

int8_product! {
    features: ["avx2,fma"],
    vectors: 2, lanes: 8, vector: __m256i,
    zero: _mm256_setzero_si256, load: load_pairs, widen: widen_pairs, splat: splat_pair,
    multiply_add: multiply_add_pairs, to_f32: _mm256_cvtepi32_ps,
    load_f32: _mm256_loadu_ps, splat_f32: splat, multiply: _mm256_mul_ps,
    add: _mm256_add_ps, store: _mm256_storeu_ps,
}

/// The product of integers with VNNI.
mod vnni {
    use std::arch::x86_64::_mm256_dpwssd_avx_epi32;

    use super::{super::int8::int8_product, *};

    int8_product! {
        features: ["avx2,fma,avxvnni"],
        vectors: 2, lanes: 8, vector: __m256i,
        zero: _mm256_setzero_si256, load: load_pairs, widen: widen_pairs, splat: splat_pair,
        multiply_add: _mm256_dpwssd_avx_epi32, to_f32: _mm256_cvtepi32_ps,
        load_f32: _mm256_loadu_ps, splat_f32: splat, multiply: _mm256_mul_ps,
        add: _mm256_add_ps, store: _mm256_storeu_ps,
    }
}

/// # Safety
/// `values` must be valid for reads of sixteen values.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn widen_pairs(values: *const i8) -> __m256i {
    // SAFETY: by the contract.
    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(values.cast()) })
}

/// # Safety
/// `values` must be valid for reads of sixteen values.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_pairs(values: *const i16) -> __m256i {
    // SAFETY: by the contract.
    unsafe { _mm256_loadu_si256(values.cast()) }
}

/// # Safety
/// `pair` must be valid for reads of two values.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn splat_pair(pair: *const i16) -> __m256i {
    // SAFETY: by the contract.
    _mm256_set1_epi32(unsafe { pair.cast::<i32>().read_unaligned() })
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn multiply_add_pairs(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(sums, _mm256_madd_epi16(a, b))
}

/// # Safety
/// As `Kernels::widen_int8`, and the machine has the instructions of this file.
#[target_feature(enable = "avx2,fma")]
unsafe fn widen_int8(stored: *const i8, values: *mut i16, count: usize) {
    for i in (0..count).step_by(16) {
        // SAFETY: `count` is a multiple of sixteen, by the contract.
        unsafe {
            let bytes = _mm_loadu_si128(stored.add(i).cast());
            _mm256_storeu_si256(values.add(i).cast(), _mm256_cvtepi8_epi16(bytes));
        }
    }
}

coded_widening! {
    features: ["avx2,fma,f16c"],
    vectors: 2, lanes: 8, vector: __m256i,
    load_bytes: load_bytes, shift_left: shift_left, shift_right: shift_right,
    and: and, or: _mm256_or_si256, subtract: subtract, to_f32: _mm256_cvtepi32_ps,
    load_half: load_half, load_e4m3: load_e4m3, load_e5m2: load_e5m2,
    load_f32: _mm256_loadu_ps, splat_f32: splat, multiply: _mm256_mul_ps,
    subtract_f32: _mm256_sub_ps, store: _mm256_storeu_ps,
}

/// # Safety
/// `bytes` must be valid for reads of eight.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_bytes(bytes: *const u8) -> __m256i {
    // SAFETY: by the contract.
    opaque(_mm256_cvtepu8_epi32(unsafe {
        _mm_loadl_epi64(bytes.cast())
    }))
}

/// The same: the compiler would rather take bits out of bytes and widen each time, which is more work.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn opaque(mut values: __m256i) -> __m256i {
    // SAFETY: no instruction at all.
    unsafe {
        asm!("/* {0} */", inout(ymm_reg) values, options(pure, nomem, nostack, preserves_flags))
    };
    values
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn shift_left(values: __m256i, bits: usize) -> __m256i {
    _mm256_sll_epi32(values, _mm_cvtsi32_si128(bits as i32))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn shift_right(values: __m256i, bits: usize) -> __m256i {
    _mm256_srl_epi32(values, _mm_cvtsi32_si128(bits as i32))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn and(values: __m256i, mask: i32) -> __m256i {
    _mm256_and_si256(values, _mm256_set1_epi32(mask))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn subtract(values: __m256i, number: i32) -> __m256i {
    _mm256_sub_epi32(values, _mm256_set1_epi32(number))
}

/// # Safety
/// `bytes` must be valid for reads of eight numbers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_half(bytes: *const u8) -> __m256 {
    // SAFETY: by the contract.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(bytes.cast()) })
}

/// # Safety
/// `bytes` must be valid for reads of eight numbers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_e5m2(bytes: *const u8) -> __m256 {
    // SAFETY: by the contract.
    let bytes = _mm_cvtepu8_epi16(unsafe { _mm_loadl_epi64(bytes.cast()) });
    _mm256_cvtph_ps(_mm_slli_epi16::<8>(bytes))
}

/// By way of an f16: the same mantissa, and an exponent that is 8 too small, numbers below the normal
/// ones among them.
///
/// # Safety
/// `bytes` must be valid for reads of eight numbers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_e4m3(bytes: *const u8) -> __m256 {
    // SAFETY: by the contract.
    let bytes = _mm_cvtepu8_epi16(unsafe { _mm_loadl_epi64(bytes.cast()) });
    let magnitude = _mm_slli_epi16::<7>(_mm_and_si128(bytes, _mm_set1_epi16(0x7f)));
    let sign = _mm_slli_epi16::<8>(_mm_and_si128(bytes, _mm_set1_epi16(0x80)));
    let values = _mm256_cvtph_ps(_mm_or_si128(magnitude, sign));
    let values = _mm256_mul_ps(values, _mm256_set1_ps(256.0));
    // What would be 480 is no number: all ones.
    let absolute = _mm256_andnot_ps(_mm256_set1_ps(-0.0), values);
    let none = _mm256_cmp_ps::<_CMP_GT_OQ>(absolute, _mm256_set1_ps(448.0));
    _mm256_or_ps(values, none)
}

coded_products! {
    features: ["avx2,fma,f16c"],
    vectors: 2, lanes: 8, vector: __m256,
    load_bytes: load_bytes, load_signed: load_signed,
    shift_right: shift_right, and: and, to_f32: _mm256_cvtepi32_ps,
    load_half: load_half, load_e4m3: load_small_e4m3, load_e5m2: load_e5m2,
    zero: _mm256_setzero_ps, splat: splat, multiply: _mm256_mul_ps,
    multiply_add: _mm256_fmadd_ps, store: _mm256_storeu_ps,
}

/// Eight-bit floats, but for NaN, divided by 256: sign and the other bits where an f16 has them.
///
/// # Safety
/// `bytes` must be valid for reads of eight numbers.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_small_e4m3(bytes: *const u8) -> __m256 {
    // SAFETY: by the contract.
    let bytes = _mm_cvtepi8_epi16(unsafe { _mm_loadl_epi64(bytes.cast()) });
    // The sign lies in the two highest bits now: the second is not meant.
    let bits = _mm_and_si128(_mm_slli_epi16::<7>(bytes), _mm_set1_epi16(!0x4000));
    _mm256_cvtph_ps(bits)
}

/// # Safety
/// `bytes` must be valid for reads of eight.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_signed(bytes: *const u8) -> __m256i {
    // SAFETY: by the contract.
    _mm256_cvtepi8_epi32(unsafe { _mm_loadl_epi64(bytes.cast()) })
}
