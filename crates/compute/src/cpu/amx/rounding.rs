//! From f32 to what tiles multiply, row by row.

use crate::cpu::simd::vectorised;

/// The largest byte: -127 to 127, so that the scale is the same on both sides.
const LARGEST_BYTE: f32 = 127.0;

vectorised! {
    /// To the nearest bf16, ties to the even one, as PyTorch rounds; NaN stays NaN.
    pub fn to_bf16(output: &mut [u16], values: &[f32]) {
        for (output, value) in output.iter_mut().zip(values) {
            let bits = value.to_bits();
            let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) >> 16;
            // Quiet, so that cutting the lower half off cannot leave an infinity.
            let quiet = (bits >> 16) | 0x40;
            let nan = bits & 0x7fff_ffff > 0x7f80_0000;
            *output = if nan { quiet } else { rounded } as u16;
        }
    }

    /// `value * factor` to the nearest byte of -127 to 127, ties to the even one.
    pub fn to_int8(output: &mut [i8], values: &[f32], factor: f32) {
        /// Adding 1.5 · 2²³ rounds to the nearest integer and leaves it in the low bits.
        const ROUND: f32 = 12_582_912.0;
        for (output, value) in output.iter_mut().zip(values) {
            let scaled = value * factor;
            let low = if scaled < LARGEST_BYTE { scaled } else { LARGEST_BYTE };
            let limited = if low > -LARGEST_BYTE { low } else { -LARGEST_BYTE };
            *output = (limited + ROUND).to_bits() as i8;
        }
    }

    /// The largest absolute value; not finite if one of them is not.
    pub fn largest(values: &[f32]) -> f32 {
        // As integers: there, infinity is above all numbers and NaN above infinity.
        let bits = values.iter().map(|value| value.to_bits() & 0x7fff_ffff);
        f32::from_bits(bits.fold(0, u32::max))
    }

    /// `output = sum * factor * scale`, column by column.
    pub fn scale_sums(output: &mut [f32], sums: &[i32], factor: f32, scales: &[f32]) {
        for (output, (sum, scale)) in output.iter_mut().zip(sums.iter().zip(scales)) {
            *output = *sum as f32 * (factor * scale);
        }
    }
}

/// What bytes are multiplied by to give values up to `largest`. Never zero, and not finite if that is
/// not.
pub fn scale_for(largest: f32) -> f32 {
    /// Below, one over it would not be finite; all such values round to zero.
    const SMALLEST_SCALE: f32 = 1e-30;
    let scale = largest / LARGEST_BYTE;
    if scale < SMALLEST_SCALE {
        SMALLEST_SCALE
    } else {
        scale
    }
}

#[cfg(test)]
mod tests {
    use super::{largest, scale_for, to_bf16, to_int8};
    use crate::cpu::{
        kernels::{Isa, Kernels},
        simd::Simd,
    };

    fn all() -> impl Iterator<Item = Simd> {
        let sets = Isa::under_test().into_iter();
        sets.map(|isa| Simd::of(Kernels::of(isa)))
    }

    #[test]
    fn bf16_is_the_nearest_ties_to_even() {
        let values = [
            1.0,
            -2.5,
            f32::from_bits(0x3f80_8000),
            f32::from_bits(0x3f81_8000),
            f32::from_bits(0x3f80_8001),
            f32::MAX,
            f32::NEG_INFINITY,
            f32::from_bits(0x7f80_0001),
            f32::from_bits(0xffff_ffff),
        ];
        let expected = [
            0x3f80, 0xc020, 0x3f80, 0x3f82, 0x3f81, 0x7f80, 0xff80, 0x7fc0, 0xffff,
        ];
        for simd in all() {
            let mut found = [0; 9];
            to_bf16(simd, &mut found, &values);
            assert_eq!(found, expected, "{simd:?}");
        }
    }

    #[test]
    fn bytes_are_the_nearest_ties_to_even_and_limited() {
        for simd in all() {
            let mut found = [99; 7];
            let values = [0.5, 1.5, -2.4, -2.6, 1e9, f32::NEG_INFINITY, -0.0];
            to_int8(simd, &mut found, &values, 1.0);
            assert_eq!(found, [0, 2, -2, -3, 127, -127, 0], "{simd:?}");
        }
    }

    #[test]
    fn scales_follow_the_largest_value_and_show_what_is_not_finite() {
        for simd in all() {
            assert_eq!(scale_for(largest(simd, &[1.0, -254.0, 3.0])), 2.0);
            assert!(scale_for(largest(simd, &[0.0; 3])) > 0.0);
            assert!(scale_for(largest(simd, &[1.0, f32::NAN, f32::INFINITY])).is_nan());
            assert_eq!(
                scale_for(largest(simd, &[1.0, f32::NEG_INFINITY])),
                f32::INFINITY
            );
        }
    }
}
