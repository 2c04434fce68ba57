//! Disjoint rectangles of an output that several threads fill at the same time.
#![expect(
    unsafe_code,
    reason = "tiles of one matrix interleave in memory, which slices cannot express"
)]

use std::{marker::PhantomData, ops::Range};

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

impl Grid {
    /// How many tiles so many samples are cut into.
    pub fn tiles(&self, samples: usize) -> usize {
        self.columns.div_ceil(self.tile_columns) * samples * self.row_tiles()
    }

    /// How many tiles lie below each other in a sample.
    fn row_tiles(&self) -> usize {
        self.rows.div_ceil(self.tile_rows)
    }
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
pub fn tiles(output: &mut [f32], grid: Grid) -> Tiles<'_> {
    let per_sample = grid.rows * grid.columns;
    if output.is_empty() {
        return Tiles {
            left: 0..0,
            samples: 0,
            grid,
            start: output.as_mut_ptr(),
            output: PhantomData,
        };
    }
    assert_eq!(output.len() % per_sample, 0, "this is a bug");
    let samples = output.len() / per_sample;
    Tiles {
        left: 0..grid.tiles(samples),
        samples,
        grid,
        start: output.as_mut_ptr(),
        output: PhantomData,
    }
}

/// The tiles of an output, each once.
#[derive(Debug)]
pub struct Tiles<'a> {
    left: Range<usize>,
    samples: usize,
    grid: Grid,
    start: *mut f32,
    output: PhantomData<&'a mut [f32]>,
}

// SAFETY: it holds the mutable borrow of the output, like the `&mut` slice that it was made of.
unsafe impl Send for Tiles<'_> {}

impl<'a> Iterator for Tiles<'a> {
    type Item = Tile<'a>;

    fn next(&mut self) -> Option<Tile<'a>> {
        let index = self.left.next()?;
        let Grid {
            rows,
            columns,
            tile_rows,
            tile_columns,
        } = self.grid;
        let row_tiles = self.grid.row_tiles();
        let row = index % row_tiles * tile_rows;
        let sample = index / row_tiles % self.samples;
        let column = index / row_tiles / self.samples * tile_columns;
        let offset = (sample * rows + row) * columns + column;
        Some(Tile {
            sample,
            row,
            column,
            rows: tile_rows.min(rows - row),
            columns: tile_columns.min(columns - column),
            // SAFETY: sample < samples, row < rows and column < columns (`tiles` counted them), so the
            // offset lies inside the output; the rectangles of different indices do not overlap, and
            // no index comes twice.
            start: unsafe { self.start.add(offset) },
            stride: columns,
            output: PhantomData,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl ExactSizeIterator for Tiles<'_> {}

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
