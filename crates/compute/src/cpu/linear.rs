//! Linear layers: tiles of the output, each one product and its epilogue while the tile is in cache.

use std::ops::Range;

use super::{
    CpuDevice, WeightFormat,
    amx::{self, TileUnit, TileWeight},
    panels::Panels,
    product::{self, Caller, Scratch, TILE_ROWS},
    simd::{self, Simd},
    tile::{Grid, Tile, tiles},
};
use crate::{Device, Epilogue, Linear, PackedImage, PackedPart, StoredMatrix, Tensor};

/// Columns of a tile at most: the packing of A's rows is repaid by this many columns.
const MAX_TILE_COLUMNS: usize = 3072;

/// Columns of a tile at least, for the same reason.
const MIN_TILE_COLUMNS: usize = 128;

/// So many that no thread waits long for the last one.
const TILES_PER_THREAD: usize = 4;

/// A layer as this device keeps it.
struct Layer {
    weight: Weight,
    bias: Option<Vec<f32>>,
}

enum Weight {
    /// For the kernels of f32.
    Panels(Panels),
    /// For tiles.
    Tiles(TileUnit, TileWeight),
}

impl Weight {
    /// Tiles round both sides of a product to bf16 or less: they take weights that are bf16 anyway, and
    /// those of which it was asked. Exact weights of eight bits and less stay as they are.
    fn new(device: &CpuDevice, weight: &StoredMatrix<'_>) -> Self {
        if let Some(unit) = device.tiles {
            match device.weights {
                WeightFormat::Exact if !weight.is_wide() || !weight.fits_bf16() => {}
                WeightFormat::Exact | WeightFormat::Bf16 => {
                    return Self::Tiles(unit, TileWeight::bf16(device, weight));
                }
                WeightFormat::Int8 => {
                    return Self::Tiles(unit, TileWeight::int8(device, weight));
                }
            }
        }
        Self::Panels(Panels::new(device, weight))
    }
}

pub(super) fn pack(device: &CpuDevice, weight: &StoredMatrix<'_>, bias: Option<&Tensor>) -> Linear {
    let layer = Layer {
        weight: Weight::new(device, weight),
        bias: bias.map(Tensor::to_vec),
    };
    Linear::new(weight.columns(), weight.rows(), layer)
}

/// Bytes that [`Weight::new`] would take, found out without reading a value.
pub(super) fn bytes(device: &CpuDevice, weight: &StoredMatrix<'_>) -> usize {
    let panels = || Panels::bytes(device, weight);
    let tiles = || TileWeight::bf16_bytes(weight);
    match device.weights {
        _ if device.tiles.is_none() => panels(),
        WeightFormat::Int8 => TileWeight::int8_bytes(weight),
        WeightFormat::Bf16 => tiles(),
        WeightFormat::Exact if !weight.is_wide() => panels(),
        WeightFormat::Exact if weight.is_bf16() => tiles(),
        WeightFormat::Exact => panels().max(tiles()),
    }
}

/// See [`Device::linear_image`].
pub(super) fn image(layer: &Linear) -> Option<PackedImage<'_>> {
    match &layer.packed::<Layer>().weight {
        Weight::Panels(panels) => Some(panels.image()),
        Weight::Tiles(_, weight) => weight.image(),
    }
}

/// See [`Device::linear_of_image`].
pub(super) fn of_image(
    device: &CpuDevice,
    part: &PackedPart<'_>,
    bias: Option<&Tensor>,
) -> Option<Linear> {
    let tiles = device.tiles.and_then(|unit| {
        let weight = TileWeight::of_image(part)?;
        Some(Weight::Tiles(unit, weight))
    });
    let panels = || Panels::of_image(device, part).map(Weight::Panels);
    let layer = Layer {
        weight: tiles.or_else(panels)?,
        bias: bias.map(Tensor::to_vec),
    };
    Some(Linear::new(part.in_features, part.out_features, layer))
}

/// How a sample's `rows` × `columns` are cut: wide, since every tile packs its rows of A anew, but so
/// that each thread gets a few tiles.
fn grid(device: &CpuDevice, rows: usize, columns: usize) -> Grid {
    let width = device.kernels.columns;
    let tile_rows = TILE_ROWS / device.kernels.rows * device.kernels.rows;
    let row_tiles = rows.div_ceil(tile_rows);
    let wanted = match device.threads() {
        1 => 1,
        threads => (TILES_PER_THREAD * threads).div_ceil(row_tiles),
    };
    let tile_columns = columns
        .div_ceil(wanted)
        .clamp(MIN_TILE_COLUMNS, MAX_TILE_COLUMNS)
        .next_multiple_of(width);
    Grid {
        rows,
        columns,
        // Even tiles: 200 rows are two times 100, not 192 and 8.
        tile_rows: rows
            .div_ceil(row_tiles)
            .next_multiple_of(device.kernels.rows),
        tile_columns,
    }
}

