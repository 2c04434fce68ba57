//! Passes over short rows, written as plain loops and compiled twice: for AVX2 and for the baseline.
//!
//! No fused multiply-add is written here, so both give the same bits; sums run over a fixed number of
//! lanes in a fixed order.
#![expect(
    unsafe_code,
    reason = "calling a function compiled for AVX2 needs the check for AVX2 first"
)]

use crate::Activation;

/// Lanes of a sum: two AVX registers, enough to hide the latency of an addition.
const LANES: usize = 16;

/// Compiles a function for AVX2 beside the baseline, and picks at run time.
macro_rules! vectorised {
    ($($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$doc])*
        pub fn $name($($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            fn generic($($arg: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $type),*) $(-> $result)? {
                    generic($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: just detected.
                    return unsafe { avx2($($arg),*) };
                }
            }
            generic($($arg),*)
        }
    )*};
}

vectorised! {
    /// `x += y`
    pub fn add(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }

    /// `x *= y`
    pub fn multiply(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x *= y;
        }
    }

    /// `x *= factor`
    pub fn scale(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }

    /// `x = residual + gate * x`
    pub fn gate_add(x: &mut [f32], gate: &[f32], residual: &[f32]) {
        for ((x, gate), residual) in x.iter_mut().zip(gate).zip(residual) {
            *x = residual + gate * *x;
        }
    }

    /// `output = (x - mean) * factor * weight + bias`
    pub fn affine(output: &mut [f32], x: &[f32], moments: Moments, weight: &[f32], bias: &[f32]) {
        let pairs = output.iter_mut().zip(x);
        for ((out, x), (weight, bias)) in pairs.zip(weight.iter().zip(bias)) {
            *out = (x - moments.mean) * moments.factor * weight + bias;
        }
    }

    /// `output = (x - mean) * factor * (1 + scale) + shift`
    pub fn modulate(output: &mut [f32], x: &[f32], moments: Moments, scale: &[f32], shift: &[f32]) {
        let pairs = output.iter_mut().zip(x);
        for ((out, x), (scale, shift)) in pairs.zip(scale.iter().zip(shift)) {
            *out = (x - moments.mean) * moments.factor * (1.0 + scale) + shift;
        }
    }

    /// `x = x * a + b` channel by channel of every pixel, then SiLU if asked.
    pub fn channel_affine(pixels: &mut [f32], a: &[f32], b: &[f32], silu: bool) {
        for pixel in pixels.chunks_exact_mut(a.len()) {
            for (x, (a, b)) in pixel.iter_mut().zip(a.iter().zip(b)) {
                let y = *x * a + b;
                *x = if silu { y * sigmoid(y) } else { y };
            }
        }
    }

    /// `output = x * factor * weight`
    pub fn scale_by(output: &mut [f32], x: &[f32], factor: f32, weight: &[f32]) {
        for ((out, x), weight) in output.iter_mut().zip(x).zip(weight) {
            *out = x * factor * weight;
        }
    }

    /// The sum.
    pub fn sum(x: &[f32]) -> f32 {
        reduce(x, |x| x)
    }

    /// The sum of squares.
    pub fn sum_of_squares(x: &[f32]) -> f32 {
        reduce(x, |x| x * x)
    }

    /// The sum of squared distances from `mean`.
    pub fn sum_of_squares_around(x: &[f32], mean: f32) -> f32 {
        reduce(x, |x| (x - mean) * (x - mean))
    }

    /// The greatest value.
    pub fn max(x: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let chunks = x.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane = if *x > *lane { *x } else { *lane };
            }
        }
        lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
    }

    /// `x = exp(x - max)`; returns the sum.
    pub fn exp_and_sum(x: &mut [f32], max: f32) -> f32 {
        for x in x.iter_mut() {
            *x = exp(*x - max);
        }
        reduce(x, |x| x)
    }

    /// Adds each pixel's channels, and their squares, onto per-channel sums in f64.
    pub fn channel_sums(pixels: &[f32], sums: &mut [f64], squares: &mut [f64]) {
        for pixel in pixels.chunks_exact(sums.len()) {
            for ((x, sum), square) in pixel.iter().zip(sums.iter_mut()).zip(squares.iter_mut()) {
                let x = f64::from(*x);
                *sum += x;
                *square += x * x;
            }
        }
    }

    /// `x = activation(x)`
    pub fn activate(x: &mut [f32], activation: Activation) {
        match activation {
            Activation::Gelu => x.iter_mut().for_each(|x| {
                *x = crate::reference::activate(Activation::Gelu, f64::from(*x)) as f32;
            }),
            // 0.5 x (1 + tanh u) = x · sigmoid(2u)
            Activation::GeluTanh => x.iter_mut().for_each(|x| {
                *x *= sigmoid(2.0 * 0.797_884_6 * (*x + 0.044_715 * *x * *x * *x));
            }),
            Activation::QuickGelu => x.iter_mut().for_each(|x| *x *= sigmoid(1.702 * *x)),
            Activation::Silu => x.iter_mut().for_each(|x| *x *= sigmoid(*x)),
            Activation::Relu => x.iter_mut().for_each(|x| *x = if *x > 0.0 { *x } else { 0.0 }),
        }
    }
}

/// What a normalisation subtracts and multiplies by.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// Subtracted.
    pub mean: f32,
    /// Multiplied by: one over the standard deviation.
    pub factor: f32,
}

impl Moments {
    /// Of one row, the variance over all its values.
    pub fn of(x: &[f32], eps: f32) -> Self {
        let mean = sum(x) / x.len() as f32;
        let variance = sum_of_squares_around(x, mean) / x.len() as f32;
        Self {
            mean,
            factor: 1.0 / (variance + eps).sqrt(),
        }
    }
}

#[inline(always)]
fn reduce(x: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().map(|&x| term(x)).sum();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += term(*x);
        }
    }
    // Halving keeps the rounding error of the last additions small and the order fixed.
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0] + rest
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// e^x to about one unit in the last place: x = n ln 2 + r with |r| ≤ ½ ln 2, and the polynomial of
/// Cephes' `expf` for e^r (<https://www.netlib.org/cephes/>, single/expf.c). 0 below -87, and e^88
/// above 88.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding 1.5 · 2²³ rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x < 88.0 { x } else { 88.0 };
    let clamped = if clamped > -87.0 { clamped } else { -87.0 };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let power = f32::from_bits(exponent.wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { y * power }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_right_to_the_last_places() {
        for step in -8_700..8_800 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 2e-7, "exp({x}) is off by {error:e}");
        }
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }
}
