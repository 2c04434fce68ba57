//! From matrices to panels. A panel is `[depth][width]`: `width` is [`Kernels::rows`] for A and
//! [`Kernels::columns`] for B, and what the matrix does not fill is zero.
//!
//! [`Kernels::rows`]: super::Kernels::rows
//! [`Kernels::columns`]: super::Kernels::columns

/// Rows of a matrix that lie `stride` values apart.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// From the first value of the first row on.
    pub data: &'a [f32],
    /// Values from one row to the next.
    pub stride: usize,
    /// How many rows.
    pub count: usize,
}

impl Rows<'_> {
    fn row(&self, row: usize, length: usize) -> &[f32] {
        &self.data[row * self.stride..][..length]
    }
}

/// The rows become the columns of the panel: `panel[d][r] = rows[r][d]`. For the rows of A (`count` is
/// then at most MR), and for a weight that PyTorch keeps as `(out, in)` (at most NR of its rows).
/// The depth is `panel.len() / width`.
///
/// # Panics
/// If there are more rows than `width`, or one ends early.
pub fn interleave(panel: &mut [f32], width: usize, rows: Rows<'_>) {
    assert!(rows.count <= width, "this is a bug");
    let depth = panel.len() / width;
    for row in 0..rows.count {
        let values = rows.row(row, depth);
        for (slots, value) in panel.chunks_exact_mut(width).zip(values) {
            slots[row] = *value;
        }
    }
    if rows.count < width {
        for slots in panel.chunks_exact_mut(width) {
            slots[rows.count..].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rows, interleave};

    const ROWS: Rows<'_> = Rows {
        data: &[1.0, 2.0, 9.0, 3.0, 4.0],
        stride: 3,
        count: 2,
    };

    #[test]
    fn panels_hold_the_matrix_and_zeros() {
        let mut panel = [f32::NAN; 6];
        interleave(&mut panel, 3, ROWS);
        assert_eq!(panel, [1.0, 3.0, 0.0, 2.0, 4.0, 0.0]);
    }
}
