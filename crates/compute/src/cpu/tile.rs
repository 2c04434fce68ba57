//! Disjoint rectangles of an output that several threads fill at the same time.
#![expect(
    unsafe_code,
    reason = "tiles of one matrix interleave in memory, which slices cannot express"
)]

use std::marker::PhantomData;

use super::kernels::Target;

/// How a sample's `rows` × `columns` output is cut.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// Rows of one sample.
    pub rows: usize,
    /// Columns of the output.
    pub columns: usize,
    /// Rows of a tile; the last one of a sample may be lower.
    pub tile_rows: usize,
    /// Columns of a tile; the last one may be narrower.
    pub tile_columns: usize,
}

/// A rectangle of an output: rows `row ..` and columns `column ..` of one sample.
#[derive(Debug)]
pub struct Tile<'a> {
    /// Which sample of the batch.
    pub sample: usize,
    /// The first row, counted within the sample.
    pub row: usize,
    /// The first column.
    pub column: usize,
    /// The height.
    pub rows: usize,
    /// The width.
    pub columns: usize,
    start: *mut f32,
    stride: usize,
    output: PhantomData<&'a mut [f32]>,
}

// SAFETY: a tile is the only way to its rectangle of the borrowed output (see `tiles`), like a `&mut`
// slice, so it may move to another thread.
unsafe impl Send for Tile<'_> {}

impl Tile<'_> {
    /// One row of the tile.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "this is a bug");
        // SAFETY: `tiles` placed the rectangle inside the output, `row` lies in it, and `&mut self`
        // keeps any other view of the rectangle away.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride), self.columns) }
    }

    /// The block whose upper left corner is there, for a kernel that writes a whole block.
    ///
    /// # Panics
    /// If the corner lies outside.
    pub fn target(&mut self, row: usize, column: usize, accumulate: bool) -> Target {
        assert!(row < self.rows && column < self.columns, "this is a bug");
        Target {
            // SAFETY: the corner lies in the rectangle, which lies in the output (`tiles`).
            start: unsafe { self.start.add(row * self.stride + column) },
            stride: self.stride,
            accumulate,
        }
    }
}

/// Cuts `output`, `(samples, grid.rows, grid.columns)`, into tiles. Tiles of the same columns follow
/// each other, so that the threads share one slice of the weights while it is in the cache.
pub fn tiles(output: &mut [f32], grid: Grid) -> Vec<Tile<'_>> {
    let per_sample = grid.rows * grid.columns;
    if output.is_empty() {
        return Vec::new();
    }
    assert_eq!(output.len() % per_sample, 0, "this is a bug");
    let samples = output.len() / per_sample;
    let start = output.as_mut_ptr();
    let mut tiles = Vec::new();
    for column in (0..grid.columns).step_by(grid.tile_columns) {
        for sample in 0..samples {
            for row in (0..grid.rows).step_by(grid.tile_rows) {
                let offset = (sample * grid.rows + row) * grid.columns + column;
                tiles.push(Tile {
                    sample,
                    row,
                    column,
                    rows: grid.tile_rows.min(grid.rows - row),
                    columns: grid.tile_columns.min(grid.columns - column),
                    // SAFETY: row < grid.rows and column < grid.columns, so the offset lies inside
                    // `output`; the rectangles of different (sample, row, column) do not overlap.
                    start: unsafe { start.add(offset) },
                    stride: grid.columns,
                    output: PhantomData,
                });
            }
        }
    }
    tiles
}

#[cfg(test)]
mod tests {
    use super::{Grid, tiles};

    #[test]
    fn tiles_cover_every_value_once() {
        let mut output = vec![0.0; 2 * 5 * 7];
        let grid = Grid {
            rows: 5,
            columns: 7,
            tile_rows: 2,
            tile_columns: 3,
        };
        for mut tile in tiles(&mut output, grid) {
            for row in 0..tile.rows {
                tile.row_mut(row).iter_mut().for_each(|v| *v += 1.0);
            }
        }
        assert!(output.iter().all(|&v| v == 1.0));
    }
}
