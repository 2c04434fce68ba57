//! The one door to the `gemm` crate: single-threaded products into a tile or a scratch matrix.
#![expect(unsafe_code, reason = "the gemm crate takes raw pointers")]

use super::tile::Tile;

/// A read-only matrix: any strides, so also a transposed one or a slice of columns.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The values; the first one is the upper left corner.
    pub data: &'a [f32],
    /// Values from one row to the next.
    pub row_stride: usize,
    /// Values from one column to the next.
    pub column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `stride` values each, one after the other.
    pub fn rows(data: &'a [f32], stride: usize) -> Self {
        Self {
            data,
            row_stride: stride,
            column_stride: 1,
        }
    }

    fn check(&self, rows: usize, columns: usize) {
        let last = (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
        assert!(last < self.data.len(), "this is a bug");
    }
}

/// `tile = a · b`, or `tile += a · b` if `accumulate`; `a` is `(tile.rows, depth)`, `b`
/// `(depth, tile.columns)`.
pub fn into_tile(tile: &mut Tile<'_>, accumulate: bool, depth: usize, a: Matrix, b: Matrix) {
    let (rows, columns, stride) = (tile.rows, tile.columns, tile.stride());
    let output = tile.as_mut_ptr();
    // SAFETY: the tile is a valid rectangle of `rows` × `columns` with this stride.
    unsafe { product(output, stride, [rows, columns, depth], accumulate, a, b) }
}

/// # Safety
/// `output` must be valid for writes (and initialised, for reads) of `size[0]` rows of `size[1]`
/// values, `stride` apart, and nothing else may touch them meanwhile.
unsafe fn product(
    output: *mut f32,
    stride: usize,
    size: [usize; 3],
    accumulate: bool,
    a: Matrix,
    b: Matrix,
) {
    let [rows, columns, depth] = size;
    a.check(rows, depth);
    b.check(depth, columns);
    // SAFETY: the output by this function's contract; `a` and `b` were just checked to hold the last
    // value that their strides reach, and they are borrowed, so nobody writes to them.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            output,
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
