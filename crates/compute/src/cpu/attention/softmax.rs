//! The running softmax over scores that lie as `[key][query]`, in powers of two.

use crate::{
    Tensor,
    cpu::simd::{math::exp2, vectorised},
};

/// Values that [`Running`] keeps of a query.
pub(super) const RUNNING_VALUES: usize = 3;

/// The state of a panel of queries, one value for each.
#[derive(Debug)]
pub(super) struct Running<'a> {
    /// The greatest score so far, and never below the least number, so that -infinity weighs nothing.
    pub peaks: &'a mut [f32],
    /// The sum of the weights so far.
    pub sums: &'a mut [f32],
    /// What the last block's new peaks made of the weights before it.
    pub rescale: &'a mut [f32],
}

impl<'a> Running<'a> {
    /// Over a panel's part of a scratch, [`RUNNING_VALUES`] for each query.
    pub fn over(values: &'a mut [f32]) -> Self {
        let queries = values.len() / RUNNING_VALUES;
        let (peaks, rest) = values.split_at_mut(queries);
        let (sums, rescale) = rest.split_at_mut(queries);
        Self {
            peaks,
            sums,
            rescale,
        }
    }

    /// As it is before the first key.
    pub fn reset(&mut self) {
        self.peaks.fill(f32::MIN);
        self.sums.fill(0.0);
    }
}

/// A bias by distance, `(heads, 2 * sequence - 1)`, turned round so that neighbouring queries are
/// neighbours, in powers of two.
#[derive(Clone, Debug, Default)]
pub(super) struct Bias {
    /// For each head the bias of query `i` and key `j` at `i - j + sequence - 1`, then room for the
    /// queries that fill up the last panel.
    rows: Vec<f32>,
    row: usize,
    sequence: usize,
}

impl Bias {
    pub fn new(bias: &Tensor, columns: usize) -> Self {
        let width = bias.width();
        let row = width + columns;
        let mut rows = vec![0.0; bias.rows() * row];
        for (row, head) in rows
            .chunks_exact_mut(row)
            .zip(bias.data().chunks_exact(width))
        {
            for (slot, value) in row.iter_mut().zip(head.iter().rev()) {
                *slot = value * std::f32::consts::LOG2_E;
            }
        }
        Self {
            rows,
            row,
            sequence: width.div_ceil(2),
        }
    }

    /// The bias of the panel of queries from `query` on and of the keys *up to* `last_key`, backwards:
    /// the row of key `last_key - n` starts at `n`.
    pub fn of(&self, head: usize, query: usize, last_key: usize) -> &[f32] {
        &self.rows[head * self.row..][..self.row][query + self.sequence - 1 - last_key..]
    }
}

vectorised! {
    /// `scores[key][query] += bias[keys - 1 - key + query]`: see [`Bias::of`].
    pub fn add_bias(scores: &mut [f32], columns: usize, bias: &[f32]) {
        for (n, scores) in scores.chunks_exact_mut(columns).rev().enumerate() {
            for (score, bias) in scores.iter_mut().zip(&bias[n..]) {
                *score += bias;
            }
        }
    }

    /// Turns scores into weights and takes them into the sums; says whether older weights must be
    /// rescaled.
    pub fn weigh(scores: &mut [f32], columns: usize, running: &mut Running<'_>) -> bool {
        let mut changed = false;
        for first in (0..columns).step_by(LANES) {
            let lanes = first..first + LANES;
            let before: [f32; LANES] = lanes_of(&running.peaks[lanes.clone()]);
            let mut peaks = before;
            for row in scores.chunks_exact(columns) {
                let row: [f32; LANES] = lanes_of(&row[lanes.clone()]);
                peaks = std::array::from_fn(|l| if row[l] > peaks[l] { row[l] } else { peaks[l] });
            }
            let mut sums = [0.0; LANES];
            for row in scores.chunks_exact_mut(columns) {
                let row = &mut row[lanes.clone()];
                let scores: [f32; LANES] = lanes_of(row);
                let weights: [f32; LANES] =
                    std::array::from_fn(|l| exp2::<FMA>(scores[l] - peaks[l]));
                sums = std::array::from_fn(|l| sums[l] + weights[l]);
                row.copy_from_slice(&weights);
            }
            let rescale: [f32; LANES] = std::array::from_fn(|l| exp2::<FMA>(before[l] - peaks[l]));
            changed |= rescale.iter().any(|&factor| factor != 1.0);
            for (sum, (rescale, new)) in
                running.sums[lanes.clone()].iter_mut().zip(rescale.iter().zip(sums))
            {
                *sum = *sum * rescale + new;
            }
            running.peaks[lanes.clone()].copy_from_slice(&peaks);
            running.rescale[lanes].copy_from_slice(&rescale);
        }
        changed
    }

    /// Rescales what was summed up so far, `[feature][query]`.
    pub fn rescale(output: &mut [f32], rescale: &[f32]) {
        for row in output.chunks_exact_mut(rescale.len()) {
            for (value, factor) in row.iter_mut().zip(rescale) {
                *value *= factor;
            }
        }
    }

    /// `row[d] = output[d][query] * factor`
    pub fn column(row: &mut [f32], output: &[f32], columns: usize, query: usize, factor: f32) {
        for (value, output) in row.iter_mut().zip(output.chunks_exact(columns)) {
            *value = output[query] * factor;
        }
    }
}

#[inline(always)]
fn lanes_of<const LANES: usize>(row: &[f32]) -> [f32; LANES] {
    row.try_into().expect("a whole row; this is a bug")
}
