//! Vectors of eight values, for the transformations that are written once for two instruction sets.
#![expect(
    unsafe_code,
    reason = "vectors are loaded from pointers, and AVX2 must have been detected"
)]

/// Eight values.
///
/// # Safety of all functions
/// Pointers must be valid for eight values; the machine must have the instructions of the type.
pub(super) trait Lanes: Copy {
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn splat(value: f32) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    /// `self * factor + other`
    unsafe fn multiply_add(self, factor: f32, other: Self) -> Self;
    /// `self * factor`
    unsafe fn scale(self, factor: f32) -> Self;
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; 8]);

impl Plain {
    #[inline(always)]
    fn map(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Plain {
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: by the trait's contract; an array has the alignment of its values.
        Self(unsafe { from.cast::<[f32; 8]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: by the trait's contract.
        unsafe { to.cast::<[f32; 8]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.map(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.map(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: f32, other: Self) -> Self {
        self.map(other, |a, b| a * factor + b)
    }

    #[inline(always)]
    unsafe fn scale(self, factor: f32) -> Self {
        self.map(self, |a, _| a * factor)
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_set1_ps,
        _mm256_storeu_ps, _mm256_sub_ps,
    };

    use super::Lanes;

    /// AVX2 with FMA.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    // SAFETY of all blocks: by the trait's contract, the machine has AVX2 and FMA and pointers are good
    // for eight values.
    impl Lanes for Avx2 {
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_sub_ps(self.0, other.0) })
        }

        #[inline(always)]
        unsafe fn multiply_add(self, factor: f32, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_fmadd_ps(self.0, _mm256_set1_ps(factor), other.0) })
        }

        #[inline(always)]
        unsafe fn scale(self, factor: f32) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_mul_ps(self.0, _mm256_set1_ps(factor)) })
        }
    }
}
