//! Attention in blocks of keys with a running softmax (Dao et al. 2022, FlashAttention, algorithm 1).
//!
//! Everything is computed **transposed**, with queries as the columns of the kernels' blocks: the scores
//! of a panel of queries against a block of keys come out as `[key][query]`, which is the panel of B that
//! the product with the values reads. So the softmax works in place, a lane for each query, and nothing
//! is ever rearranged:
//!
//! - `scores = keys · queriesᵀ`: A is a panel of keys, B the panel of queries;
//! - `outputᵀ += valuesᵀ · weights`: A is a panel of the values' features, B the scores after the softmax.
//!
//! **Memory.** Keys and values are packed once for each head, a few heads at a time ([`WAVE_BYTES`]);
//! queries are normalised, rotated, scaled and packed by the task that uses them. A thread holds one
//! block of queries, of outputs and of scores, 0.2 MiB for heads of 128. For 8,704 tokens and 24 heads of
//! 128 that is 26 MiB in all besides input and output.
//!
//! **What PyTorch's softmax does** with values that are not finite, this does: a NaN or a +infinity among
//! a query's scores makes its row NaN, a -infinity weighs nothing, and a row of nothing but -infinity is
//! NaN. (No mask of today hides all keys from a query.)

mod block;
mod pack;
mod softmax;

use super::{
    CpuDevice,
    kernels::Kernels,
    simd::Simd,
    tile::{Grid, Tile, tiles},
};
use crate::{Attention, Device, Mask, Tensor};

/// Queries of a task: enough to repay streaming the keys and values from the cache beyond the second
/// level, few enough to keep several threads busy.
const QUERY_BLOCK: usize = 64;

/// Keys of a block, at most: with 16 queries their scores are 12 KiB, which stay in the first-level
/// cache (32 KiB) beside the queries.
const KEY_BLOCK: usize = 192;

/// Keys times features of a block: its keys and values, 192 KiB, stay in the second-level cache (1 MiB)
/// beside the queries and outputs while all queries of a task pass by.
const KEY_BLOCK_VALUES: usize = 24 * 1024;

/// How much memory packed keys and values may take; a single head of a very long sequence may exceed it.
const WAVE_BYTES: usize = 32 << 20;

/// The sizes of one attention, and how it is cut: functions of one sample's shape and of the kernels.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    heads: usize,
    /// Tokens of the joined sequence.
    sequence: usize,
    head_dim: usize,
    /// Keys of a block: a multiple of `rows`.
    key_block: usize,
    /// Height of the kernels' blocks: the width of the panels of keys and values.
    rows: usize,
    /// Width of the kernels' blocks: the width of the panels of queries and scores.
    columns: usize,
}

impl Sizes {
    fn new(heads: usize, sequence: usize, head_dim: usize, kernels: &Kernels) -> Self {
        let rows = kernels.rows;
        let most = KEY_BLOCK.min(KEY_BLOCK_VALUES / head_dim).max(rows) / rows * rows;
        Self {
            heads,
            sequence,
            head_dim,
            key_block: most.min(sequence.next_multiple_of(rows)),
            rows,
            columns: kernels.columns,
        }
    }

    /// Values of the packed keys of one block: `[key_block / rows][head_dim][rows]`.
    fn packed_keys(&self) -> usize {
        self.key_block * self.head_dim
    }

    /// Features, padded to whole panels.
    fn padded_dim(&self) -> usize {
        self.head_dim.next_multiple_of(self.rows)
    }

    /// Values of the packed values of one block: `[padded_dim / rows][key_block][rows]`.
    fn packed_values(&self) -> usize {
        self.key_block * self.padded_dim()
    }

    /// Values of one block's packed keys, then its packed values.
    fn packed_block(&self) -> usize {
        self.packed_keys() + self.packed_values()
    }

    /// Values of all packed blocks of one head.
    fn packed_head(&self) -> usize {
        self.sequence.div_ceil(self.key_block) * self.packed_block()
    }
}

