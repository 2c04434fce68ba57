//! A weight as the tiles read it: packed once, in bf16, or in bytes with a scale for each column.

use std::ops::Range;

use super::{
    block::BLOCK_COLUMNS,
    rounding,
    tiles::{Operand, TILE_COLUMNS, TILE_ROWS},
};
use crate::{
    PackedImage, PackedPart, StoredMatrix,
    cpu::{CpuDevice, aligned::Buffer},
};

/// [`TileWeight::Bf16`] in an image.
const TILES_BF16: &str = "tiles of bf16";

/// Up to this depth a tile's 320 rows of A take 1 MiB of bf16, and so stay in a second-level cache of
/// 2 MiB. Deeper products are cut here, which costs a pass over the sums; twice the depth with half of the
/// rows would cost more, because a tile reads B once for all its rows, and a model's weights come from
/// memory.
pub const SPLIT_DEPTH: usize = 1536;

/// `(depth, columns)` as `[split][panel][step][2][16][16][GROUP]`; see [`block`](super::block).
#[derive(Debug)]
pub struct TilePanels<O: Operand> {
    /// Rows of B.
    pub depth: usize,
    /// Columns of B. The last panel is filled up with zeros, and so is the last step of the depth.
    pub columns: usize,
    values: Buffer<O>,
}

impl<O: Operand> TilePanels<O> {
    /// Packs `weight`, `(columns, depth)` as PyTorch keeps it, on all threads of the device;
    /// `round(column, values, operands)` makes operands of a part of a column.
    fn new(
        device: &CpuDevice,
        weight: &StoredMatrix<'_>,
        round: impl Fn(usize, &[f32], &mut [O]) + Sync,
    ) -> Self {
        let mut panels = Self {
            depth: weight.columns(),
            columns: weight.rows(),
            values: Buffer::zeros(0),
        };
        let mut values = Buffer::zeros(panels.size());
        let deepest = panels.depth.min(SPLIT_DEPTH);
        let scratch = || {
            let operands = vec![O::default(); deepest.next_multiple_of(O::STEP)];
            (device.scratch(deepest), operands)
        };
        let parts = panels.cut(&mut values);
        device.for_each(parts, scratch, |(row, operands), part| {
            let operands = &mut operands[..part.depth.len().next_multiple_of(O::STEP)];
            operands[part.depth.len()..].fill(O::default());
            let row = &mut row[..part.depth.len()];
            for (place, column) in part.columns.enumerate() {
                weight.read(column, part.depth.clone(), row);
                round(column, row, operands);
                put_column(part.values, place, operands);
            }
        });
        panels.values = values;
        panels
    }

    /// How many operands there are, with the padding.
    fn size(&self) -> usize {
        size::<O>(self.depth, self.columns)
    }

    /// `values` cut into panels.
    fn cut<'a>(&self, mut values: &'a mut [O]) -> Vec<PanelPart<'a, O>> {
        let mut parts = Vec::new();
        for depth in splits(self.depth) {
            for first in (0..self.columns).step_by(BLOCK_COLUMNS) {
                let size = depth.len().next_multiple_of(O::STEP) * BLOCK_COLUMNS;
                let (panel, rest) = std::mem::take(&mut values).split_at_mut(size);
                values = rest;
                parts.push(PanelPart {
                    depth: depth.clone(),
                    columns: first..self.columns.min(first + BLOCK_COLUMNS),
                    values: panel,
                });
            }
        }
        parts
    }

    /// One panel's part of a split, 32 columns, and behind it what is read next.
    pub fn panels_from(&self, split: &Range<usize>, index: usize) -> &[O] {
        let size = split.len().next_multiple_of(O::STEP) * BLOCK_COLUMNS;
        let start = split.start * self.count() * BLOCK_COLUMNS + index * size;
        &self.values[start..]
    }

    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(BLOCK_COLUMNS)
    }
}

impl TilePanels<u16> {
    /// `weight` rounded to bf16.
    pub fn bf16(device: &CpuDevice, weight: &StoredMatrix<'_>) -> Self {
        let simd = device.simd();
        Self::new(device, weight, |_, values, operands| {
            rounding::to_bf16(simd, operands, values);
        })
    }

    /// Bytes that panels of `columns` over `depth` take.
    pub fn bytes(depth: usize, columns: usize) -> usize {
        size::<u16>(depth, columns) * size_of::<u16>()
    }
}

