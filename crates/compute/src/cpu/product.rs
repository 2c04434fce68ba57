//! The one driver of matrix products: a tile of the output from packed panels of B and rows of A that
//! the caller supplies chunk by chunk (it may read them, join them, gather them), with the caller's
//! last touch while the tile is in the cache.
//!
//! The loops are those of Goto and van de Geijn 2008: a chunk of the tile's rows of A stays in the
//! second-level cache, a chunk of one panel of B in the first-level cache, the sums in registers.
//! Tiles may be cut in any way: no bit depends on it (see [`kernels`](super::kernels)).
#![expect(
    unsafe_code,
    reason = "the kernels write blocks of a tile, which slices cannot express"
)]

mod thin;

use std::ops::Range;

use super::{
    CpuDevice, WeightFormat, coded,
    kernels::{DEPTH, Kernels, Quantised, Source, THIN_ROWS, Target},
    panels::{Panels, Stored},
    quantise,
    simd::Simd,
    tile::Tile,
    view::{view, view_mut},
};
use crate::workspace::Buffer;

/// Rows of a tile at most: with chunks of 256 they take 192 KiB of a second-level cache.
pub const TILE_ROWS: usize = 192;

/// Columns after which the caller gets its turn: 192 rows of 128 columns are 96 KiB.
const STRIP_COLUMNS: usize = 128;

/// Up to how many rows a product costs as much as the reading of B: twice [`THIN_ROWS`].
pub const FEW_ROWS: usize = 8;

/// A thread's buffers, kept from tile to tile.
pub struct Scratch {
    /// A chunk of the tile's rows, `[rows][depth of the chunk]`.
    a: Buffer,
    /// A chunk of a panel of B, if it is not stored as f32, or of [`coded::THIN_PANELS`].
    b: Buffer,
    integers: Integers,
    /// A block at the edge of the tile, or a strip of a thin one.
    block: Buffer,
}

/// What an eight-bit product needs instead, out of the same store.
struct Integers {
    /// A chunk of the tile's rows, quantised, as integers of sixteen bits.
    a: Buffer,
    /// The scale of each row.
    scales: Buffer,
    /// A chunk of a panel of B, in sixteen bits.
    b: Buffer,
}

impl Integers {
    /// Quantises `rows`, each of `depth` values.
    fn take(&mut self, simd: Simd, rows: &[f32], depth: usize) {
        let padded = depth.next_multiple_of(2);
        let a = view_mut(&mut self.a);
        let slots = a.chunks_exact_mut(padded).zip(&mut self.scales[..]);
        for (values, (slots, scale)) in rows.chunks_exact(depth).zip(slots) {
            *scale = quantise::activations(simd, values, slots);
        }
    }
}

impl Scratch {
    /// For tiles of up to `tile_rows` rows.
    pub fn new(device: &CpuDevice, tile_rows: usize) -> Self {
        let Kernels { rows, columns, .. } = *device.kernels;
        let strip = STRIP_COLUMNS.max(columns);
        let height = tile_rows.next_multiple_of(rows);
        // Two to an f32; nothing where no weight is of integers.
        let integers = |count: usize| match device.weights {
            WeightFormat::Int8 => device.scratch(count.div_ceil(2)),
            WeightFormat::Exact | WeightFormat::Bf16 => device.scratch(0),
        };
        Self {
            a: device.scratch(height * DEPTH),
            b: device.scratch(coded::THIN_PANELS * columns * DEPTH),
            integers: Integers {
                a: integers(height * DEPTH),
                scales: integers(2 * height),
                b: integers(DEPTH * columns),
            },
            block: device.scratch((rows * columns).max(THIN_ROWS * strip)),
        }
    }
}

/// What a caller brings to a product.
pub struct Caller<F, E> {
    /// `rows(first row of the tile, depth, buffer)` fills the buffer, `[rows][depth.len()]`, with
    /// consecutive rows of A from that one on.
    pub rows: F,
    /// `finish(row of the tile, columns of the output, values)` makes the output's values of the sums.
    pub finish: E,
}

/// `tile = A · B`, then `finish` on every value once.
pub fn into_tile(
    kernels: &Kernels,
    scratch: &mut Scratch,
    b: &Panels,
    tile: &mut Tile<'_>,
    mut caller: Caller<
        impl FnMut(usize, Range<usize>, &mut [f32]),
        impl FnMut(usize, Range<usize>, &mut [f32]),
    >,
) {
    assert_eq!(tile.column % kernels.columns, 0, "this is a bug");
    let panels =
        tile.column / kernels.columns..(tile.column + tile.columns).div_ceil(kernels.columns);
    let strip = (STRIP_COLUMNS / kernels.columns).max(1);
    for chunk in b.chunks() {
        let rows = &mut scratch.a[..tile.rows * chunk.len()];
        (caller.rows)(0, chunk.clone(), rows);
        if let Stored::Int8(_) = b.stored() {
            scratch.integers.take(Simd::of(kernels), rows, chunk.len());
        }
        for first in panels.clone().step_by(strip) {
            let strip = first..panels.end.min(first + strip);
            if tile.rows <= FEW_ROWS {
                thin::strip(kernels, scratch, b, tile, &chunk, strip.clone());
            } else {
                for panel in strip.clone() {
                    one_panel(kernels, scratch, b, tile, &chunk, panel);
                }
            }
            if chunk.end == b.depth {
                finish_strip(kernels, tile, strip, &mut caller.finish);
            }
        }
    }
}

