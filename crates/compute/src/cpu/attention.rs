//! Attention in blocks of keys with a running softmax (Dao et al. 2022, FlashAttention, algorithm 1):
//! the scores of one block of queries against one block of keys are all that ever exists of the
//! quadratic matrix.

use super::{
    CpuDevice,
    matmul::{self, Matrix},
    norm::rms_norm_row,
    simd,
    tile::{Grid, Tile, tiles},
};
use crate::{Attention, Device, Mask, QkNorm, RopeTable, Tensor, workspace::Buffer};

/// Queries of a task.
const QUERY_BLOCK: usize = 64;

/// Keys of a block: scores of 64 × 256 f32 are 64 KiB.
const KEY_BLOCK: usize = 256;

/// Queries and keys of every head, normalised, rotated and (queries) scaled.
struct Heads {
    /// `(batch, heads, sequence, head_dim)`
    queries: Buffer,
    /// `(batch, heads, head_dim, sequence)`: transposed, as the product with the queries reads them.
    keys: Buffer,
    /// `(batch, heads, sequence, head_dim)`
    values: Buffer,
}

/// The running softmax of a block of queries, and room for one block of scores.
struct Scratch {
    scores: Buffer,
    sums: Buffer,
    /// The greatest score of each query so far.
    peaks: Buffer,
}

/// The sizes of one attention.
#[derive(Clone, Copy)]
struct Sizes {
    heads: usize,
    sequence: usize,
    head_dim: usize,
}

pub(super) fn run(device: &CpuDevice, attention: &Attention<'_>) -> Vec<Tensor> {
    let (batch, sequence, head_dim) = attention.sizes();
    let sizes = Sizes {
        heads: attention.heads,
        sequence,
        head_dim,
    };
    let heads = prepare(device, attention, batch, sizes);
    let mut outputs: Vec<Tensor> = attention
        .segments
        .iter()
        .map(|s| device.tensor(&[batch, s.qkv.dim(1), sizes.heads * head_dim]))
        .collect();
    let mut tasks = Vec::new();
    let mut start = 0;
    for output in &mut outputs {
        let grid = Grid {
            rows: output.dim(1),
            columns: sizes.heads * head_dim,
            tile_rows: QUERY_BLOCK,
            tile_columns: head_dim,
        };
        let rows = grid.rows;
        tasks.extend(
            tiles(output.data_mut(), grid)
                .into_iter()
                .map(|tile| (start, tile)),
        );
        start += rows;
    }
    let scratch = || Scratch {
        scores: device.scratch(QUERY_BLOCK * KEY_BLOCK),
        sums: device.scratch(QUERY_BLOCK),
        peaks: device.scratch(QUERY_BLOCK),
    };
    device.for_each(tasks, scratch, |scratch, (segment_start, tile)| {
        attend(attention.mask, &heads, sizes, segment_start, tile, scratch);
    });
    outputs
}

fn prepare(device: &CpuDevice, attention: &Attention<'_>, batch: usize, sizes: Sizes) -> Heads {
    let per_head = sizes.sequence * sizes.head_dim;
    let total = batch * sizes.heads * per_head;
    let mut heads = Heads {
        queries: device.scratch(total),
        keys: device.scratch(total),
        values: device.scratch(total),
    };
    let tasks: Vec<_> = heads
        .queries
        .chunks_exact_mut(per_head)
        .zip(heads.keys.chunks_exact_mut(per_head))
        .zip(heads.values.chunks_exact_mut(per_head))
        .enumerate()
        .collect();
    let scratch = || device.scratch(sizes.head_dim);
    device.for_each(tasks, scratch, |row, (index, ((queries, keys), values))| {
        let (sample, head) = (index / sizes.heads, index % sizes.heads);
        let (dim, inner) = (sizes.head_dim, sizes.heads * sizes.head_dim);
        let mut position = 0;
        for segment in attention.segments {
            for token in segment.qkv.sample(sample).chunks_exact(3 * inner) {
                let part = |which: usize| &token[which * inner + head * dim..][..dim];
                let query = &mut queries[position * dim..][..dim];
                let norm = segment.norm.map(|QkNorm { query, eps, .. }| (query, eps));
                normalise(query, part(0), norm);
                rotate(query, attention.rope, position);
                simd::scale(query, attention.scale);
                let norm = segment.norm.map(|QkNorm { key, eps, .. }| (key, eps));
                normalise(row, part(1), norm);
                rotate(row, attention.rope, position);
                for (d, value) in row.iter().enumerate() {
                    keys[d * sizes.sequence + position] = *value;
                }
                values[position * dim..][..dim].copy_from_slice(part(2));
                position += 1;
            }
        }
    });
    heads
}