/// Operands of panels of `columns` over `depth`, with the padding.
fn size<O: Operand>(depth: usize, columns: usize) -> usize {
    depth.next_multiple_of(O::STEP) * columns.next_multiple_of(BLOCK_COLUMNS)
}

/// One panel's part of a split, to be filled.
struct PanelPart<'a, O> {
    depth: Range<usize>,
    columns: Range<usize>,
    values: &'a mut [O],
}

/// The parts that a depth is cut into; all but the last are whole steps of any type.
pub fn splits(depth: usize) -> impl Iterator<Item = Range<usize>> {
    (0..depth)
        .step_by(SPLIT_DEPTH)
        .map(move |start| start..depth.min(start + SPLIT_DEPTH))
}

/// Writes one column of a panel, over its whole padded depth.
fn put_column<O: Operand>(panel: &mut [O], column: usize, values: &[O]) {
    let tile = TILE_ROWS * TILE_COLUMNS * O::GROUP;
    let first = column / TILE_COLUMNS * tile + column % TILE_COLUMNS * O::GROUP;
    for (step, values) in values.chunks_exact(O::STEP).enumerate() {
        let tile = &mut panel[step * 2 * tile + first..];
        let rows = tile.chunks_mut(TILE_COLUMNS * O::GROUP);
        for (row, group) in rows.zip(values.chunks_exact(O::GROUP)) {
            row[..O::GROUP].copy_from_slice(group);
        }
    }
}

/// A weight in one of the types.
#[derive(Debug)]
pub enum TileWeight {
    /// Rounded to bf16 (exact if it was bf16 before).
    Bf16(TilePanels<u16>),
    /// Bytes, and what each column's bytes are to be multiplied by.
    Int8(TilePanels<i8>, Vec<f32>),
}

impl TileWeight {
    /// Rows of B.
    pub fn depth(&self) -> usize {
        match self {
            Self::Bf16(panels) => panels.depth,
            Self::Int8(panels, _) => panels.depth,
        }
    }

    /// `weight` is `(columns, depth)` as PyTorch keeps it; rounded to bf16.
    pub fn bf16(device: &CpuDevice, weight: &StoredMatrix<'_>) -> Self {
        Self::Bf16(TilePanels::bf16(device, weight))
    }

    /// Bytes that [`Self::bf16`] takes.
    pub fn bf16_bytes(weight: &StoredMatrix<'_>) -> usize {
        TilePanels::bytes(weight.columns(), weight.rows())
    }

    /// Bytes that [`Self::int8`] takes, the scales among them.
    pub fn int8_bytes(weight: &StoredMatrix<'_>) -> usize {
        size::<i8>(weight.columns(), weight.rows()) + weight.rows() * size_of::<f32>()
    }

    /// The same, each column rounded to bytes by its largest absolute value.
    pub fn int8(device: &CpuDevice, weight: &StoredMatrix<'_>) -> Self {
        let simd = device.simd();
        let mut scales = vec![0.0; weight.rows()];
        let columns = scales.iter_mut().enumerate();
        let scratch = || device.scratch(weight.columns());
        device.for_each(columns, scratch, |row, (column, scale)| {
            let row = &mut row[..weight.columns()];
            weight.read(column, 0..weight.columns(), row);
            *scale = rounding::scale_for(rounding::largest(simd, row));
        });
        let panels = TilePanels::new(device, weight, |column, values, operands| {
            rounding::to_int8(simd, operands, values, 1.0 / scales[column]);
        });
        Self::Int8(panels, scales)
    }

    /// The weight as it lies in memory. Bytes have scales beside them, and no image.
    pub fn image(&self) -> Option<PackedImage<'_>> {
        match self {
            Self::Bf16(panels) => Some(PackedImage {
                form: TILES_BF16.into(),
                bytes: panels.values.as_bytes(),
            }),
            Self::Int8(..) => None,
        }
    }

    /// A weight out of a file that holds what [`TileWeight::image`] gave; `None` if it cannot be that.
    pub fn of_image(part: &PackedPart<'_>) -> Option<Self> {
        if part.form != TILES_BF16 {
            return None;
        }
        let panels = TilePanels::<u16> {
            depth: part.in_features,
            columns: part.out_features,
            values: Buffer::of_file(part.file.clone(), part.bytes.clone())?,
        };
        (panels.values.len() == panels.size()).then_some(Self::Bf16(panels))
    }
}
