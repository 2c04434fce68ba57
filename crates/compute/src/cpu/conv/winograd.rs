//! 3 × 3 convolutions by Winograd's minimal filtering, F(4×4, 3×3): the picture falls into tiles of 4 × 4
//! output pixels, each tile's 6 × 6 input pixels and each kernel are transformed to 36 points, the
//! channels are multiplied point by point (36 matrix products with a row for each tile), and the products
//! are transformed back. A quarter of the multiplications, for some five times the rounding error of
//! plain sums, which is still far below that of weights or pictures in bf16.
//!
//! The transformations mix the pixels of a tile, so one that is not finite would spread to all of it.
//! Such tiles are computed once more, as plain sums.

use std::ops::Range;

use super::{
    super::{
        CpuDevice,
        kernels::{Block, Kernels},
    },
    Band, LANES, PackedConv, bands, direct,
    patch::{Position, Source},
    transform::{OutputTile, POINTS, SIDE, STEP, View, input_tile, output_tile, weights},
};
use crate::{ConvGeometry, Convolution, Target, workspace::Buffer};

/// Tiles that are multiplied together, in blocks of the kernels' rows: enough to repay reading the whole
/// transformed weight, few enough that the transformed tiles stay in the third-level cache.
const BLOCKS: usize = 16;

/// Output channels that are multiplied before their tiles are transformed back.
const CHUNK_COLUMNS: usize = 128;

/// Input channels that are summed in one go: short sums keep the rounding error of 512 channels below
/// twice that of 128, and this much of a panel of the weight fits the first-level cache.
const DEPTH: usize = 128;

/// Values between two points beyond those that are needed: without them the 36 values of a tile would
/// share one set of the first-level cache.
const SKEW: usize = 16;

/// Transformed weights up to this many values (9 MiB) are made at load, larger ones for each run: the
/// pass over them is short beside the run, and they take four times the memory of the weights.
const KEPT_VALUES: usize = POINTS * 256 * 256;

/// Fewer output pixels than this are not worth the transformations of the weights.
const MIN_PIXELS: usize = 64;

/// Whether a layer with a weight of `shape` can be computed this way.
pub(super) fn suits([_, inputs, kernel, _]: [usize; 4], geometry: ConvGeometry) -> bool {
    kernel == 3 && geometry.stride == 1 && inputs >= LANES
}

/// Whether an output of this size repays the transformations.
pub(super) fn repays(height: usize, width: usize) -> bool {
    height * width >= MIN_PIXELS
}

/// Whether the transformed weight is made at load.
pub(super) fn is_kept(padded_in: usize, padded_out: usize) -> bool {
    transformed_size(padded_in, padded_out) <= KEPT_VALUES
}

/// Values of the transformed weight.
pub(super) fn transformed_size(padded_in: usize, padded_out: usize) -> usize {
    POINTS * padded_in * padded_out
}

/// `[panel][point][padded_in][columns]`
pub(super) fn transformed(device: &CpuDevice, packed: &PackedConv) -> Buffer {
    let count = packed.padded_in * packed.columns;
    let mut output = device.scratch(transformed_size(packed.padded_in, packed.bias.len()));
    let tasks = output.chunks_exact_mut(POINTS * count).enumerate();
    let kernels = device.kernels;
    device.for_each(
        tasks,
        || device.scratch(packed.room()),
        |room, (panel, output)| {
            let taps = View {
                values: packed.panel(kernels, panel, room),
                stride: count,
            };
            weights(kernels.isa, count, &taps, output, count);
        },
    );
    output
}

pub(super) fn run(
    device: &CpuDevice,
    (convolution, packed): (&Convolution<'_>, &PackedConv),
    target: Target<'_>,
) {
    let made;
    let weight = match &packed.transformed {
        Some(kept) => &kept[..],
        None => {
            made = transformed(device, packed);
            &made[..]
        }
    };
    let (_, width) = convolution.output_size();
    let pass = Pass {
        device,
        kernels: device.kernels,
        convolution,
        packed,
        weight,
        add: target.add,
        width,
        tiles_wide: width.div_ceil(STEP),
        room: Room::new(device.kernels, [packed.padded_in, packed.bias.len()]),
    };
    let height = (pass.room.tiles / pass.tiles_wide).max(1) * STEP;
    let tasks = bands(target.tensor, target.first_row, convolution, height);
    device.for_each(
        tasks,
        || Buffers::new(&pass),
        |buffers, band| pass.band(buffers, band),
    );
}

/// What all tasks of one run share.
struct Pass<'a> {
    device: &'a CpuDevice,
    kernels: &'static Kernels,
    convolution: &'a Convolution<'a>,
    packed: &'a PackedConv,
    weight: &'a [f32],
    add: bool,
    /// Width of the output in pixels and in tiles.
    width: usize,
    tiles_wide: usize,
    room: Room,
}

