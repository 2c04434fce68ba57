//! To integers and scales: weights to eight bits, activations to sixteen, each row of a chunk of the
//! depth with its own scale. See [`int8`](super::kernels::int8) for why.

use super::{
    kernels::int8::{MAX_ACTIVATION, MAX_WEIGHT},
    simd::vectorised,
};

/// Adding 1.5 · 2²³ rounds to the nearest integer, ties to even, and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

vectorised! {
    /// Quantises `values` into `quantised` (which may be longer: zeros follow) and returns their scale,
    /// or NaN if one of them is not finite: then all that comes of them is NaN.
    pub fn activations(values: &[f32], quantised: &mut [i16]) -> f32 {
        let (scale, factor) = scale_and_factor(values, MAX_ACTIVATION);
        let (filled, rest) = quantised.split_at_mut(values.len());
        for (slot, value) in filled.iter_mut().zip(values) {
            *slot = (value * factor + ROUND).to_bits() as i16;
        }
        rest.fill(0);
        scale
    }
}

/// The same for weights.
pub fn weights(values: &[f32], quantised: &mut [i8]) -> f32 {
    let (scale, factor) = scale_and_factor(values, MAX_WEIGHT);
    for (slot, value) in quantised.iter_mut().zip(values) {
        *slot = (value * factor + ROUND).to_bits() as i8;
    }
    scale
}

/// What the integers are to be multiplied by, and what the values are multiplied by to become them.
#[inline(always)]
fn scale_and_factor(values: &[f32], greatest: f32) -> (f32, f32) {
    let bits = values
        .iter()
        .fold(0, |bits, value| value.abs().to_bits().max(bits));
    let peak = f32::from_bits(bits);
    if !peak.is_finite() {
        return (f32::NAN, 0.0);
    }
    // A peak below this has no finite factor; it is nothing beside anything else.
    if peak < f32::MIN_POSITIVE * greatest {
        return (0.0, 0.0);
    }
    (peak / greatest, greatest / peak)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{
        kernels::{Isa, Kernels},
        simd::Simd,
    };

    #[test]
    fn integers_times_the_scale_are_the_values_again() {
        let values = [1.0, -2.0, 0.3, 0.0, -1e-9];
        for isa in Isa::under_test() {
            let simd = Simd::of(Kernels::of(isa));
            let mut quantised = [7; 6];
            let scale = activations(simd, &values, &mut quantised);
            assert_eq!(quantised[1], -32_767);
            assert_eq!(quantised[5], 0, "what is behind the values is zero");
            for (value, integer) in values.iter().zip(quantised) {
                let error = (f32::from(integer) * scale - value).abs();
                assert!(error <= scale * 0.51, "{isa}: {value} is off by {error}");
            }
            assert_eq!(activations(simd, &[0.0, 1e-40], &mut quantised[..2]), 0.0);
            assert!(activations(simd, &[1.0, f32::NAN], &mut quantised[..2]).is_nan());
            assert!(activations(simd, &[1.0, f32::INFINITY], &mut quantised[..2]).is_nan());
        }
        let mut quantised = [0; 5];
        let scale = weights(&values, &mut quantised);
        assert_eq!(quantised, [64, -127, 19, 0, 0]);
        assert!((scale - 2.0 / 127.0).abs() < 1e-9);
    }
}
