//! AVX2 and FMA: blocks of 6 × 16 take twelve of the sixteen registers, leave two for B and one for A,
//! and do twelve multiply-adds for eight loads.

use std::arch::x86_64::{
    __m256, _mm256_add_ps, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_setzero_ps, _mm256_storeu_ps,
};

use super::{Isa, Kernels, block::block_product};

pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Avx2,
    rows: ROWS,
    columns: COLUMNS,
    product,
};

block_product! {
    #[target_feature(enable = "avx2,fma")]
    rows: 6, vectors: 2, lanes: 8, vector: __m256,
    zero: _mm256_setzero_ps, load: _mm256_loadu_ps, splat: splat,
    multiply_add: _mm256_fmadd_ps, add: _mm256_add_ps, store: _mm256_storeu_ps,
}

/// # Safety
/// `value` must be valid for a read.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn splat(value: *const f32) -> __m256 {
    // SAFETY: by the contract.
    _mm256_broadcast_ss(unsafe { &*value })
}
