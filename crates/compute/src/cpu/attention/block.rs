//! One block of queries of one head against all keys.

use super::{Shared, Sizes, Task, pack, softmax};
use crate::{
    Mask,
    cpu::{CpuDevice, kernels::Block},
    workspace::Buffer,
};

/// Features of queries and keys that are multiplied at a time: a panel of 16 queries is then 16 KiB,
/// half of the first-level cache.
const DEPTH: usize = 256;

/// What a thread keeps from task to task.
pub(super) struct Scratch {
    /// Panels of queries, `[head_dim][columns]` each.
    queries: Buffer,
    /// One row for each column of a panel, before they are packed.
    rows: Buffer,
    /// `[key][query]`
    scores: Buffer,
    /// For each panel of queries `[feature][query]`.
    output: Buffer,
    /// For each panel what [`softmax::Running`] keeps.
    running: Buffer,
}

impl Scratch {
    pub fn new(device: &CpuDevice, sizes: Sizes) -> Self {
        let panels = (sizes.query_tokens() * sizes.group).div_ceil(sizes.columns);
        let queries = panels * sizes.columns;
        Self {
            queries: device.scratch(queries * sizes.head_dim),
            rows: device.scratch(sizes.columns * sizes.head_dim),
            scores: device.scratch(sizes.key_block * sizes.columns),
            output: device.scratch(queries * sizes.padded_dim()),
            running: device.scratch(queries * softmax::RUNNING_VALUES),
        }
    }
}

/// The state of a panel of queries.
fn running_of(running: &mut Buffer, columns: usize, panel: usize) -> softmax::Running<'_> {
    let size = columns * softmax::RUNNING_VALUES;
    softmax::Running::over(&mut running[panel * size..][..size])
}

/// `packed` begins with the packed blocks of the task's head.
pub(super) fn attend(
    shared: &Shared<'_>,
    packed: &[f32],
    task: &mut Task<'_>,
    scratch: &mut Scratch,
) {
    let sizes = shared.sizes;
    pack_queries(shared, task, scratch);
    let panels = (task.output.rows * sizes.group).div_ceil(sizes.columns);
    for panel in 0..panels {
        running_of(&mut scratch.running, sizes.columns, panel).reset();
    }
    let blocks = packed[..sizes.packed_head()].chunks_exact(sizes.packed_block());
    for (index, packed) in blocks.enumerate() {
        let block = KeyBlock {
            packed,
            first: index * sizes.key_block,
            head: task.pair / shared.batch,
        };
        for panel in 0..panels {
            let queries = Queries {
                panel,
                token: task.segment_start + task.output.row,
            };
            attend_panel(shared, &block, queries, scratch);
        }
    }
    write_output(shared, task, scratch);
}

/// A block of keys and values.
struct KeyBlock<'a> {
    packed: &'a [f32],
    /// The first key.
    first: usize,
    head: usize,
}

/// A panel of queries: a lane for each head of the group of each token, token by token.
#[derive(Clone, Copy)]
struct Queries {
    /// Which one of the task.
    panel: usize,
    /// The task's first token.
    token: usize,
}

/// A panel of queries against a block of keys.
fn attend_panel(
    shared: &Shared<'_>,
    block: &KeyBlock<'_>,
    queries: Queries,
    scratch: &mut Scratch,
) {
    let sizes = shared.sizes;
    let first_lane = queries.panel * sizes.columns;
    // A causal panel sees no key after its last query.
    let end = match shared.inputs.mask {
        Mask::Causal => queries.token + (first_lane + sizes.columns).div_ceil(sizes.group),
        Mask::None | Mask::RelativeBias(_) => shared.end,
    };
    let end = end.min(shared.end);
    let count = end.saturating_sub(block.first).min(sizes.key_block);
    if count == 0 {
        return;
    }
    multiply_keys(shared, block, queries.panel, count, scratch);
    let Scratch {
        scores,
        output,
        running,
        ..
    } = scratch;
    let scores = &mut scores[..count * sizes.columns];
    apply_mask(shared, block, queries, scores);
    let mut running = running_of(running, sizes.columns, queries.panel);
    let changed = softmax::weigh(shared.simd, scores, sizes.columns, &mut running);
    let size = sizes.padded_dim() * sizes.columns;
    let output = &mut output[queries.panel * size..][..size];
    if block.first > 0 && changed {
        softmax::rescale(shared.simd, output, running.rescale);
    }
    multiply_values(shared, block, scores, output);
}

