//! Attention by tiles, in bf16 with sums in f32, for activations that are
//! [as coarse as bf16](crate::Tensor::is_coarse): the same blocks of keys and the same running softmax
//! as in f32, with queries as rows.
//!
//! - `scores = queries · keysᵀ`: A is a panel of 32 queries, B a panel of 32 keys, pairs of neighbouring
//!   features side by side;
//! - the softmax turns rows of scores (f32) into rows of weights (bf16), which are a panel of A;
//! - `output += weights · values`: B is a panel of 32 features, pairs of neighbouring keys side by side.
//!
//! What is rounded to bf16: queries (normalised, rotated, scaled), keys (normalised, rotated), values, and
//! weights after the exponential. Sums of products, of weights and the output are f32.
//!
//! Widths and lengths that fill no tile are filled up with zeros; weights of keys that are not there are
//! zeros, too. NaN and infinities go where they go in f32.

mod pack;
mod softmax;

use super::{Shared, Task, before, outputs, tasks};
use crate::{
    Mask, Tensor,
    cpu::{
        CpuDevice,
        amx::{
            TileUnit,
            block::{self, Ahead, BLOCK_COLUMNS, BLOCK_ROWS, Sums, shares_of},
            on_tiles,
            tiles::{Operand, Tiles},
        },
        view::{view, view_mut},
    },
    workspace::Buffer,
};

/// Depth of one multiplication in bf16.
const STEP: usize = <u16 as Operand>::STEP;

/// Operands of one step of a panel: 32 rows or columns.
const STEP_SIZE: usize = BLOCK_ROWS * STEP;

/// Keys of a block, at most: the scores of a task's 64 queries are then 64 KiB.
const KEY_BLOCK: usize = 256;

/// Keys times features of a block: its keys and values, 256 KiB, stay in the second-level cache (2 MiB)
/// beside queries, scores and outputs while all queries of a task pass by.
const KEY_BLOCK_VALUES: usize = 64 * 1024;

/// Fewer tokens than this leave most of a tile's rows or columns empty; so do narrower heads.
const MIN_TOKENS: usize = 32;

/// See [`MIN_TOKENS`].
const MIN_HEAD_DIM: usize = 16;

/// How much memory packed keys and values may take; a single head of a very long sequence may exceed it.
const WAVE_BYTES: usize = super::WAVE_BYTES;

/// Added to each row of scores and outputs: a cache line, so that rows are never a power of two apart.
const PADDING: usize = 16;

/// How it is cut: a function of one sample's shape.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    head_dim: usize,
    /// Features, filled up to whole steps.
    padded_dim: usize,
    /// Keys of a block: whole steps.
    key_block: usize,
    /// Blocks of keys of one head.
    blocks: usize,
}

impl Sizes {
    fn new(head_dim: usize, tokens: usize) -> Self {
        let padded_dim = head_dim.next_multiple_of(STEP);
        let most = KEY_BLOCK.min(KEY_BLOCK_VALUES / padded_dim) / STEP * STEP;
        let key_block = most.max(STEP).min(tokens.next_multiple_of(STEP));
        Self {
            head_dim,
            padded_dim,
            key_block,
            blocks: tokens.div_ceil(key_block),
        }
    }

    /// Operands of a block's keys, `[panel of 32 keys][step of features][2][16][16][2]`, and as many of
    /// its values, `[panel of 32 features][step of keys][2][16][16][2]`.
    fn packed_part(&self) -> usize {
        self.key_block * self.padded_dim
    }

    /// Operands of a head.
    fn packed_head(&self) -> usize {
        self.blocks * 2 * self.packed_part()
    }

    /// Scores from one query to the next.
    fn score_stride(&self) -> usize {
        self.key_block + PADDING
    }

    /// Values of the output from one query to the next.
    fn output_stride(&self) -> usize {
        self.padded_dim + PADDING
    }
}