/// What all tasks of one attention share.
struct Shared<'a> {
    attention: &'a Attention<'a>,
    sizes: Sizes,
    batch: usize,
    kernels: &'a Kernels,
    simd: Simd,
    /// The bias by distance as the softmax reads it; empty for other masks.
    bias: softmax::Bias,
}

/// One block of queries of one head of one sample.
struct Task<'a> {
    /// `head * batch + sample`
    pair: usize,
    /// Which segment the queries are of.
    segment: usize,
    /// The first token of that segment in the joined sequence.
    segment_start: usize,
    output: Tile<'a>,
}

pub(super) fn run(device: &CpuDevice, attention: &Attention<'_>) -> Vec<Tensor> {
    let (batch, sequence, head_dim) = attention.sizes();
    let sizes = Sizes::new(attention.heads, sequence, head_dim, device.kernels);
    let shared = Shared {
        attention,
        sizes,
        batch,
        kernels: device.kernels,
        simd: device.simd(),
        bias: match attention.mask {
            Mask::RelativeBias(bias) => softmax::Bias::new(bias, sizes.columns),
            Mask::None | Mask::Causal => softmax::Bias::default(),
        },
    };
    let mut outputs: Vec<Tensor> = attention
        .segments
        .iter()
        .map(|s| device.tensor(&[batch, s.qkv.dim(1), sizes.heads * head_dim]))
        .collect();
    let mut tasks = tasks(&mut outputs, &shared).into_iter().peekable();
    let pairs = sizes.heads * batch;
    let wave = (WAVE_BYTES / size_of::<f32>() / sizes.packed_head()).clamp(1, pairs);
    let mut packed = device.scratch(wave * sizes.packed_head());
    for first in (0..pairs).step_by(wave) {
        let end = pairs.min(first + wave);
        let packed = &mut packed[..(end - first) * sizes.packed_head()];
        pack_wave(device, &shared, first, packed);
        let mut of_wave = Vec::new();
        while let Some(task) = tasks.next_if(|task| task.pair < end) {
            of_wave.push(task);
        }
        let scratch = || block::Scratch::new(device, sizes);
        device.for_each(of_wave, scratch, |scratch, mut task| {
            let packed = &packed[(task.pair - first) * sizes.packed_head()..];
            block::attend(&shared, packed, &mut task, scratch);
        });
    }
    outputs
}

/// All tasks, those of one head of one sample together, in the order of the pairs.
fn tasks<'a>(outputs: &'a mut [Tensor], shared: &Shared<'_>) -> Vec<Task<'a>> {
    let mut tasks = Vec::new();
    let mut segment_start = 0;
    for (segment, output) in outputs.iter_mut().enumerate() {
        let rows = output.dim(1);
        let grid = Grid {
            rows,
            columns: output.width(),
            tile_rows: QUERY_BLOCK,
            tile_columns: shared.sizes.head_dim,
        };
        tasks.extend(tiles(output.data_mut(), grid).into_iter().map(|output| {
            let head = output.column / shared.sizes.head_dim;
            Task {
                pair: head * shared.batch + output.sample,
                segment,
                segment_start,
                output,
            }
        }));
        segment_start += rows;
    }
    tasks.sort_by_key(|task| task.pair);
    tasks
}

/// Packs keys and values of the pairs from `first` on, block by block.
fn pack_wave(device: &CpuDevice, shared: &Shared<'_>, first: usize, packed: &mut [f32]) {
    let sizes = shared.sizes;
    let blocks_of_head = sizes.sequence.div_ceil(sizes.key_block);
    let blocks = packed.chunks_exact_mut(sizes.packed_block()).enumerate();
    let scratch = || device.scratch(sizes.rows * sizes.head_dim);
    device.for_each(blocks.collect(), scratch, |scratch, (index, packed)| {
        let pair = first + index / blocks_of_head;
        let source = pack::Source {
            attention: shared.attention,
            sizes,
            simd: shared.simd,
            head: pair / shared.batch,
            sample: pair % shared.batch,
        };
        let first_key = index % blocks_of_head * sizes.key_block;
        let end = sizes.sequence.min(first_key + sizes.key_block);
        pack::keys_and_values(&source, first_key..end, packed, scratch);
    });
}