fn apply_mask(
    shared: &Shared<'_>,
    block: &KeyBlock<'_>,
    Queries { panel, token }: Queries,
    scores: &mut [f32],
) {
    let Sizes { columns, group, .. } = shared.sizes;
    let first_lane = panel * columns;
    let end = block.first + scores.len() / columns;
    match shared.inputs.mask {
        Mask::None => {}
        Mask::Causal => {
            // A lane sees the keys up to its token: `lane / group` after the first lane's.
            let first_hidden = block.first.max(token + first_lane / group + 1);
            for key in first_hidden..end {
                let hidden = (key - token) * group - first_lane;
                let scores = &mut scores[(key - block.first) * columns..][..columns];
                scores[..hidden.min(columns)].fill(f32::NEG_INFINITY);
            }
        }
        Mask::RelativeBias(_) => {
            let bias = shared.bias.of(block.head, token + first_lane, end - 1);
            softmax::add_bias(shared.simd, scores, columns, bias);
        }
    }
}

/// `scores = keys · queriesᵀ`
fn multiply_keys(
    shared: &Shared<'_>,
    block: &KeyBlock<'_>,
    panel: usize,
    count: usize,
    scratch: &mut Scratch,
) {
    let Sizes {
        head_dim,
        rows,
        columns,
        ..
    } = shared.sizes;
    let queries = &scratch.queries[panel * head_dim * columns..][..head_dim * columns];
    for first in (0..head_dim).step_by(DEPTH) {
        let depth = DEPTH.min(head_dim - first);
        let queries = &queries[first * columns..][..depth * columns];
        let keys = block.packed.chunks_exact(head_dim * rows);
        let scores = scratch.scores.chunks_exact_mut(rows * columns);
        for (keys, values) in keys.zip(scores).take(count.div_ceil(rows)) {
            let block = Block {
                values,
                stride: columns,
                accumulate: first > 0,
            };
            let keys = &keys[first * rows..][..depth * rows];
            shared.kernels.product_into(keys, queries, block);
        }
    }
}

/// `outputᵀ += valuesᵀ · weights`
fn multiply_values(shared: &Shared<'_>, block: &KeyBlock<'_>, weights: &[f32], output: &mut [f32]) {
    let Sizes {
        key_block,
        rows,
        columns,
        ..
    } = shared.sizes;
    let count = weights.len() / columns;
    let values = block.packed[shared.sizes.packed_keys()..].chunks_exact(key_block * rows);
    for (values, output) in values.zip(output.chunks_exact_mut(rows * columns)) {
        let target = Block {
            values: output,
            stride: columns,
            accumulate: block.first > 0,
        };
        shared
            .kernels
            .product_into(&values[..count * rows], weights, target);
    }
}

fn pack_queries(shared: &Shared<'_>, task: &Task<'_>, scratch: &mut Scratch) {
    let tokens = task.output.row..task.output.row + task.output.rows;
    let queries = pack::Queries {
        segment: task.segment,
        segment_start: task.segment_start,
        tokens,
    };
    let source = shared.source(task.pair);
    pack::queries(&source, &queries, &mut scratch.queries, &mut scratch.rows);
}

fn write_output(shared: &Shared<'_>, task: &mut Task<'_>, scratch: &mut Scratch) {
    let Sizes {
        columns,
        group,
        head_dim,
        ..
    } = shared.sizes;
    let size = shared.sizes.padded_dim() * columns;
    for lane in 0..task.output.rows * group {
        let (panel, query) = (lane / columns, lane % columns);
        let factor = 1.0 / running_of(&mut scratch.running, columns, panel).sums[query];
        let output = &scratch.output[panel * size..][..size];
        let row = &mut task.output.row_mut(lane / group)[lane % group * head_dim..][..head_dim];
        softmax::column(shared.simd, row, output, columns, query, factor);
    }
}
