//! One block of queries of one head against all keys.

use super::{QUERY_BLOCK, Shared, Sizes, Task, pack, softmax};
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
    running: Vec<softmax::Running>,
}

impl Scratch {
    pub fn new(device: &CpuDevice, sizes: Sizes) -> Self {
        let panels = QUERY_BLOCK.div_ceil(sizes.columns);
        let queries = panels * sizes.columns;
        Self {
            queries: device.scratch(queries * sizes.head_dim),
            rows: device.scratch(sizes.columns * sizes.head_dim),
            scores: device.scratch(sizes.key_block * sizes.columns),
            output: device.scratch(queries * sizes.padded_dim()),
            running: vec![softmax::Running::new(sizes.columns); panels],
        }
    }
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
    let first_query = task.segment_start + task.output.row;
    let panels = task.output.rows.div_ceil(sizes.columns);
    scratch.running[..panels]
        .iter_mut()
        .for_each(softmax::Running::reset);
    for (index, packed) in packed[..sizes.packed_head()]
        .chunks_exact(sizes.packed_block())
        .enumerate()
    {
        for panel in 0..panels {
            let query = first_query + panel * sizes.columns;
            let block = KeyBlock {
                packed,
                first: index * sizes.key_block,
                head: task.output.column / sizes.head_dim,
            };
            attend_panel(
                shared,
                &block,
                Queries {
                    panel,
                    first: query,
                },
                scratch,
            );
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

/// A panel of queries.
struct Queries {
    /// Which one of the task.
    panel: usize,
    /// The first query.
    first: usize,
}

/// A panel of queries against a block of keys.
fn attend_panel(
    shared: &Shared<'_>,
    block: &KeyBlock<'_>,
    queries: Queries,
    scratch: &mut Scratch,
) {
    let Sizes {
        sequence,
        key_block,
        columns,
        ..
    } = shared.sizes;
    let Queries {
        panel,
        first: query,
    } = queries;
    // A causal panel sees no key after its last query.
    let end = match shared.attention.mask {
        Mask::Causal => sequence.min(query + columns),
        Mask::None | Mask::RelativeBias(_) => sequence,
    };
    let count = end.saturating_sub(block.first).min(key_block);
    if count == 0 {
        return;
    }
    multiply_keys(shared, block, panel, count, scratch);
    let scores = &mut scratch.scores[..count * columns];
    match shared.attention.mask {
        Mask::None => {}
        Mask::Causal => {
            let first_hidden = block.first.max(query + 1);
            if first_hidden < block.first + count {
                let scores = &mut scores[(first_hidden - block.first) * columns..];
                softmax::hide_later_keys(shared.simd, scores, columns, first_hidden - query);
            }
        }
        Mask::RelativeBias(_) => {
            let bias = shared.bias.of(block.head, query, block.first + count - 1);
            softmax::add_bias(shared.simd, scores, columns, bias);
        }
    }
    let running = &mut scratch.running[panel];
    let changed = softmax::weigh(shared.simd, scores, columns, running);
    let size = shared.sizes.padded_dim() * columns;
    let output = &mut scratch.output[panel * size..][..size];
    if block.first > 0 && changed {
        softmax::rescale(shared.simd, output, &running.rescale);
    }
    multiply_values(shared, block, &scratch.scores[..count * columns], output);
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
    let source = pack::Source {
        attention: shared.attention,
        sizes: shared.sizes,
        simd: shared.simd,
        head: task.output.column / shared.sizes.head_dim,
        sample: task.output.sample,
    };
    let rows = task.output.row..task.output.row + task.output.rows;
    let (segment, start) = (task.segment, task.segment_start);
    pack::queries(
        &source,
        segment,
        rows,
        start,
        &mut scratch.queries,
        &mut scratch.rows,
    );
}

fn write_output(shared: &Shared<'_>, task: &mut Task<'_>, scratch: &Scratch) {
    let columns = shared.sizes.columns;
    let size = shared.sizes.padded_dim() * columns;
    for row in 0..task.output.rows {
        let (panel, query) = (row / columns, row % columns);
        let factor = 1.0 / scratch.running[panel].sums[query];
        let output = &scratch.output[panel * size..][..size];
        softmax::column(
            shared.simd,
            task.output.row_mut(row),
            output,
            columns,
            query,
            factor,
        );
    }
}
