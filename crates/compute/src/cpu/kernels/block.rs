//! The text of the products, written once and compiled for each instruction set.

/// Defines the products of a block of `$rows` rows by `$vectors` vectors of `$lanes` values:
/// `product`, `product_rows`, and `thin_f32` and `thin_bf16` for a handful of rows.
///
/// The operations are functions of the instruction set: `zero()`, `load(*const f32)`,
/// `load_bf16(*const u16)`, `splat(*const f32)`, `multiply_add(a, b, c) = a * b + c`, `add(a, b)`,
/// `store(*mut f32, v)`, `prefetch(*const f32)`. Every value is the sum of its products in the order of
/// the depth, begun at zero, in each of them, so they agree to the bit.
macro_rules! block_products {
    (
        features: $features:tt,
        rows: $rows:expr, vectors: $vectors:expr, lanes: $lanes:expr, vector: $vector:ty,
        zero: $zero:path, load: $load:path, load_bf16: $load_bf16:path, splat: $splat:path,
        multiply_add: $multiply_add:path, add: $add:path, store: $store:path,
        prefetch: $prefetch:path $(,)?
    ) => {
        const ROWS: usize = $rows;
        const COLUMNS: usize = $vectors * $lanes;

        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// As `Kernels::product`, and the machine has the instructions of this file.
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
        }}

        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// As `Kernels::product_rows`, and the machine has the instructions of this file.
        unsafe fn product_rows(depth: usize, a: Source<f32>, b: *const f32, c: Target) {
            // SAFETY: all offsets into A stay below `(ROWS - 1) * a.stride + depth`, into B below
            // `depth * COLUMNS`, into the output below `(ROWS - 1) * c.stride + COLUMNS`, as the contract
            // allows; a prefetch may touch any address.
            unsafe {
                // By the time of the last product the output's lines are there.
                for row in 0..ROWS {
                    $prefetch(c.start.add(row * c.stride));
                    $prefetch(c.start.add(row * c.stride + COLUMNS - 1));
                }
                let mut sums: [[$vector; $vectors]; ROWS] = [[$zero(); $vectors]; ROWS];
                for k in 0..depth {
                    let b = b.add(k * COLUMNS);
                    let columns: [$vector; $vectors] =
                        std::array::from_fn(|v| $load(b.add(v * $lanes)));
                    for row in 0..ROWS {
                        let value = $splat(a.start.add(row * a.stride + k));
                        for v in 0..$vectors {
                            sums[row][v] = $multiply_add(value, columns[v], sums[row][v]);
                        }
                    }
                }
                for row in 0..ROWS {
                    for v in 0..$vectors {
                        let target = c.start.add(row * c.stride + v * $lanes);
                        let sum = sums[row][v];
                        let sum = if c.accumulate { $add($load(target), sum) } else { sum };
                        $store(target, sum);
                    }
                }
            }
        }}

        $crate::cpu::kernels::block::thin_product! {
            $features, f32, thin_f32, thin_f32_of, $load,
            $vectors, $lanes, $vector, $zero, $load, $splat, $multiply_add, $add, $store
        }
        $crate::cpu::kernels::block::thin_product! {
            $features, u16, thin_bf16, thin_bf16_of, $load_bf16,
            $vectors, $lanes, $vector, $zero, $load, $splat, $multiply_add, $add, $store
        }
    };
}

/// Defines `$name`: a few rows against panels that are read once, as they are stored.
macro_rules! thin_product {
    (
        $features:tt, $stored:ty, $name:ident, $inner:ident, $load_b:path, $vectors:expr,
        $lanes:expr, $vector:ty, $zero:path, $load:path, $splat:path, $multiply_add:path, $add:path,
        $store:path
    ) => {
        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// As `Kernels::thin_f32`, and the machine has the instructions of this file.
        unsafe fn $name(rows: usize, depth: usize, a: Source<f32>, b: Source<$stored>, c: Target, panels: usize) {
            // Several panels at a time where few rows would leave the multipliers waiting for the last
            // sum: eight sums and more are under way.
            let at_once = match rows {
                1 => 4,
                2 | 3 => 2,
                _ => 1,
            };
            let mut panel = 0;
            while panel < panels {
                let count = if panels - panel < at_once { 1 } else { at_once };
                // SAFETY: the panels up to `panel + count` are those of the contract, and so are the
                // columns of the output under them.
                unsafe {
                    let b = Source { start: b.start.add(panel * b.stride), ..b };
                    let c = Target { start: c.start.add(panel * COLUMNS), ..c };
                    match (rows, count) {
                        (1, 4) => $inner::<1, 4>(depth, a, b, c),
                        (1, _) => $inner::<1, 1>(depth, a, b, c),
                        (2, 2) => $inner::<2, 2>(depth, a, b, c),
                        (2, _) => $inner::<2, 1>(depth, a, b, c),
                        (3, 2) => $inner::<3, 2>(depth, a, b, c),
                        (3, _) => $inner::<3, 1>(depth, a, b, c),
                        (4, _) => $inner::<4, 1>(depth, a, b, c),
                        _ => unreachable!("thin products have 1 to 4 rows; this is a bug"),
                    }
                }
                panel += count;
            }
        }}

        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// As `$name` with `R` rows and `P` panels.
        #[inline]
        unsafe fn $inner<const R: usize, const P: usize>(
            depth: usize,
            a: Source<f32>,
            b: Source<$stored>,
            c: Target,
        ) {
            // SAFETY: offsets into A stay below `(R - 1) * a.stride + depth`, into B below
            // `(P - 1) * b.stride + depth * COLUMNS`, into the output below
            // `(R - 1) * c.stride + P * COLUMNS`, as the contract allows.
            unsafe {
                let mut sums: [[[$vector; $vectors]; P]; R] = [[[$zero(); $vectors]; P]; R];
                for k in 0..depth {
                    let columns: [[$vector; $vectors]; P] = std::array::from_fn(|p| {
                        let b = b.start.add(p * b.stride + k * COLUMNS);
                        std::array::from_fn(|v| $load_b(b.add(v * $lanes)))
                    });
                    for row in 0..R {
                        let value = $splat(a.start.add(row * a.stride + k));
                        for p in 0..P {
                            for v in 0..$vectors {
                                sums[row][p][v] =
                                    $multiply_add(value, columns[p][v], sums[row][p][v]);
                            }
                        }
                    }
                }
                for row in 0..R {
                    for p in 0..P {
                        for v in 0..$vectors {
                            let target = c.start.add(row * c.stride + p * COLUMNS + v * $lanes);
                            let sum = sums[row][p][v];
                            let sum = if c.accumulate { $add($load(target), sum) } else { sum };
                            $store(target, sum);
                        }
                    }
                }
            }
        }}
    };
}

/// A function compiled for the features in brackets, or for the baseline if there are none.
macro_rules! with_features {
    ([] $($function:tt)*) => { $($function)* };
    ([$features:literal] $($function:tt)*) => {
        #[target_feature(enable = $features)]
        $($function)*
    };
}

pub(in crate::cpu::kernels) use {block_products, thin_product, with_features};