fn finish_strip(
    kernels: &Kernels,
    tile: &mut Tile<'_>,
    strip: Range<usize>,
    finish: &mut impl FnMut(usize, Range<usize>, &mut [f32]),
) {
    let end = (strip.end * kernels.columns).min(tile.column + tile.columns);
    let columns = strip.start * kernels.columns..end;
    let within = columns.start - tile.column..columns.end - tile.column;
    for row in 0..tile.rows {
        finish(row, columns.clone(), &mut tile.row_mut(row)[within.clone()]);
    }
}

/// One chunk of one panel of B with all rows of the tile.
fn one_panel(
    kernels: &Kernels,
    scratch: &mut Scratch,
    b: &Panels,
    tile: &mut Tile<'_>,
    chunk: &Range<usize>,
    panel: usize,
) {
    let Scratch {
        a,
        b: decoded,
        integers,
        block,
    } = scratch;
    let stored = || b.range(chunk, panel..panel + 1);
    let place = Place {
        column: panel * kernels.columns - tile.column,
        accumulate: chunk.start > 0,
    };
    let depth = chunk.len();
    let values = match b.stored() {
        Stored::F32(values) => &values[stored()],
        Stored::Bf16(values) => {
            let values = &values[stored()];
            let decoded = &mut decoded[..values.len()];
            kernels.widen(values, decoded);
            decoded
        }
        Stored::Coded(coded) => {
            let decoded = &mut decoded[..depth * kernels.columns];
            coded.widen(kernels, chunk, panel, decoded);
            decoded
        }
        Stored::Int8(values) => {
            let pairs = depth.div_ceil(2);
            let (values, scales) = values[stored()].split_at(2 * pairs * kernels.columns);
            let decoded = &mut view_mut(&mut integers.b)[..values.len()];
            kernels.widen_int8(values, decoded);
            blocks(kernels, tile, block, place, |row, c| {
                let rows = kernels.rows;
                let a = &view(&integers.a)[row * 2 * pairs..][..rows * 2 * pairs];
                let product = Quantised {
                    pairs,
                    a: Source {
                        start: a.as_ptr(),
                        stride: 2 * pairs,
                    },
                    a_scales: integers.scales[row..][..rows].as_ptr(),
                    b: decoded.as_ptr(),
                    b_scales: scales.as_ptr().cast(),
                };
                // SAFETY: the slices hold whole blocks of rows and a whole panel of this depth with the
                // scales behind it (their address is a multiple of four, since the buffer's and the
                // integers' number are), and `blocks` hands out room for a whole block.
                unsafe { kernels.product_int8(product, c) };
            });
            return;
        }
    };
    blocks(kernels, tile, block, place, |row, c| {
        let a = rows_of(a, row, kernels.rows, depth);
        // SAFETY: `a` has room for whole blocks of rows (what lies behind the tile's rows is anything,
        // and reaches no value of the tile), the panel is of this depth, and `blocks` hands out room
        // for a whole block.
        unsafe { kernels.product_rows(depth, a, values.as_ptr(), c) };
    });
}

/// Where a panel's products go in the tile.
#[derive(Clone, Copy)]
struct Place {
    column: usize,
    accumulate: bool,
}

/// Calls `product(first row, target)` for every block of rows under one panel; the target has room for
/// a whole block, in the tile or, at its edges, in a scratch that is then copied there.
fn blocks(
    kernels: &Kernels,
    tile: &mut Tile<'_>,
    block: &mut [f32],
    place: Place,
    mut product: impl FnMut(usize, Target),
) {
    let Place { column, accumulate } = place;
    let whole_columns = column + kernels.columns <= tile.columns;
    for row in (0..tile.rows).step_by(kernels.rows) {
        if whole_columns && row + kernels.rows <= tile.rows {
            product(row, tile.target(row, column, accumulate));
            continue;
        }
        let block = &mut block[..kernels.rows * kernels.columns];
        let c = Target {
            start: block.as_mut_ptr(),
            stride: kernels.columns,
            accumulate: false,
        };
        product(row, c);
        let rows = row..tile.rows.min(row + kernels.rows);
        let columns = column..tile.columns.min(column + kernels.columns);
        add_block(tile, rows, columns, block, kernels.columns, accumulate);
    }
}

/// `count` rows of `depth` values each, from row `row` on.
fn rows_of(a: &[f32], row: usize, count: usize, depth: usize) -> Source<f32> {
    Source {
        start: a[row * depth..][..count * depth].as_ptr(),
        stride: depth,
    }
}

/// The part of a scratch block that lies within the tile goes there.
fn add_block(
    tile: &mut Tile<'_>,
    rows: Range<usize>,
    columns: Range<usize>,
    block: &[f32],
    stride: usize,
    accumulate: bool,
) {
    for (row, sums) in rows.zip(block.chunks_exact(stride)) {
        let values = &mut tile.row_mut(row)[columns.clone()];
        if accumulate {
            values.iter_mut().zip(sums).for_each(|(v, sum)| *v += sum);
        } else {
            values.copy_from_slice(&sums[..values.len()]);
        }
    }
}