/// Whether tiles pay, and may be used: they round.
pub(super) fn suits(shared: &Shared<'_>) -> bool {
    let coarse = |segment: &crate::Segment<'_>| segment.qkv.is_coarse();
    shared.inputs.segments.iter().all(coarse)
        && shared.end >= MIN_TOKENS
        && shared.sizes.head_dim >= MIN_HEAD_DIM
}

pub(super) fn run(device: &CpuDevice, unit: TileUnit, shared: &Shared<'_>) -> Vec<Tensor> {
    let sizes = Sizes::new(shared.sizes.head_dim, shared.end);
    let mut outputs = outputs(device, shared);
    let mut tasks = tasks(&mut outputs, shared);
    let pairs = shared.sizes.key_value_heads * shared.batch;
    let head = sizes.packed_head();
    let wave = (WAVE_BYTES / size_of::<u16>() / head).clamp(1, pairs);
    let mut packed = device.scratch((wave * head * size_of::<u16>()).div_ceil(size_of::<f32>()));
    let packed = view_mut::<u16>(&mut packed);
    for first in (0..pairs).step_by(wave) {
        let end = pairs.min(first + wave);
        let packed = &mut packed[..(end - first) * head];
        pack_pairs(device, shared, sizes, first, packed);
        let of_wave = tasks.drain(..before(&tasks, end));
        on_tiles!(unit, T => attend_all::<T>(device, shared, sizes, of_wave, (first, packed)));
    }
    outputs.into_iter().map(Tensor::into_coarse).collect()
}

/// Packs keys and values of the pairs from `first` on, as many as `packed` holds.
fn pack_pairs(
    device: &CpuDevice,
    shared: &Shared<'_>,
    sizes: Sizes,
    first: usize,
    packed: &mut [u16],
) {
    let blocks = packed.chunks_exact_mut(2 * sizes.packed_part()).enumerate();
    let rows = || pack::Rows::new(device, sizes);
    device.for_each(blocks, rows, |rows, (index, packed)| {
        let source = shared.source(first + index / sizes.blocks);
        let first_key = index % sizes.blocks * sizes.key_block;
        let keys = first_key..shared.end.min(first_key + sizes.key_block);
        let (keys_part, values_part) = packed.split_at_mut(sizes.packed_part());
        pack::keys(&source, keys.clone(), keys_part, rows);
        pack::values(&source, keys, (values_part, sizes.key_block), rows);
    });
}

/// Runs tasks; `packed` are the packed heads of the pairs from the given one on.
fn attend_all<'a, T: Tiles>(
    device: &CpuDevice,
    shared: &Shared<'_>,
    sizes: Sizes,
    tasks: impl ExactSizeIterator<Item = Task<'a>> + Send,
    (first, packed): (usize, &[u16]),
) {
    let scratch = || Scratch::<T>::new(device, sizes);
    device.for_each(tasks, scratch, |scratch, mut task| {
        let head = &packed[(task.pair - first) * sizes.packed_head()..][..sizes.packed_head()];
        Attending {
            shared,
            sizes,
            scratch,
        }
        .attend(head, &mut task);
    });
}

/// A thread's tiles and buffers, kept from task to task.
struct Scratch<T> {
    tiles: T,
    rows: pack::Rows,
    /// Panels of queries.
    queries: Buffer,
    /// `[query][key]`
    scores: Buffer,
    /// A panel for each 32 queries.
    weights: Buffer,
    /// `[query][feature]`
    output: Buffer,
    /// A [`softmax::Kept`] for each query.
    running: Buffer,
}

