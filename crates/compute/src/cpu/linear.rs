//! Linear layers: tiles of the output, each one product and its epilogue while the tile is in cache.

use super::{
    CpuDevice,
    matmul::{self, Matrix},
    simd::{self, Simd},
    tile::{Grid, Tile, tiles},
};
use crate::{Device, Epilogue, Linear, Tensor};

/// The weight as the matrix kernels like it: `(in, out)` with rows padded to [`LANES`].
pub(super) struct PackedMatrix {
    pub weight: Vec<f32>,
    pub stride: usize,
    pub bias: Option<Vec<f32>>,
}

/// Row padding of packed weights: one AVX-512 register of f32. The kernels then never copy the edge.
const LANES: usize = 16;

/// Columns of a tile: a slice of the weights of 512 columns by a few thousand rows stays in the
/// second- and third-level caches while all rows of a sample pass by.
const TILE_COLUMNS: usize = 512;

/// Rows of a tile at most: the packing of the weights' slice is repaid by this many rows.
const TILE_ROWS: usize = 128;

impl PackedMatrix {
    /// Transposes `(out, in)` row-major values.
    pub fn new(weight: &[f32], in_features: usize, bias: Option<&Tensor>) -> Self {
        let out_features = weight.len() / in_features;
        let stride = out_features.next_multiple_of(LANES);
        let mut packed = vec![0.0; in_features * stride];
        // Blocks of 16 × 16 so that both sides of the transposition stay in the cache.
        for column in (0..out_features).step_by(LANES) {
            for depth in (0..in_features).step_by(LANES) {
                for c in column..out_features.min(column + LANES) {
                    for d in depth..in_features.min(depth + LANES) {
                        packed[d * stride + c] = weight[c * in_features + d];
                    }
                }
            }
        }
        Self {
            weight: packed,
            stride,
            bias: bias.map(Tensor::to_vec),
        }
    }

    /// The slice of the weight from `(depth, column)` on.
    pub fn from(&self, depth: usize, column: usize) -> Matrix<'_> {
        Matrix::rows(&self.weight[depth * self.stride + column..], self.stride)
    }
}

pub(super) fn pack(weight: &Tensor, bias: Option<&Tensor>) -> Linear {
    let (out_features, in_features) = (weight.dim(0), weight.dim(1));
    let packed = PackedMatrix::new(weight.data(), in_features, bias);
    Linear::new(in_features, out_features, packed)
}

/// The tiling of a sample's `rows` × `columns`: a function of these sizes alone.
pub(super) fn grid(rows: usize, columns: usize) -> Grid {
    Grid {
        rows,
        columns,
        // A quarter of a small sample still gives each of four threads something to do.
        tile_rows: rows.div_ceil(4).next_multiple_of(8).clamp(24, TILE_ROWS),
        tile_columns: TILE_COLUMNS,
    }
}

pub(super) fn run(
    device: &CpuDevice,
    layer: &Linear,
    inputs: &[&Tensor],
    epilogue: Epilogue<'_>,
) -> Tensor {
    let packed: &PackedMatrix = layer.packed();
    let [batch, rows, _] = inputs[0].rank3();
    let depth: usize = inputs.iter().map(|input| input.width()).sum();
    assert_eq!(depth, layer.in_features(), "this is a bug");
    for input in inputs {
        assert_eq!(input.shape()[..2], [batch, rows], "this is a bug");
    }
    let width = layer.out_features();
    let mut output = device.tensor(&[batch, rows, width]);
    let tasks = tiles(output.data_mut(), grid(rows, width));
    device.for_each(
        tasks,
        || (),
        |(), mut tile| {
            let mut depth = 0;
            for input in inputs {
                let a = &input.sample(tile.sample)[tile.row * input.width()..];
                let a = Matrix::rows(a, input.width());
                let b = packed.from(depth, tile.column);
                matmul::into_tile(&mut tile, depth > 0, input.width(), a, b);
                depth += input.width();
            }
            finish(device.simd(), &mut tile, packed, epilogue);
        },
    );
    output
}

fn finish(simd: Simd, tile: &mut Tile<'_>, packed: &PackedMatrix, epilogue: Epilogue<'_>) {
    let (sample, column, columns) = (tile.sample, tile.column, tile.columns);
    let bias = packed.bias.as_ref().map(|bias| &bias[column..][..columns]);
    for row in 0..tile.rows {
        let position = tile.row + row;
        // The part of another tensor of the output's shape that lies under this row of the tile.
        let under = |tensor| row_under(tensor, sample, position, column..column + columns);
        let values = tile.row_mut(row);
        if let Some(bias) = bias {
            simd::add(simd, values, bias);
        }
        match epilogue {
            Epilogue::None => {}
            Epilogue::Activation(activation) => simd::activate(simd, values, activation),
            Epilogue::Multiply(other) => simd::multiply(simd, values, under(other)),
            Epilogue::Residual(residual) => simd::add(simd, values, under(residual)),
            Epilogue::GateResidual { gate, residual } => {
                let gate = &gate.row(sample, residual.width())[column..][..columns];
                simd::gate_add(simd, values, gate, under(residual));
            }
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