fn normalise(output: &mut [f32], x: &[f32], norm: Option<(&Tensor, f32)>) {
    match norm {
        Some((weight, eps)) => rms_norm_row(output, x, weight.data(), eps),
        None => output.copy_from_slice(x),
    }
}

fn rotate(x: &mut [f32], rope: Option<&RopeTable>, position: usize) {
    let Some(rope) = rope else { return };
    let half = x.len() / 2;
    let cos = &rope.cos.data()[position * half..][..half];
    let sin = &rope.sin.data()[position * half..][..half];
    for (pair, (cos, sin)) in x.chunks_exact_mut(2).zip(cos.iter().zip(sin)) {
        let (a, b) = (pair[0], pair[1]);
        pair[0] = a * cos - b * sin;
        pair[1] = b * cos + a * sin;
    }
}

/// One block of queries of one head against all keys.
fn attend(
    mask: Mask<'_>,
    all: &Heads,
    sizes: Sizes,
    segment_start: usize,
    mut tile: Tile<'_>,
    scratch: &mut Scratch,
) {
    let Sizes {
        heads,
        sequence,
        head_dim,
    } = sizes;
    let head = tile.column / head_dim;
    let offset = (tile.sample * heads + head) * sequence * head_dim;
    let first_query = segment_start + tile.row;
    let queries = &all.queries[offset + first_query * head_dim..];
    let keys = &all.keys[offset..][..sequence * head_dim];
    let values = &all.values[offset..][..sequence * head_dim];
    // A causal block of queries sees no key after its last query.
    let last_key = match mask {
        Mask::Causal => first_query + tile.rows,
        Mask::None | Mask::RelativeBias(_) => sequence,
    };
    scratch.peaks.fill(f32::NEG_INFINITY);
    scratch.sums.fill(0.0);
    for first_key in (0..last_key).step_by(KEY_BLOCK) {
        let count = KEY_BLOCK.min(last_key - first_key);
        let key_block = Matrix::rows(&keys[first_key..], sequence);
        matmul::into_rows(
            &mut scratch.scores,
            KEY_BLOCK,
            [tile.rows, count, head_dim],
            false,
            Matrix::rows(queries, head_dim),
            key_block,
        );
        for row in 0..tile.rows {
            let scores = &mut scratch.scores[row * KEY_BLOCK..][..count];
            let query = first_query + row;
            apply_mask(mask, scores, sizes, head, query, first_key);
            let before = scratch.peaks[row];
            let peak = before.max(simd::max(scores));
            // 0 for the first block, whose peak before was -inf.
            let rescale = (before - peak).exp();
            scratch.peaks[row] = peak;
            scratch.sums[row] = scratch.sums[row] * rescale + simd::exp_and_sum(scores, peak);
            if first_key > 0 {
                simd::scale(tile.row_mut(row), rescale);
            }
        }
        let weights = Matrix::rows(&scratch.scores, KEY_BLOCK);
        let values = Matrix::rows(&values[first_key * head_dim..], head_dim);
        matmul::into_tile(&mut tile, first_key > 0, count, weights, values);
    }
    for row in 0..tile.rows {
        let sum = scratch.sums[row];
        simd::scale(tile.row_mut(row), 1.0 / sum);
    }
}

fn apply_mask(
    mask: Mask<'_>,
    scores: &mut [f32],
    sizes: Sizes,
    head: usize,
    query: usize,
    first_key: usize,
) {
    match mask {
        Mask::None => {}
        Mask::Causal => {
            let visible = (query + 1).saturating_sub(first_key).min(scores.len());
            scores[visible..].fill(f32::NEG_INFINITY);
        }
        Mask::RelativeBias(bias) => {
            let row = &bias.data()[head * (2 * sizes.sequence - 1)..];
            let start = first_key + sizes.sequence - 1 - query;
            simd::add(scores, &row[start..][..scores.len()]);
        }
    }
}