impl<T: Tiles> Scratch<T> {
    fn new(device: &CpuDevice, sizes: Sizes) -> Self {
        let queries = super::QUERY_BLOCK.next_multiple_of(BLOCK_ROWS);
        let operands = |count: usize| device.scratch((count * size_of::<u16>()).div_ceil(4));
        Self {
            tiles: T::configure(),
            rows: pack::Rows::new(device, sizes),
            queries: operands(queries * sizes.padded_dim),
            scores: device.scratch(queries * sizes.score_stride()),
            weights: operands(queries * sizes.key_block),
            output: device.scratch(queries * sizes.output_stride()),
            running: device.scratch(queries * softmax::NOTHING_YET.len()),
        }
    }
}

/// One task under way.
struct Attending<'a, T> {
    shared: &'a Shared<'a>,
    sizes: Sizes,
    scratch: &'a mut Scratch<T>,
}

/// A block of keys, as far as a task sees it.
#[derive(Clone, Copy)]
struct KeyBlock<'a> {
    keys: &'a [u16],
    values: &'a [u16],
    /// The first key.
    first: usize,
    /// How many keys.
    count: usize,
}

impl<T: Tiles> Attending<'_, T> {
    /// `packed` are the packed blocks of the task's head.
    fn attend(&mut self, packed: &[u16], task: &mut Task<'_>) {
        let sizes = self.sizes;
        let tokens = task.output.row..task.output.row + task.output.rows;
        let queries = super::pack::Queries {
            segment: task.segment,
            segment_start: task.segment_start,
            tokens,
        };
        let source = self.shared.source(task.pair);
        let target = view_mut(&mut self.scratch.queries);
        pack::queries(&source, &queries, target, &mut self.scratch.rows);
        let (running, _) = self.scratch.running.as_chunks_mut();
        running.fill(softmax::NOTHING_YET);
        // A causal task sees no key after its last query.
        let end = match self.shared.inputs.mask {
            Mask::Causal => task.segment_start + task.output.row + task.output.rows,
            Mask::None | Mask::RelativeBias(_) => self.shared.end,
        };
        let blocks = packed.chunks_exact(2 * sizes.packed_part()).enumerate();
        for (index, packed) in blocks {
            let first = index * sizes.key_block;
            let (keys, values) = packed.split_at(sizes.packed_part());
            let block = KeyBlock {
                keys,
                values,
                first,
                count: end.saturating_sub(first).min(sizes.key_block),
            };
            if block.count > 0 {
                self.multiply_keys(block, task);
                self.weigh(block, task);
                self.multiply_values(block, task);
            }
        }
        self.write_output(task);
    }

    /// Panels of queries of a task.
    fn panels(task: &Task<'_>) -> usize {
        task.output.rows.div_ceil(BLOCK_ROWS)
    }

    /// `scores = queries · keysᵀ`. A panel of keys is in the first-level cache while all queries use it.
    fn multiply_keys(&mut self, block: KeyBlock<'_>, task: &Task<'_>) {
        let Sizes { padded_dim, .. } = self.sizes;
        let stride = self.sizes.score_stride();
        let Scratch {
            tiles,
            queries,
            scores,
            ..
        } = &mut *self.scratch;
        let size = BLOCK_COLUMNS * padded_dim;
        for panel in 0..block.count.div_ceil(BLOCK_COLUMNS) {
            let keys = &block.keys[panel * size..][..size];
            let next = block.keys[(panel + 1) * size..].chunks(size).next();
            let shares = shares_of(next.unwrap_or_default(), Self::panels(task));
            let queries = view::<u16>(queries).chunks_exact(BLOCK_ROWS * padded_dim);
            for (index, (queries, ahead)) in queries.zip(shares).enumerate() {
                let first = index * BLOCK_ROWS * stride + panel * BLOCK_COLUMNS;
                let sums = Sums {
                    values: &mut scores[first..],
                    stride,
                    accumulate: false,
                };
                block::product(tiles, queries, keys, Ahead::of(ahead), sums);
            }
        }
    }

    /// Scores become weights, row by row.
    fn weigh(&mut self, block: KeyBlock<'_>, task: &Task<'_>) {
        let simd = self.shared.simd;
        let stride = self.sizes.score_stride();
        let width = block.count.next_multiple_of(STEP);
        let output_stride = self.sizes.output_stride();
        let first_query = task.segment_start + task.output.row;
        let head = task.pair / self.shared.batch;
        let Scratch {
            scores,
            weights,
            output,
            running,
            ..
        } = &mut *self.scratch;
        let weights = view_mut::<u16>(weights);
        let (running, _) = running.as_chunks_mut();
        for (row, kept) in running[..task.output.rows].iter_mut().enumerate() {
            let scores = &mut scores[row * stride..][..width];
            let query = first_query + row;
            let mut seen = block.count;
            match self.shared.inputs.mask {
                Mask::None => {}
                Mask::Causal => seen = seen.min((query + 1).saturating_sub(block.first)),
                Mask::RelativeBias(bias) => {
                    let bias = &bias.data()[head * bias.width()..][..bias.width()];
                    let from = block.first + bias.len() / 2 - query;
                    softmax::add_bias(simd, &mut scores[..seen], &bias[from..][..seen]);
                }
            }
            scores[seen..].fill(f32::NEG_INFINITY);
            let panel = row / BLOCK_ROWS * BLOCK_ROWS * self.sizes.key_block;
            let weights = &mut weights[panel + row % BLOCK_ROWS * STEP..];
            let mut running = softmax::Running::of(*kept);
            softmax::weigh(simd, weights, scores, &mut running);
            *kept = running.kept();
            if block.first > 0 && running.rescale != 1.0 {
                let output = &mut output[row * output_stride..][..self.sizes.padded_dim];
                softmax::scale(simd, output, running.rescale);
            }
        }
        // Rows that fill up the last panel weigh nothing.
        for row in task.output.rows..Self::panels(task) * BLOCK_ROWS {
            let panel = row / BLOCK_ROWS * BLOCK_ROWS * self.sizes.key_block;
            let weights = &mut weights[panel + row % BLOCK_ROWS * STEP..];
            for weights in weights.chunks_mut(STEP_SIZE).take(width / STEP) {
                weights[..STEP].fill(0);
            }
        }
    }

    /// `output += weights · values`
    fn multiply_values(&mut self, block: KeyBlock<'_>, task: &Task<'_>) {
        let Sizes {
            padded_dim,
            key_block,
            ..
        } = self.sizes;
        let stride = self.sizes.output_stride();
        let depth = block.count.next_multiple_of(STEP);
        let Scratch {
            tiles,
            weights,
            output,
            ..
        } = &mut *self.scratch;
        let size = BLOCK_COLUMNS * key_block;
        for panel in 0..padded_dim / BLOCK_COLUMNS {
            let values = &block.values[panel * size..][..BLOCK_COLUMNS * depth];
            let next = block.values[(panel + 1) * size..].chunks(size).next();
            let shares = shares_of(next.unwrap_or_default(), Self::panels(task));
            let weights = view::<u16>(weights).chunks_exact(BLOCK_ROWS * key_block);
            for (index, (weights, ahead)) in weights.zip(shares).enumerate() {
                let first = index * BLOCK_ROWS * stride + panel * BLOCK_COLUMNS;
                let sums = Sums {
                    values: &mut output[first..],
                    stride,
                    accumulate: block.first > 0,
                };
                block::product(
                    tiles,
                    &weights[..BLOCK_ROWS * depth],
                    values,
                    Ahead::of(ahead),
                    sums,
                );
            }
        }
    }

    fn write_output(&mut self, task: &mut Task<'_>) {
        let stride = self.sizes.output_stride();
        for row in 0..task.output.rows {
            let (running, _) = self.scratch.running.as_chunks();
            let factor = 1.0 / softmax::Running::of(running[row]).sum;
            let output = &self.scratch.output[row * stride..][..self.sizes.head_dim];
            softmax::scaled(self.shared.simd, task.output.row_mut(row), output, factor);
        }
    }
}
