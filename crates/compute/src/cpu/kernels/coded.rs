//! The text of the widening of coded weights ([`coded`](crate::cpu::coded)), written once and compiled
//! for each instruction set.

/// Steps of quants under one scale in each column, see `Kernels::widen_quants`.
#[derive(Clone, Copy, Debug)]
pub struct Quants {
    /// Bits of a quant.
    pub bits: usize,
    /// The quant that means zero.
    pub offset: i32,
    /// How many times eight steps of the depth.
    pub steps: usize,
    /// The planes of each, as [`layout`](crate::cpu::coded::layout) has them.
    pub bytes: *const u8,
    /// One for each column.
    pub scales: *const f32,
    /// What is subtracted in each column, if anything is.
    pub mins: Option<*const f32>,
    /// `[depth][columns]`
    pub target: *mut f32,
}

/// A type of single numbers, see `Kernels::widen_numbers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// IEEE half precision.
    Half,
    /// Eight bits, four of exponent.
    E4m3,
    /// Eight bits, five of exponent.
    E5m2,
}

impl Number {
    /// Bytes of one.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Half => 2,
            Self::E4m3 | Self::E5m2 => 1,
        }
    }
}

/// Defines `widen_quants` and `widen_numbers` for panels of `COLUMNS`. The operations: on integers of 32
/// bits `load_bytes(*const u8)`, `shift_left(v, n)`, `shift_right(v, n)`, `and(v, mask)`, `or(v, w)`,
/// `subtract(v, n)`, `to_f32(v)`; loads of a vector of numbers, `load_half(*const u8)`,
/// `load_e4m3(*const u8)`, `load_e5m2(*const u8)`; and those of f32 as in `block_products`.
macro_rules! coded_widening {
    (
        features: $features:tt,
        vectors: $vectors:expr, lanes: $lanes:expr, vector: $integers:ty,
        load_bytes: $load_bytes:path, shift_left: $shift_left:path, shift_right: $shift_right:path,
        and: $and:path, or: $or:path, subtract: $subtract:path, to_f32: $to_f32:path,
        load_half: $load_half:path, load_e4m3: $load_e4m3:path, load_e5m2: $load_e5m2:path,
        load_f32: $load_f32:path, splat_f32: $splat_f32:path, multiply: $multiply:path,
        subtract_f32: $subtract_f32:path, store: $store:path $(,)?
    ) => {
        /// # Safety
        /// As `Kernels::widen_quants`, and the machine has the instructions of this file.
        unsafe fn widen_quants(quants: Quants) {
            // SAFETY: by this function's contract.
            unsafe {
                match (quants.bits, quants.mins) {
                    (2, Some(mins)) => quants_of::<2, true>(quants, mins),
                    (3, None) => quants_of::<3, false>(quants, quants.scales),
                    (4, None) => quants_of::<4, false>(quants, quants.scales),
                    (4, Some(mins)) => quants_of::<4, true>(quants, mins),
                    (5, None) => quants_of::<5, false>(quants, quants.scales),
                    (5, Some(mins)) => quants_of::<5, true>(quants, mins),
                    (6, None) => quants_of::<6, false>(quants, quants.scales),
                    (8, None) => quants_of::<8, false>(quants, quants.scales),
                    _ => unreachable!("no format has such quants; this is a bug"),
                }
            }
        }

        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// As `Kernels::widen_quants` for `BITS`, with these minimums.
        unsafe fn quants_of<const BITS: usize, const MIN: bool>(quants: Quants, mins: *const f32) {
            for v in 0..$vectors {
                // SAFETY: offsets stay below `steps * BITS * COLUMNS` bytes of planes, `COLUMNS` scales
                // and minimums, and `steps * 8 * COLUMNS` values of the target, as the contract allows.
                unsafe {
                    let scale = $load_f32(quants.scales.add(v * $lanes));
                    let min = $load_f32(mins.add(v * $lanes));
                    for step in 0..quants.steps {
                        let bytes = quants.bytes.add(step * BITS * COLUMNS + v * $lanes);
                        let target = quants.target.add(step * 8 * COLUMNS + v * $lanes);
                        for k in 0..8 {
                            let quant = quant::<BITS>(bytes, k);
                            let quant = $to_f32($subtract(quant, quants.offset));
                            let value = $multiply(quant, scale);
                            let value = if MIN { $subtract_f32(value, min) } else { value };
                            $store(target.add(k * COLUMNS), value);
                        }
                    }
                }
            }
        }}

        $crate::cpu::kernels::block::with_features! { $features
        /// The quant of step `k`, of some columns.
        ///
        /// # Safety
        /// `bytes` must be valid for reads of all planes from these columns on.
        #[inline]
        unsafe fn quant<const BITS: usize>(bytes: *const u8, k: usize) -> $integers {
            let [low, high] = const { $crate::cpu::coded::planes(BITS) };
            // SAFETY: by the contract.
            unsafe {
                let quant = plane(bytes, low, k);
                if high == 0 {
                    return quant;
                }
                let bits = plane(bytes.add(low * COLUMNS), high, k);
                $or(quant, $shift_left(bits, low))
            }
        }}

        $crate::cpu::kernels::block::with_features! { $features
        /// The `n` bits of step `k` of a plane, of some columns.
        ///
        /// # Safety
        /// `bytes` must be valid for reads of a plane from these columns on.
        #[inline]
        unsafe fn plane(bytes: *const u8, n: usize, k: usize) -> $integers {
            let each = 8 / n;
            // SAFETY: `k` is below eight, and a plane has `n` rows.
            let row = unsafe { $load_bytes(bytes.add(k / each * COLUMNS)) };
            if n == 8 {
                return row;
            }
            $and($shift_right(row, k % each * n), (1 << n) - 1)
        }}

        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// As `Kernels::widen_numbers`, and the machine has the instructions of this file.
        unsafe fn widen_numbers(number: Number, bytes: *const u8, scale: f32, target: &mut [f32]) {
            // SAFETY: the bytes are as many numbers as the target has, whole vectors of them.
            unsafe {
                let scale = $splat_f32(&scale);
                let vectors = target.chunks_exact_mut($lanes).enumerate();
                match number {
                    Number::Half => for (i, target) in vectors {
                        let value = $load_half(bytes.add(2 * $lanes * i));
                        $store(target.as_mut_ptr(), $multiply(value, scale));
                    },
                    Number::E4m3 => for (i, target) in vectors {
                        let value = $load_e4m3(bytes.add($lanes * i));
                        $store(target.as_mut_ptr(), $multiply(value, scale));
                    },
                    Number::E5m2 => for (i, target) in vectors {
                        let value = $load_e5m2(bytes.add($lanes * i));
                        $store(target.as_mut_ptr(), $multiply(value, scale));
                    },
                }
            }
        }}
    };
}

pub(in crate::cpu::kernels) use coded_widening;
