//! Passes over rows, written as plain loops and compiled for every instruction set of
//! [`Isa`](super::Isa); the device's choice picks, through [`Simd`].
//!
//! Sums run over a fixed number of lanes in a fixed order, so one instruction set gives the same bits
//! always. Two of them may differ in the last bits: where there is a fused multiply-add, it is used.

pub(super) mod math;
mod rows;

pub(super) use rows::*;

use super::kernels::{Isa, Kernels};

/// The vector instructions that a device uses. Only what the machine has can be had: it comes from the
/// device's kernels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Simd(Isa);

impl Simd {
    /// Those that `kernels` are written for, which the machine has ([`Kernels::of`] saw to it).
    pub fn of(kernels: &Kernels) -> Self {
        Self(kernels.isa)
    }

    /// What it is.
    pub fn isa(self) -> Isa {
        self.0
    }
}

/// Compiles functions for each instruction set and picks at run time. In the bodies, `FMA` says whether
/// [`math::multiply_add`] fuses, and `LANES` how many values fill two registers.
macro_rules! vectorised {
    ($(
        $(#[$attribute:meta])*
        pub fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block
    )*) => {$(
        $(#[$attribute])*
        #[expect(
            unsafe_code,
            reason = "a function compiled for some instructions wants the proof that they are there"
        )]
        pub fn $name(simd: $crate::cpu::simd::Simd, $($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            fn generic<const FMA: bool, const LANES: usize>($($arg: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) $(-> $result)? {
                generic::<true, 16>($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $type),*) $(-> $result)? {
                generic::<true, 32>($($arg),*)
            }

            match simd.isa() {
                // SAFETY: a `Simd` of these instructions exists only where they do.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx512 | $crate::Isa::Amx => unsafe { avx512($($arg),*) },
                _ => generic::<false, 8>($($arg),*),
            }
        }
    )*};
}

pub(super) use vectorised;
