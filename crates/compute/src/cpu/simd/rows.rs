//! Passes over rows of activations.

use super::{
    math::{gelu, multiply_add, sigmoid},
    vectorised,
};
use crate::Activation;

vectorised! {
    /// `x += y`
    pub fn add(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }

    /// `output = x + y`
    pub fn sum(output: &mut [f32], x: &[f32], y: &[f32]) {
        for (output, (x, y)) in output.iter_mut().zip(x.iter().zip(y)) {
            *output = x + y;
        }
    }

    /// `x *= y`
    pub fn multiply(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x *= y;
        }
    }

    /// `x = residual + gate * x`
    pub fn gate_add(x: &mut [f32], gate: &[f32], residual: &[f32]) {
        for ((x, gate), residual) in x.iter_mut().zip(gate).zip(residual) {
            *x = multiply_add::<FMA>(*gate, *x, *residual);
        }
    }

    /// Layer norm of one row: `output = (x - mean) * factor * weight + bias`.
    pub fn layer_norm(output: &mut [f32], x: &[f32], eps: f32, weight: &[f32], bias: &[f32]) {
        let (mean, factor) = moments::<FMA>(x, eps);
        let pairs = output.iter_mut().zip(x);
        for ((output, x), (weight, bias)) in pairs.zip(weight.iter().zip(bias)) {
            *output = multiply_add::<FMA>((x - mean) * factor, *weight, *bias);
        }
    }

    /// Layer norm of one row, modulated: `output = (x - mean) * factor * (1 + scale) + shift`.
    pub fn modulated_norm(output: &mut [f32], x: &[f32], eps: f32, scale: &[f32], shift: &[f32]) {
        let (mean, factor) = moments::<FMA>(x, eps);
        let pairs = output.iter_mut().zip(x);
        for ((output, x), (scale, shift)) in pairs.zip(scale.iter().zip(shift)) {
            *output = multiply_add::<FMA>((x - mean) * factor, 1.0 + scale, *shift);
        }
    }

    /// Root-mean-square norm of one row: `output = x * factor * weight`.
    pub fn rms_norm(output: &mut [f32], x: &[f32], eps: f32, weight: &[f32]) {
        let factor = rms_factor::<FMA>(x, eps);
        for ((output, x), weight) in output.iter_mut().zip(x).zip(weight) {
            *output = x * factor * weight;
        }
    }

    /// `x = x * a + b` channel by channel of every pixel, then SiLU if asked.
    pub fn channel_affine(pixels: &mut [f32], a: &[f32], b: &[f32], silu: bool) {
        for pixel in pixels.chunks_exact_mut(a.len()) {
            for (x, (a, b)) in pixel.iter_mut().zip(a.iter().zip(b)) {
                let y = multiply_add::<FMA>(*x, *a, *b);
                *x = if silu { y * sigmoid::<FMA>(y) } else { y };
            }
        }
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

    /// `output = x * sigmoid(x)`
    pub fn silu(output: &mut [f32], x: &[f32]) {
        for (output, x) in output.iter_mut().zip(x) {
            *output = x * sigmoid::<FMA>(*x);
        }
    }

    /// `x = activation(x)`
    pub fn activate(x: &mut [f32], activation: Activation) {
        match activation {
            Activation::Gelu => x.iter_mut().for_each(|x| *x = gelu::<FMA>(*x)),
            // 0.5 x (1 + tanh u) = x · sigmoid(2u)
            Activation::GeluTanh => x.iter_mut().for_each(|x| {
                let inner = *x * multiply_add::<FMA>(0.044_715 * *x, *x, 1.0);
                *x *= sigmoid::<FMA>(2.0 * 0.797_884_6 * inner);
            }),
            Activation::QuickGelu => x.iter_mut().for_each(|x| *x *= sigmoid::<FMA>(1.702 * *x)),
            Activation::Silu => x.iter_mut().for_each(|x| *x *= sigmoid::<FMA>(*x)),
            // Written so that a NaN stays one.
            Activation::Relu => x.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
        }
    }
}

/// Mean, and one over the standard deviation, over all values of a row.
#[inline(always)]
fn moments<const FMA: bool>(x: &[f32], eps: f32) -> (f32, f32) {
    let mean = reduce(x, |sum, x| sum + x) / x.len() as f32;
    let squares = reduce(x, |sum, x| multiply_add::<FMA>(x - mean, x - mean, sum));
    (mean, 1.0 / (squares / x.len() as f32 + eps).sqrt())
}

/// One over the root mean square of a row.
#[inline(always)]
fn rms_factor<const FMA: bool>(x: &[f32], eps: f32) -> f32 {
    let squares = reduce(x, |sum, x| multiply_add::<FMA>(x, x, sum));
    1.0 / (squares / x.len() as f32 + eps).sqrt()
}

/// The same for a row of no more than some hundred values, with fewer lanes to begin and to end with.
#[inline(always)]
pub(in crate::cpu) fn rms_factor_short<const FMA: bool>(x: &[f32], eps: f32) -> f32 {
    let squares = reduce_rest([0.0; REST_LANES], x, |sum, x| {
        multiply_add::<FMA>(x, x, sum)
    });
    1.0 / (squares / x.len() as f32 + eps).sqrt()
}

/// Lanes of a sum over a long row: eight AVX registers hide the latency of an addition.
const SUM_LANES: usize = 64;

/// Lanes in which the sums of a long row meet, and those of its rest.
const REST_LANES: usize = 8;

/// The sum that `add(sum, value)` makes of all values, in lanes that meet at the end.
#[inline(always)]
fn reduce(x: &[f32], add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; SUM_LANES];
    let chunks = x.chunks_exact(SUM_LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = add(*lane, *x);
        }
    }
    let mut width = SUM_LANES / 2;
    while width >= REST_LANES {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    let mut met = [0.0; REST_LANES];
    met.copy_from_slice(&lanes[..REST_LANES]);
    reduce_rest(met, rest, add)
}

#[inline(always)]
fn reduce_rest(mut lanes: [f32; REST_LANES], x: &[f32], add: impl Fn(f32, f32) -> f32) -> f32 {
    let (chunks, rest) = x.as_chunks::<REST_LANES>();
    for chunk in chunks {
        lanes = std::array::from_fn(|lane| add(lanes[lane], chunk[lane]));
    }
    let rest = rest.iter().fold(0.0, |sum, x| add(sum, *x));
    let four: [f32; 4] = std::array::from_fn(|lane| lanes[lane] + lanes[lane + 4]);
    (four[0] + four[2]) + (four[1] + four[3]) + rest
}
