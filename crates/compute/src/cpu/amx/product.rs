//! The driver of products by tiles: as [`product`](super::super::product) is for f32, with the same
//! callers.
//!
//! For each part of the depth ([`splits`]), the tile's rows of A (up to 320) are rounded and packed
//! into the second-level cache; then panel after panel of B passes by, in chunks that stay in the
//! first-level cache while all blocks of rows use them. Sums wait panel by panel (in the output's order
//! each of their rows would lie on a page of its own), and leave past the cache when the output is large.

use std::ops::Range;

use super::{
    block::{self, Ahead, BLOCK_COLUMNS, BLOCK_ROWS, Sums, shares_of},
    rounding, stream,
    tiles::{Operand, TILE_ROWS, Tiles},
    weight::{SPLIT_DEPTH, TilePanels, TileWeight, splits},
};
use crate::{
    cpu::{
        CpuDevice,
        product::Caller,
        simd::Simd,
        tile::{Grid, Tile},
        view::{view, view_mut},
    },
    workspace::Buffer,
};

/// Rows of a tile at most. Over a part of the depth they take 1 MiB of a second-level cache of 2 MiB, which
/// B and the sums share: with 1.5 MiB a product takes up to half as long again.
pub const MAX_ROWS: usize = 320;

/// Depth of a chunk: 512 by 32 values of bf16 are 32 KiB. In bytes rather than values, so that a chunk
/// of int8 is as large.
const CHUNK_BYTES: usize = 1024;

/// The deepest step, that of int8: depths of scratches are multiples of it.
const DEEPEST_STEP: usize = 64;

/// Panels after which the caller gets its turn: 320 rows of 128 sums are 160 KiB.
const STRIP_PANELS: usize = 4;

/// The same in columns.
const STRIP_COLUMNS: usize = STRIP_PANELS * BLOCK_COLUMNS;

/// Values of a tile of the output, 1 MiB, from which on they go past the cache: they would only push out
/// what is needed next.
const LARGE_OUTPUT: usize = 1 << 18;

/// A thread's tiles and buffers, kept from tile to tile.
pub struct Scratch<T> {
    tiles: T,
    simd: Simd,
    buffers: Buffers,
}

struct Buffers {
    /// A part of the depth of the tile's rows of A, as operands: `[block of rows][step][32][STEP]`.
    a: Buffer,
    /// The tile's sums, or a strip of them: `[panel][row][32]`.
    sums: Buffer,
    /// Some rows of A as the caller gave them.
    rows: Buffer,
    /// What each row was divided by.
    scales: Buffer,
}

impl<T: Tiles> Scratch<T> {
    /// Takes this thread's tiles, and room for tiles of `grid` over a depth of `depth`.
    pub fn new(device: &CpuDevice, grid: Grid, depth: usize) -> Self {
        let rows = grid.tile_rows.next_multiple_of(BLOCK_ROWS);
        let deepest = depth.min(SPLIT_DEPTH).next_multiple_of(DEEPEST_STEP);
        Self {
            tiles: T::configure(),
            simd: device.simd(),
            buffers: Buffers {
                a: device.scratch(rows * deepest * size_of::<u16>() / size_of::<f32>()),
                sums: device.scratch(sums_panels(depth, grid.tile_columns) * rows * BLOCK_COLUMNS),
                rows: device.scratch(TILE_ROWS * CHUNK_BYTES),
                scales: device.scratch(rows),
            },
        }
    }
}

/// Sums of a panel.
fn panel_size(tile: &Tile<'_>) -> usize {
    tile.rows.next_multiple_of(BLOCK_ROWS) * BLOCK_COLUMNS
}

/// Panels whose sums are kept. If the depth is one part, a strip at a time is enough.
fn sums_panels(depth: usize, columns: usize) -> usize {
    let panels = columns.div_ceil(BLOCK_COLUMNS);
    if depth > SPLIT_DEPTH {
        panels
    } else {
        panels.min(STRIP_PANELS)
    }
}

/// `tile = A · B`, then `finish` on every value once; see
/// [`product::into_tile`](super::super::product::into_tile).
pub fn into_tile<T: Tiles>(
    scratch: &mut Scratch<T>,
    b: &TileWeight,
    tile: &mut Tile<'_>,
    caller: Caller<
        impl FnMut(usize, Range<usize>, &mut [f32]),
        impl FnMut(usize, Range<usize>, &mut [f32]),
    >,
) {
    let Scratch {
        tiles,
        simd,
        buffers,
    } = scratch;
    let simd = *simd;
    match b {
        TileWeight::Bf16(b) => {
            let round = |values: &[f32], _: f32, target: &mut [u16]| {
                rounding::to_bf16(simd, target, values);
            };
            let value = |sums: &[f32], _: f32, _: Range<usize>, output: &mut [f32]| {
                output.copy_from_slice(sums);
            };
            let conversion = Conversion {
                scaled: false,
                round,
                value,
            };
            Product {
                tiles,
                simd,
                buffers,
                b,
                conversion,
            }
            .run(tile, caller);
        }
        TileWeight::Int8(b, scales) => {
            let round = |values: &[f32], scale: f32, target: &mut [i8]| {
                rounding::to_int8(simd, target, values, 1.0 / scale);
            };
            let value = |sums: &[i32], scale: f32, columns: Range<usize>, output: &mut [f32]| {
                rounding::scale_sums(simd, output, sums, scale, &scales[columns]);
            };
            let conversion = Conversion {
                scaled: true,
                round,
                value,
            };
            Product {
                tiles,
                simd,
                buffers,
                b,
                conversion,
            }
            .run(tile, caller);
        }
    }
}

