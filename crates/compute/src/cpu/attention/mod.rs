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
//!
//! A device with tiles multiplies in them what is [coarse](crate::Tensor::is_coarse) anyway ([`tiled`]).

mod block;
mod cached;
mod pack;
mod softmax;
mod tiled;

use super::{
    CpuDevice,
    kernels::Kernels,
    simd::Simd,
    tile::{Grid, Tile, tiles},
};
pub(super) use cached::{cache, run as run_cached};

use crate::{Attention, Device, Mask, RopeTable, Segment, Tensor};

/// Queries of a task, counted over all heads of its group: enough to repay streaming the keys and values from the cache beyond the second
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
    /// Heads of keys and values.
    key_value_heads: usize,
    /// Heads of queries that share a head of keys and values.
    group: usize,
    /// Keys that there is room for: the joined sequence, or the capacity of a cache.
    capacity: usize,
    head_dim: usize,
    /// Keys of a block: a multiple of `rows`.
    key_block: usize,
    /// Height of the kernels' blocks: the width of the panels of keys and values.
    rows: usize,
    /// Width of the kernels' blocks: the width of the panels of queries and scores.
    columns: usize,
}

impl Sizes {
    /// Cut for up to `capacity` keys.
    fn new(kernels: &Kernels, heads: Heads, capacity: usize) -> Self {
        let rows = kernels.rows;
        let most = KEY_BLOCK.min(KEY_BLOCK_VALUES / heads.head_dim).max(rows) / rows * rows;
        Self {
            key_value_heads: heads.key_value_heads,
            group: heads.group,
            capacity,
            head_dim: heads.head_dim,
            key_block: most.min(capacity.next_multiple_of(rows)),
            rows,
            columns: kernels.columns,
        }
    }

    /// Tokens of a task.
    fn query_tokens(&self) -> usize {
        (QUERY_BLOCK / self.group).max(1)
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

    /// Blocks of keys of one head.
    fn blocks(&self) -> usize {
        self.capacity.div_ceil(self.key_block)
    }

    /// Values of all packed blocks of one head.
    fn packed_head(&self) -> usize {
        self.blocks() * self.packed_block()
    }
}

/// Heads of an attention.
#[derive(Clone, Copy, Debug)]
struct Heads {
    key_value_heads: usize,
    /// Heads of queries that share a head of keys and values.
    group: usize,
    head_dim: usize,
}

/// What attends to what.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    segments: &'a [Segment<'a>],
    /// Tokens before those of the segments, whose keys and values are packed already.
    past: usize,
    scale: f32,
    rope: Option<&'a RopeTable>,
    mask: Mask<'a>,
}

/// What all tasks of one attention share.
struct Shared<'a> {
    inputs: Inputs<'a>,
    sizes: Sizes,
    batch: usize,
    /// Keys that there are, of a cache and of the segments.
    end: usize,
    kernels: &'a Kernels,
    simd: Simd,
    /// The bias by distance as the softmax reads it; empty for other masks.
    bias: softmax::Bias,
}

impl<'a> Shared<'a> {
    fn new(device: &CpuDevice, inputs: Inputs<'a>, sizes: Sizes) -> Self {
        let segments = inputs.segments.iter();
        let new: usize = segments.map(|segment| segment.qkv.dim(1)).sum();
        Self {
            inputs,
            sizes,
            end: inputs.past + new,
            batch: inputs.segments[0].qkv.dim(0),
            kernels: device.kernels,
            simd: device.simd(),
            bias: match inputs.mask {
                Mask::RelativeBias(bias) => softmax::Bias::new(bias, sizes.columns),
                Mask::None | Mask::Causal => softmax::Bias::default(),
            },
        }
    }

    /// A head of keys and values of a sample, as the pairs are counted.
    fn source(&self, pair: usize) -> pack::Source<'_> {
        pack::Source {
            inputs: &self.inputs,
            sizes: self.sizes,
            simd: self.simd,
            head: pair / self.batch,
            sample: pair % self.batch,
        }
    }
}

