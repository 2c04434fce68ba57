//! The text of the block product, written once and compiled for each instruction set.

/// Defines `unsafe fn product` for a block of `$rows` rows by `$vectors` vectors of `$lanes` values.
/// The operations are functions or macros of the instruction set: `zero()`, `load(*const f32)`,
/// `splat(*const f32)`, `multiply_add(a, b, c) = a * b + c`, `add(a, b)`, `store(*mut f32, v)`.
macro_rules! block_product {
    (
        $(#[$attribute:meta])*
        rows: $rows:expr, vectors: $vectors:expr, lanes: $lanes:expr, vector: $vector:ty,
        zero: $zero:path, load: $load:path, splat: $splat:path,
        multiply_add: $multiply_add:path, add: $add:path, store: $store:path $(,)?
    ) => {
        const ROWS: usize = $rows;
        const COLUMNS: usize = $vectors * $lanes;

        /// # Safety
        /// As `Kernels::product`, and the machine has the instructions of this file.
        $(#[$attribute])*
        unsafe fn product(
            depth: usize,
            a: *const f32,
            b: *const f32,
            c: *mut f32,
            stride: usize,
            accumulate: bool,
        ) {
            // SAFETY: all offsets into the panels stay below `depth * ROWS` and `depth * COLUMNS`, all
            // offsets into the output below `(ROWS - 1) * stride + COLUMNS`, as the contract allows.
            unsafe {
                let mut sums: [[$vector; $vectors]; ROWS] = [[$zero(); $vectors]; ROWS];
                for k in 0..depth {
                    let (a, b) = (a.add(k * ROWS), b.add(k * COLUMNS));
                    let columns: [$vector; $vectors] =
                        std::array::from_fn(|v| $load(b.add(v * $lanes)));
                    for row in 0..ROWS {
                        let value = $splat(a.add(row));
                        for v in 0..$vectors {
                            sums[row][v] = $multiply_add(value, columns[v], sums[row][v]);
                        }
                    }
                }
                for row in 0..ROWS {
                    for v in 0..$vectors {
                        let target = c.add(row * stride + v * $lanes);
                        let sum = sums[row][v];
                        $store(target, if accumulate { $add($load(target), sum) } else { sum });
                    }
                }
            }
        }
    };
}

pub(super) use block_product;