/// How rows of A become operands, and sums values.
struct Conversion<R, V> {
    /// Whether each row has a scale of its own.
    scaled: bool,
    /// `round(values, the row's scale, operands)`
    round: R,
    /// `value(sums, the row's scale, columns, values)`
    value: V,
}

/// One tile's product under way.
struct Product<'a, T, O: Operand, R, V> {
    tiles: &'a mut T,
    simd: Simd,
    buffers: &'a mut Buffers,
    b: &'a TilePanels<O>,
    conversion: Conversion<R, V>,
}

impl<T, O, R, V> Product<'_, T, O, R, V>
where
    T: Tiles,
    O: Operand,
    R: Fn(&[f32], f32, &mut [O]),
    V: Fn(&[O::Sum], f32, Range<usize>, &mut [f32]),
{
    const CHUNK: usize = CHUNK_BYTES / size_of::<O>();

    fn run(
        mut self,
        tile: &mut Tile<'_>,
        mut caller: Caller<
            impl FnMut(usize, Range<usize>, &mut [f32]),
            impl FnMut(usize, Range<usize>, &mut [f32]),
        >,
    ) {
        assert_eq!(tile.column % BLOCK_COLUMNS, 0, "this is a bug");
        self.find_scales(tile.rows, &mut caller.rows);
        let panels =
            tile.column / BLOCK_COLUMNS..(tile.column + tile.columns).div_ceil(BLOCK_COLUMNS);
        for split in splits(self.b.depth) {
            self.pack_rows(tile.rows, &split, &mut caller.rows);
            let last = split.end == self.b.depth;
            for panel in panels.clone() {
                self.one_panel(tile, &split, panel);
                let column = (panel + 1) * BLOCK_COLUMNS - tile.column;
                let done = panel + 1 == panels.end;
                if last && (done || column.is_multiple_of(STRIP_COLUMNS)) {
                    let end = column.min(tile.columns);
                    let start = (end - 1) / STRIP_COLUMNS * STRIP_COLUMNS;
                    self.finish(tile, start..end, &mut caller.finish);
                }
            }
        }
    }

    /// Where the sums of the tile's panel that begins with `column` are kept.
    fn place(&self, tile: &Tile<'_>, column: usize) -> usize {
        let panel = column / BLOCK_COLUMNS % sums_panels(self.b.depth, tile.columns);
        panel * panel_size(tile)
    }

    fn find_scales(
        &mut self,
        rows: usize,
        source: &mut impl FnMut(usize, Range<usize>, &mut [f32]),
    ) {
        if !self.conversion.scaled {
            self.buffers.scales[..rows].fill(1.0);
            return;
        }
        let Buffers {
            rows: buffer,
            scales,
            ..
        } = self.buffers;
        let scales = &mut scales[..rows];
        scales.fill(0.0);
        let parts = Parts {
            rows,
            depth: &(0..self.b.depth),
            chunk: Self::CHUNK,
        };
        parts.visit(buffer, source, |row, _, values| {
            let here = rounding::largest(self.simd, values);
            // Both are not negative, so as integers they keep their order, and NaN stays.
            scales[row] = f32::from_bits(scales[row].to_bits().max(here.to_bits()));
        });
        for scale in scales {
            *scale = rounding::scale_for(*scale);
        }
    }

    /// Packs a part of the depth of the tile's rows of A.
    fn pack_rows(
        &mut self,
        rows: usize,
        split: &Range<usize>,
        source: &mut impl FnMut(usize, Range<usize>, &mut [f32]),
    ) {
        let steps = split.len().div_ceil(O::STEP);
        let Buffers {
            a,
            rows: buffer,
            scales,
            ..
        } = self.buffers;
        let a = view_mut::<O>(a);
        let mut rounded = [O::default(); CHUNK_BYTES];
        let parts = Parts {
            rows,
            depth: split,
            chunk: Self::CHUNK,
        };
        parts.visit(buffer, source, |row, start, values| {
            let block = row / BLOCK_ROWS * steps * BLOCK_ROWS * O::STEP;
            let step = (start - split.start) / O::STEP;
            let first = block + step * BLOCK_ROWS * O::STEP + row % BLOCK_ROWS * O::STEP;
            // Whole steps, so that each is a copy of known length.
            let rounded = &mut rounded[..values.len().next_multiple_of(O::STEP)];
            let (operands, padding) = rounded.split_at_mut(values.len());
            (self.conversion.round)(values, scales[row], operands);
            padding.fill(O::default());
            let targets = a[first..].chunks_mut(BLOCK_ROWS * O::STEP);
            for (operands, target) in rounded.chunks_exact(O::STEP).zip(targets) {
                target[..O::STEP].copy_from_slice(operands);
            }
        });
    }

    /// All rows of the tile with one panel of B, over one part of the depth. Each product asks for its share
    /// of what comes next: the next chunk of B, and sums that earlier parts left to the next panel.
    fn one_panel(&mut self, tile: &Tile<'_>, split: &Range<usize>, panel: usize) {
        let depth = split.len().next_multiple_of(O::STEP);
        let place = self.place(tile, panel * BLOCK_COLUMNS - tile.column);
        let b = self.b.panels_from(split, panel);
        let blocks = tile.rows.div_ceil(BLOCK_ROWS);
        let rows = view::<O>(&self.buffers.a);
        let size = panel_size(tile);
        let (all_sums, next_sums) = view_mut(&mut self.buffers.sums)[place..].split_at_mut(size);
        let next_sums = match split.start {
            0 => &[],
            _ => &next_sums[..size.min(next_sums.len())],
        };
        let mut shares = shares_of(next_sums, depth.div_ceil(Self::CHUNK) * blocks);
        for start in (0..depth).step_by(Self::CHUNK) {
            let chunk = start..depth.min(start + Self::CHUNK);
            let within = chunk.start * BLOCK_COLUMNS..chunk.end * BLOCK_COLUMNS;
            let next = &b[within.end..];
            let next = &next[..next.len().min(within.len())];
            for (block, operands) in (0..blocks).zip(shares_of(next, blocks)) {
                let a = &rows[block * BLOCK_ROWS * depth..][..BLOCK_ROWS * depth];
                let sums = Sums {
                    values: &mut all_sums[block * BLOCK_ROWS * BLOCK_COLUMNS..],
                    stride: BLOCK_COLUMNS,
                    accumulate: split.start + start > 0,
                };
                let ahead = Ahead {
                    operands,
                    sums: shares.next().unwrap_or_default(),
                };
                block::product(
                    self.tiles,
                    &a[within.clone()],
                    &b[within.clone()],
                    ahead,
                    sums,
                );
            }
        }
    }

    /// The caller's last touch on the sums of these columns of the tile, and then they leave.
    fn finish(
        &mut self,
        tile: &mut Tile<'_>,
        columns: Range<usize>,
        finish: &mut impl FnMut(usize, Range<usize>, &mut [f32]),
    ) {
        let output = tile.column + columns.start..tile.column + columns.end;
        let mut values = [0.0; STRIP_COLUMNS];
        let values = &mut values[..columns.len()];
        let sums = view(&self.buffers.sums);
        let (place, size) = (self.place(tile, columns.start), panel_size(tile));
        let large = tile.rows * tile.columns >= LARGE_OUTPUT;
        for row in 0..tile.rows {
            for (index, values) in values.chunks_mut(BLOCK_COLUMNS).enumerate() {
                let sums = &sums[place + index * size + row * BLOCK_COLUMNS..][..values.len()];
                let first = output.start + index * BLOCK_COLUMNS;
                let columns = first..first + values.len();
                (self.conversion.value)(sums, self.buffers.scales[row], columns, values);
            }
            finish(row, output.clone(), values);
            let target = &mut tile.row_mut(row)[columns.clone()];
            if large {
                stream::copy(target, values);
            } else {
                target.copy_from_slice(values);
            }
        }
        stream::finish();
    }
}

/// Parts of rows of A.
struct Parts<'a> {
    rows: usize,
    depth: &'a Range<usize>,
    /// Depth of a part.
    chunk: usize,
}

impl Parts<'_> {
    /// Calls `visit` with every part of every row: its row, the depth at which it begins, its values,
    /// for which `source` is asked.
    fn visit(
        &self,
        buffer: &mut [f32],
        source: &mut impl FnMut(usize, Range<usize>, &mut [f32]),
        mut visit: impl FnMut(usize, usize, &[f32]),
    ) {
        for first in (0..self.rows).step_by(TILE_ROWS) {
            let count = TILE_ROWS.min(self.rows - first);
            for start in self.depth.clone().step_by(self.chunk) {
                let part = start..self.depth.end.min(start + self.chunk);
                let length = part.len();
                let values = &mut buffer[..count * length];
                source(first, part, values);
                for (row, values) in values.chunks_exact(length).enumerate() {
                    visit(first + row, start, values);
                }
            }
        }
    }
}
