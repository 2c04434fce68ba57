//! From tokens to panels of tiles: RMS norm, rotation and scale on the way, then bf16.

use std::ops::Range;

use super::{
    super::pack::{Queries, Source},
    STEP, STEP_SIZE, Sizes,
};
use crate::{
    cpu::{
        CpuDevice,
        amx::{
            block::{BLOCK_COLUMNS, BLOCK_ROWS},
            rounding,
            tiles::{TILE_COLUMNS, TILE_ROWS},
        },
        simd::vectorised,
        view::view_mut,
    },
    workspace::Buffer,
};

/// Where rows wait before they are packed.
pub(super) struct Rows {
    /// One row of `head_dim` values.
    row: Buffer,
    /// A panel of rows in bf16, `padded_dim` values each.
    rounded: Buffer,
    sizes: Sizes,
}

impl Rows {
    pub fn new(device: &CpuDevice, sizes: Sizes) -> Self {
        let rounded = BLOCK_ROWS * sizes.padded_dim * size_of::<u16>() / size_of::<f32>();
        Self {
            row: device.scratch(sizes.head_dim),
            rounded: device.scratch(rounded),
            sizes,
        }
    }

    /// Rounds `count` rows that `make` makes; all others of the panel become zeros.
    fn round(
        &mut self,
        source: &Source<'_>,
        count: usize,
        mut make: impl FnMut(usize, &mut [f32]),
    ) -> &[u16] {
        let Sizes {
            head_dim,
            padded_dim,
            ..
        } = self.sizes;
        let rounded = &mut view_mut::<u16>(&mut self.rounded)[..BLOCK_ROWS * padded_dim];
        for (index, rounded) in rounded.chunks_exact_mut(padded_dim).enumerate() {
            let (values, padding) = rounded.split_at_mut(head_dim);
            padding.fill(0);
            if index < count {
                make(index, &mut self.row);
                rounding::to_bf16(source.simd, values, &self.row);
            } else {
                values.fill(0);
            }
        }
        rounded
    }
}

/// Packs queries into panels of 32, `[step of features][32][STEP]`; rows that fill up the last one are
/// zeros.
pub(super) fn queries(source: &Source<'_>, queries: &Queries, packed: &mut [u16], rows: &mut Rows) {
    let tokens = queries.tokens.clone();
    let padded_dim = rows.sizes.padded_dim;
    let panels = packed.chunks_exact_mut(BLOCK_ROWS * padded_dim);
    for (panel, first) in panels.zip(tokens.clone().step_by(BLOCK_ROWS)) {
        let count = BLOCK_ROWS.min(tokens.end - first);
        let rounded = rows.round(source, count, |index, row| {
            source.query(queries, first + index, 0, row);
        });
        for (index, row) in rounded.chunks_exact(padded_dim).enumerate() {
            let steps = panel.chunks_exact_mut(STEP_SIZE);
            for (step, values) in steps.zip(row.chunks_exact(STEP)) {
                step[index * STEP..][..STEP].copy_from_slice(values);
            }
        }
    }
}

/// Packs the keys of `positions` into panels of 32, from the first on; columns that fill up the last one
/// are zeros.
pub(super) fn keys(
    source: &Source<'_>,
    positions: Range<usize>,
    packed: &mut [u16],
    rows: &mut Rows,
) {
    let padded_dim = rows.sizes.padded_dim;
    let panels = packed.chunks_exact_mut(BLOCK_COLUMNS * padded_dim);
    for (panel, first) in panels.zip(positions.clone().step_by(BLOCK_COLUMNS)) {
        let count = BLOCK_COLUMNS.min(positions.end - first);
        let rounded = rows.round(source, count, |index, row| source.key(first + index, row));
        pair_features(source.simd, panel, rounded, padded_dim);
    }
}

/// Packs the values of `positions` into a panel for each 32 features, which has room for so many keys;
/// keys that fill up the last step are zeros.
pub(super) fn values(
    source: &Source<'_>,
    positions: Range<usize>,
    (packed, room): (&mut [u16], usize),
    rows: &mut Rows,
) {
    let padded_dim = rows.sizes.padded_dim;
    for (step, first) in positions.clone().step_by(STEP).enumerate() {
        let count = STEP.min(positions.end - first);
        let rounded = rows.round(source, count, |index, row| {
            row.copy_from_slice(source.value(first + index));
        });
        for (group, pair) in rounded.chunks_exact(2 * padded_dim).enumerate() {
            let (even, odd) = pair.split_at(padded_dim);
            for (half, first) in (0..padded_dim).step_by(TILE_COLUMNS).enumerate() {
                let start = half / 2 * room * BLOCK_COLUMNS
                    + step * STEP_SIZE
                    + (half % 2 * TILE_ROWS + group) * 2 * TILE_COLUMNS;
                let target = &mut packed[start..][..2 * TILE_COLUMNS];
                let features = first..first + TILE_COLUMNS;
                pair_keys(source.simd, target, &even[features.clone()], &odd[features]);
            }
        }
    }
}

vectorised! {
    /// 32 rows of `depth` values become the columns of a panel, pairs of neighbouring values side by side.
    pub fn pair_features(panel: &mut [u16], rows: &[u16], depth: usize) {
        let (groups, _) = panel.as_chunks_mut::<{ 2 * TILE_COLUMNS }>();
        let groups_of_step = 2 * TILE_ROWS;
        for (half, rows) in rows.chunks_exact(TILE_COLUMNS * depth).enumerate() {
            let rows: [&[[u16; 2]]; TILE_COLUMNS] =
                std::array::from_fn(|row| rows[row * depth..][..depth].as_chunks().0);
            for pair in 0..depth / 2 {
                let group = pair / TILE_ROWS * groups_of_step + half * TILE_ROWS + pair % TILE_ROWS;
                let (slots, _) = groups[group].as_chunks_mut::<2>();
                for (slot, row) in slots.iter_mut().zip(rows) {
                    *slot = row[pair];
                }
            }
        }
    }

    /// `target = even[0], odd[0], even[1], …`
    pub fn pair_keys(target: &mut [u16], even: &[u16], odd: &[u16]) {
        let (slots, _) = target.as_chunks_mut::<2>();
        for (slot, (even, odd)) in slots.iter_mut().zip(even.iter().zip(odd)) {
            *slot = [*even, *odd];
        }
    }
}
