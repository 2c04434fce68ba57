//! AVX2 and FMA: blocks of 6 × 16 take twelve of the sixteen registers, leave two for B and one for A,
//! and do twelve multiply-adds for eight loads.

use std::arch::x86_64::{
    __m128i, __m256, _MM_HINT_T0, _mm_loadu_si128, _mm_prefetch, _mm256_add_ps,
    _mm256_broadcast_ss, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_storeu_ps,
};

use super::{Isa, Kernels, Source, Target, block::block_products};

pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Avx2,
    rows: ROWS,
    columns: COLUMNS,
    // A chunk of a panel of B is 16 KiB, half of the first-level cache; A's rows pass through the rest.
    depth: 256,
    product,
    product_rows,
    thin_f32,
    thin_bf16,
    widen,
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