/// What becomes of the sums.
#[derive(Clone, Copy)]
pub(super) struct Last<'a> {
    /// Added to them, of the output's shape.
    pub added: Option<&'a Tensor>,
    pub epilogue: Epilogue<'a>,
}

impl<'a> Last<'a> {
    pub fn of(epilogue: Epilogue<'a>) -> Self {
        Self {
            added: None,
            epilogue,
        }
    }
}

pub(super) fn run(
    device: &CpuDevice,
    layer: &Linear,
    inputs: &[&Tensor],
    last: Last<'_>,
) -> Tensor {
    let packed: &Layer = layer.packed();
    let [batch, rows, _] = inputs[0].rank3();
    let depth: usize = inputs.iter().map(|input| input.width()).sum();
    assert_eq!(depth, layer.in_features(), "this is a bug");
    for input in inputs {
        assert_eq!(input.shape()[..2], [batch, rows], "this is a bug");
    }
    let width = layer.out_features();
    if let Some(added) = last.added {
        assert_eq!(added.shape(), [batch, rows, width], "this is a bug");
    }
    let mut output = device.tensor(&[batch, rows, width]);
    let simd = device.simd();
    let caller = |tile: &Tile<'_>| {
        let (sample, top, count) = (tile.sample, tile.row, tile.rows);
        Caller {
            rows: move |first: usize, depth: Range<usize>, buffer: &mut [f32]| {
                let rows = top + first..top + count;
                copy_rows(inputs, sample, rows, depth, buffer);
            },
            finish: move |row: usize, columns: Range<usize>, values: &mut [f32]| {
                let row = top + row;
                let place = Place {
                    sample,
                    row,
                    columns,
                };
                finish(simd, packed, last, place, values);
            },
        }
    };
    match &packed.weight {
        Weight::Tiles(unit, weight) => {
            let values = (output.data_mut(), amx::grid(device, rows, width));
            amx::run(device, *unit, weight, values, caller);
            return output.into_coarse();
        }
        Weight::Panels(panels) => {
            let grid = grid(device, rows, width);
            let tasks = tiles(output.data_mut(), grid);
            let scratch = || Scratch::new(device, grid.tile_rows);
            device.for_each(tasks, scratch, |scratch, mut tile| {
                let caller = caller(&tile);
                product::into_tile(device.kernels, scratch, panels, &mut tile, caller);
            });
        }
    }
    output
}

/// The features `depth` of the inputs' joined rows.
fn copy_rows(
    inputs: &[&Tensor],
    sample: usize,
    rows: Range<usize>,
    depth: Range<usize>,
    buffer: &mut [f32],
) {
    let mut start = 0;
    for input in inputs {
        let width = input.width();
        let (from, to) = (depth.start.max(start), depth.end.min(start + width));
        if from < to {
            let values = input.sample(sample);
            let within = from - depth.start..to - depth.start;
            for (row, target) in rows.clone().zip(buffer.chunks_exact_mut(depth.len())) {
                let source = &values[row * width + from - start..][..to - from];
                target[within.clone()].copy_from_slice(source);
            }
        }
        start += width;
    }
}

/// Which part of a row of the output.
struct Place {
    sample: usize,
    row: usize,
    columns: Range<usize>,
}

fn finish(simd: Simd, layer: &Layer, last: Last<'_>, place: Place, values: &mut [f32]) {
    let Place {
        sample,
        row,
        columns,
    } = place;
    // The part of another tensor of the output's shape that lies under these values.
    let under = |tensor| row_under(tensor, sample, row, columns.clone());
    if let Some(bias) = &layer.bias {
        simd::add(simd, values, &bias[columns.clone()]);
    }
    if let Some(added) = last.added {
        simd::add(simd, values, under(added));
    }
    match last.epilogue {
        Epilogue::None => {}
        Epilogue::Activation(activation) => simd::activate(simd, values, activation),
        Epilogue::Multiply(other) => simd::multiply(simd, values, under(other)),
        Epilogue::Residual(residual) => simd::add(simd, values, under(residual)),
        Epilogue::GateResidual { gate, residual } => {
            let gate = &gate.row(sample, residual.width())[columns.clone()];
            simd::gate_add(simd, values, gate, under(residual));
        }
    }
}

fn row_under(
    tensor: &Tensor,
    sample: usize,
    row: usize,
    columns: std::ops::Range<usize>,
) -> &[f32] {
    &tensor.sample(sample)[row * tensor.width()..][columns]
}