/// How large a thread's buffers are.
pub(super) struct Room {
    /// Tiles that are multiplied together, about.
    tiles: usize,
    /// Values of the patch.
    patch: usize,
    /// Values from one point to the next, of transformed tiles and of products.
    strides: [usize; 2],
    /// Output channels that are multiplied together.
    wide: usize,
}

impl Room {
    /// For channels as they are padded, `[in, out]`.
    pub fn new(kernels: &Kernels, [inputs, outputs]: [usize; 2]) -> Self {
        let tiles = BLOCKS * kernels.rows;
        // [`Pass::parts`] rounds to the nearest number of parts.
        let most = (tiles * 3 / 2 + 1).next_multiple_of(kernels.rows);
        let wide = outputs.min(CHUNK_COLUMNS.next_multiple_of(kernels.columns));
        Self {
            tiles,
            patch: SIDE * (most * STEP + SIDE) * inputs,
            strides: [most * inputs + SKEW, most * wide + SKEW],
            wide,
        }
    }

    /// Values of all of them.
    pub fn values(&self) -> usize {
        self.patch + POINTS * (self.strides[0] + self.strides[1])
    }
}

/// What a thread works in.
struct Buffers {
    /// `(6, pixels, padded_in)`
    patch: Buffer,
    /// `(36, tiles, padded_in)`
    inputs: Buffer,
    /// `(36, tiles, wide)`
    products: Buffer,
    /// Tiles of the part with something that is not finite.
    broken: Vec<usize>,
}

impl Buffers {
    fn new(pass: &Pass<'_>) -> Self {
        let (device, room) = (pass.device, &pass.room);
        Self {
            patch: device.scratch(room.patch),
            inputs: device.scratch(POINTS * room.strides[0]),
            products: device.scratch(POINTS * room.strides[1]),
            broken: Vec::new(),
        }
    }
}

impl Pass<'_> {
    /// Cuts `count` tiles into even parts of about [`Room::tiles`].
    fn parts(&self, count: usize) -> usize {
        let parts = ((count + self.room.tiles / 2) / self.room.tiles).max(1);
        count.div_ceil(parts)
    }

    fn band(&self, buffers: &mut Buffers, mut band: Band<'_>) {
        let row = self.width * self.convolution.layer.out_channels();
        let rows = band.output.len() / row;
        let count = rows.div_ceil(STEP) * self.tiles_wide;
        let part = self.parts(count);
        let source = Source::new(
            self.device.simd(),
            self.convolution,
            band.sample,
            self.packed.padded_in,
        );
        for first in (0..count).step_by(part) {
            let tiles = first..count.min(first + part);
            self.transform_inputs(buffers, &source, band.first_row, tiles.clone());
            for column in (0..self.packed.bias.len()).step_by(self.room.wide) {
                self.multiply(buffers, tiles.len(), column);
                self.transform_outputs(buffers, &mut band, tiles.clone(), column);
            }
            self.compute_plainly(&buffers.broken, &source, &mut band);
        }
    }
}

