//! AVX-512: blocks of 14 × 32 take twenty-eight of the thirty-two registers, leave two for B and one
//! for A.

use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use super::{Isa, Kernels, block::block_product};

pub(super) static KERNELS: Kernels = Kernels {
    isa: Isa::Avx512,
    rows: ROWS,
    columns: COLUMNS,
    product,
};

block_product! {
    #[target_feature(enable = "avx512f")]
    rows: 14, vectors: 2, lanes: 16, vector: __m512,
    zero: _mm512_setzero_ps, load: _mm512_loadu_ps, splat: splat,
    multiply_add: _mm512_fmadd_ps, add: _mm512_add_ps, store: _mm512_storeu_ps,
}

/// # Safety
/// `value` must be valid for a read.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn splat(value: *const f32) -> __m512 {
    // SAFETY: by the contract.
    _mm512_set1_ps(unsafe { *value })
}