/// One block of queries of one head of keys and values of one sample.
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
    let heads = Heads {
        key_value_heads: attention.heads,
        group: 1,
        head_dim,
    };
    let sizes = Sizes::new(device.kernels, heads, sequence);
    let inputs = Inputs {
        segments: attention.segments,
        past: 0,
        scale: attention.scale,
        rope: attention.rope,
        mask: attention.mask,
    };
    let shared = Shared::new(device, inputs, sizes);
    if let Some(unit) = device.tiles
        && tiled::suits(&shared)
    {
        return tiled::run(device, unit, &shared);
    }
    let mut outputs = outputs(device, &shared);
    let mut tasks = tasks(&mut outputs, &shared);
    let pairs = attention.heads * batch;
    let wave = (WAVE_BYTES / size_of::<f32>() / sizes.packed_head()).clamp(1, pairs);
    let mut packed = device.scratch(wave * sizes.packed_head());
    for first in (0..pairs).step_by(wave) {
        let end = pairs.min(first + wave);
        let packed = &mut packed[..(end - first) * sizes.packed_head()];
        let blocks = packed.chunks_exact_mut(sizes.packed_block()).enumerate();
        let blocks = blocks.map(|(index, packed)| {
            let pair = first + index / sizes.blocks();
            (pair, index % sizes.blocks(), packed)
        });
        pack_blocks(device, &shared, blocks);
        let of_wave = tasks.drain(..before(&tasks, end));
        attend_all(device, &shared, of_wave, (first, packed));
    }
    outputs
}

fn outputs(device: &CpuDevice, shared: &Shared<'_>) -> Vec<Tensor> {
    let sizes = shared.sizes;
    let width = sizes.key_value_heads * sizes.group * sizes.head_dim;
    let segments = shared.inputs.segments.iter();
    segments
        .map(|segment| device.tensor(&[shared.batch, segment.qkv.dim(1), width]))
        .collect()
}

/// Packs keys and values of `(pair, block of its keys, where to)`.
fn pack_blocks<'a>(
    device: &CpuDevice,
    shared: &Shared<'_>,
    blocks: impl ExactSizeIterator<Item = (usize, usize, &'a mut [f32])> + Send,
) {
    let sizes = shared.sizes;
    let scratch = || device.scratch(sizes.rows * sizes.head_dim);
    device.for_each(blocks, scratch, |rows, (pair, block, packed)| {
        let first_key = block * sizes.key_block;
        let keys = first_key.max(shared.inputs.past)..(first_key + sizes.key_block).min(shared.end);
        pack::keys_and_values(&shared.source(pair), first_key, keys, packed, rows);
    });
}

/// Runs tasks; `packed` are the packed heads of the pairs from the given one on.
fn attend_all<'a>(
    device: &CpuDevice,
    shared: &Shared<'_>,
    tasks: impl ExactSizeIterator<Item = Task<'a>> + Send,
    (first, packed): (usize, &[f32]),
) {
    let size = shared.sizes.packed_head();
    let scratch = || block::Scratch::new(device, shared.sizes);
    device.for_each(tasks, scratch, |scratch, mut task| {
        let head = &packed[(task.pair - first) * size..][..size];
        block::attend(shared, head, &mut task, scratch);
    });
}

/// All tasks, those of one head of one sample together, in the order of the pairs.
fn tasks<'a>(outputs: &'a mut [Tensor], shared: &Shared<'_>) -> Vec<Task<'a>> {
    let grid = |output: &Tensor| Grid {
        rows: output.dim(1),
        columns: output.width(),
        tile_rows: shared.sizes.query_tokens(),
        tile_columns: shared.sizes.group * shared.sizes.head_dim,
    };
    let counts = outputs
        .iter()
        .map(|output| grid(output).tiles(shared.batch));
    let mut tasks = Vec::with_capacity(counts.sum());
    let mut segment_start = shared.inputs.past;
    for (segment, output) in outputs.iter_mut().enumerate() {
        let (rows, grid) = (output.dim(1), grid(output));
        tasks.extend(tiles(output.data_mut(), grid).map(|output| {
            let head = output.column / (shared.sizes.group * shared.sizes.head_dim);
            Task {
                pair: head * shared.batch + output.sample,
                segment,
                segment_start,
                output,
            }
        }));
        segment_start += rows;
    }
    tasks.sort_unstable_by_key(|task| (task.pair, task.segment, task.output.row));
    tasks
}

/// How many of the sorted tasks are of the pairs before `end`.
fn before(tasks: &[Task<'_>], end: usize) -> usize {
    tasks.partition_point(|task| task.pair < end)
}
