//! The running softmax over rows of scores, in powers of two, with weights in bf16.

use super::{STEP, STEP_SIZE};
use crate::cpu::simd::{
    math::{exp2, multiply_add},
    vectorised,
};

/// The state of one query.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    /// The greatest score so far, and never below the least number, so that -infinity weighs nothing.
    pub peak: f32,
    /// The sum of the weights so far.
    pub sum: f32,
    /// What the last block's new peak made of the weights before it.
    pub rescale: f32,
}

/// Values of a [`Running`], as they wait in a scratch.
pub(super) type Kept = [f32; 3];

/// Before the first key.
pub(super) const NOTHING_YET: Kept = [f32::MIN, 0.0, 1.0];

impl Running {
    pub fn of([peak, sum, rescale]: Kept) -> Self {
        Self { peak, sum, rescale }
    }

    pub fn kept(self) -> Kept {
        [self.peak, self.sum, self.rescale]
    }
}

vectorised! {
    /// `scores += bias`, the bias in natural units.
    pub fn add_bias(scores: &mut [f32], bias: &[f32]) {
        for (score, bias) in scores.iter_mut().zip(bias) {
            *score = multiply_add::<FMA>(*bias, std::f32::consts::LOG2_E, *score);
        }
    }

    /// Turns a row of scores, whole steps of them, into weights, the row of each step [`STEP_SIZE`] after
    /// that of the step before; and takes them into the sum.
    pub fn weigh(weights: &mut [u16], scores: &[f32], running: &mut Running) {
        let (steps, _) = scores.as_chunks::<STEP>();
        let mut peaks = [running.peak; STEP];
        for scores in steps {
            for (peak, score) in peaks.iter_mut().zip(scores) {
                *peak = if *score > *peak { *score } else { *peak };
            }
        }
        let peak = peaks.iter().fold(f32::MIN, |a, b| if *b > a { *b } else { a });
        let mut sums = [0.0; STEP];
        for (scores, weights) in steps.iter().zip(weights.chunks_mut(STEP_SIZE)) {
            let new: [f32; STEP] = std::array::from_fn(|lane| exp2::<FMA>(scores[lane] - peak));
            for (sum, new) in sums.iter_mut().zip(new) {
                *sum += new;
            }
            for (weight, new) in weights[..STEP].iter_mut().zip(new) {
                // To the nearest bf16, ties to even; a weight is no infinity, and NaN stays NaN.
                let bits = new.to_bits();
                let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) >> 16;
                *weight = if new.is_nan() { 0x7fc0 } else { rounded as u16 };
            }
        }
        let sum: f32 = sums.iter().sum();
        running.rescale = exp2::<FMA>(running.peak - peak);
        running.sum = multiply_add::<FMA>(running.sum, running.rescale, sum);
        running.peak = peak;
    }

    /// `row *= factor`
    pub fn scale(row: &mut [f32], factor: f32) {
        for value in row {
            *value *= factor;
        }
    }

    /// `target = row * factor`
    pub fn scaled(target: &mut [f32], row: &[f32], factor: f32) {
        for (target, value) in target.iter_mut().zip(row) {
            *target = value * factor;
        }
    }
}