/// One part of a band: neighbouring tiles, some rows of them one after the other.
impl Pass<'_> {
    fn transform_inputs(
        &self,
        buffers: &mut Buffers,
        source: &Source<'_>,
        first_row: usize,
        tiles: Range<usize>,
    ) {
        let padded = self.packed.padded_in;
        buffers.broken.clear();
        let mut tile = tiles.start;
        while tile < tiles.end {
            // The tiles of one row share a patch.
            let (row, column) = (tile / self.tiles_wide, tile % self.tiles_wide);
            let count = (tiles.end - tile).min(self.tiles_wide - column);
            let line = (count * STEP + SIDE - STEP) * padded;
            for (y, target) in buffers.patch.chunks_exact_mut(line).take(SIDE).enumerate() {
                let start = Position {
                    row: first_row + row * STEP + y,
                    column: column * STEP,
                };
                source.copy_row(start, target);
            }
            for index in 0..count {
                let patch = View {
                    values: &buffers.patch[index * STEP * padded..],
                    stride: line,
                };
                let output = &mut buffers.inputs[(tile - tiles.start + index) * padded..];
                if !input_tile(
                    self.kernels.isa,
                    padded,
                    &patch,
                    output,
                    self.room.strides[0],
                ) {
                    buffers.broken.push(tile + index);
                }
            }
            tile += count;
        }
    }

    /// The products of the output channels from `column` on, point by point.
    fn multiply(&self, buffers: &mut Buffers, tiles: usize, column: usize) {
        let (padded, columns) = (self.packed.padded_in, self.packed.columns);
        let panel_size = padded * columns;
        let wide = self.wide_from(column);
        for point in 0..POINTS {
            let inputs = &buffers.inputs[point * self.room.strides[0]..][..self.room.strides[0]];
            let products =
                &mut buffers.products[point * self.room.strides[1]..][..self.room.strides[1]];
            for offset in (0..wide).step_by(columns) {
                let panel = (column + offset) / columns;
                let b = &self.weight[(panel * POINTS + point) * panel_size..][..panel_size];
                for (chunk, b) in b.chunks(DEPTH * columns).enumerate() {
                    for tile in (0..tiles).step_by(self.kernels.rows) {
                        let block = Block {
                            values: &mut products[tile * self.room.wide + offset..],
                            stride: self.room.wide,
                            accumulate: chunk > 0,
                        };
                        let a = &inputs[tile * padded + chunk * DEPTH..];
                        self.kernels.product_rows_into(a, padded, b, block);
                    }
                }
            }
        }
    }

    /// Output channels from `column` on that are multiplied together.
    fn wide_from(&self, column: usize) -> usize {
        self.room.wide.min(self.packed.bias.len() - column)
    }

    fn transform_outputs(
        &self,
        buffers: &Buffers,
        band: &mut Band<'_>,
        tiles: Range<usize>,
        column: usize,
    ) {
        let channels = self.convolution.layer.out_channels();
        let bias = &self.packed.bias[column..channels.min(column + self.room.wide)];
        for (index, tile) in tiles.enumerate() {
            if buffers.broken.contains(&tile) {
                continue;
            }
            let points = View {
                values: &buffers.products[index * self.room.wide..],
                stride: self.room.strides[1],
            };
            let place = self.place(tile, band);
            let output = OutputTile {
                values: &mut band.output[place.first_value + column..],
                stride: self.width * channels,
                pixel: channels,
                size: place.size,
                bias,
                add: self.add,
            };
            output_tile(self.kernels.isa, &points, output);
        }
    }

    /// Tiles with something that is not finite, as plain sums.
    fn compute_plainly(&self, broken: &[usize], source: &Source<'_>, band: &mut Band<'_>) {
        if broken.is_empty() {
            return;
        }
        let channels = self.convolution.layer.out_channels();
        let layer = (self.convolution, self.packed);
        let mut buffers = direct::Buffers::new(self.device, self.convolution, self.packed);
        for tile in broken {
            let place = self.place(*tile, band);
            let [rows, columns] = place.size;
            for row in 0..rows {
                let start = Position {
                    row: band.first_row + place.row + row,
                    column: place.column,
                };
                let first = place.first_value + row * self.width * channels;
                let output = &mut band.output[first..][..columns * channels];
                buffers.gather(self.convolution, source, start, columns);
                buffers.multiply(self.kernels, layer, columns);
                buffers.finish(layer, output, self.add);
            }
        }
    }

    fn place(&self, tile: usize, band: &Band<'_>) -> Place {
        let channels = self.convolution.layer.out_channels();
        let rows = band.output.len() / (self.width * channels);
        let row = tile / self.tiles_wide * STEP;
        let column = tile % self.tiles_wide * STEP;
        Place {
            row,
            column,
            first_value: (row * self.width + column) * channels,
            size: [STEP.min(rows - row), STEP.min(self.width - column)],
        }
    }
}

/// A tile in its band's output.
struct Place {
    row: usize,
    column: usize,
    first_value: usize,
    /// Rows and columns inside the picture.
    size: [usize; 2],
}
