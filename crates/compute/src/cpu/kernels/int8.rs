//! The text of the eight-bit product, written once and compiled for each instruction set.
//!
//! Weights are eight-bit integers with a scale for each column, activations sixteen-bit integers with a
//! scale for each row; both scales are of one chunk of the depth. Where a processor multiplies pairs of
//! sixteen-bit integers (AVX2's `vpmaddwd`), sixteen bits of an activation cost what eight would, and no
//! outlier among a row's activations drowns the others: 32,767 steps are enough for both.
//!
//! VNNI's `vpdpwssd` is `vpmaddwd` and the addition in one: half of the instructions, the same integers.
//! (Its sibling for bytes, `vpdpbusd`, would take a product for each half of an activation: as many
//! instructions, and a correction for the sign.)

/// The greatest quantised activation.
pub const MAX_ACTIVATION: f32 = 32_767.0;

/// The greatest quantised weight.
pub const MAX_WEIGHT: f32 = 127.0;

/// An integer product, see `Kernels::product_int8`.
#[derive(Clone, Copy, Debug)]
pub struct Quantised {
    /// Half of the depth, rounded up: an odd one is filled up with zeros.
    pub pairs: usize,
    /// Rows of `2 * pairs` activations.
    pub a: super::Source<i16>,
    /// One for each row.
    pub a_scales: *const f32,
    /// `[pairs][columns][2]`
    pub b: *const i16,
    /// One for each column.
    pub b_scales: *const f32,
}

/// A few rows against panels of integers as they are stored, see `Kernels::thin_int8`.
#[derive(Clone, Copy, Debug)]
pub struct IntegerPanels<'a> {
    /// One, two or four.
    pub rows: usize,
    /// As in [`Quantised`].
    pub pairs: usize,
    /// `[rows][2 * pairs]`
    pub a: &'a [i16],
    /// One for each row.
    pub a_scales: &'a [f32],
    /// How many panels.
    pub count: usize,
    /// `[panel]([pairs][columns][2], [columns] scales of four bytes)`
    pub b: &'a [i8],
}

/// [`IntegerPanels`] as the kernels take them.
#[derive(Clone, Copy, Debug)]
pub struct RawIntegers {
    pub panels: usize,
    pub pairs: usize,
    pub a: *const i16,
    pub a_scales: *const f32,
    pub b: *const i8,
    pub panel_bytes: usize,
}

/// Defines `product_int8` and `thin_int8` for a block of `ROWS` rows by `$vectors` vectors of `$lanes` values. The
/// operations: `zero()` of integers, `load(*const i16)` of `$lanes` pairs, `widen(*const i8)` of as
/// many, `splat(*const i16)` of one pair, `multiply_add(sum, a, b)` of pairs, `to_f32(sum)`; and those of f32 as in `block_products`.
macro_rules! int8_product {
    (
        features: $features:tt,
        vectors: $vectors:expr, lanes: $lanes:expr, vector: $integers:ty,
        zero: $zero:path, load: $load:path, widen: $widen:path, splat: $splat:path,
        multiply_add: $multiply_add:path, to_f32: $to_f32:path,
        load_f32: $load_f32:path, splat_f32: $splat_f32:path, multiply: $multiply:path,
        add: $add:path, store: $store:path $(,)?
    ) => {
        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// As `Kernels::product_int8`, and the machine has the instructions of this file.
        pub(super) unsafe fn product_int8(product: Quantised, c: Target) {
            let Quantised { pairs, a, a_scales, b, b_scales } = product;
            // SAFETY: all offsets into A stay below `(ROWS - 1) * a.stride + 2 * pairs`, into B below
            // `2 * pairs * COLUMNS`, into the scales below `ROWS` and `COLUMNS`, into the output below
            // `(ROWS - 1) * c.stride + COLUMNS`, as the contract allows.
            unsafe {
                let mut sums: [[$integers; $vectors]; ROWS] = [[$zero(); $vectors]; ROWS];
                for pair in 0..pairs {
                    let b = b.add(pair * 2 * COLUMNS);
                    let columns: [$integers; $vectors] =
                        std::array::from_fn(|v| $load(b.add(v * 2 * $lanes)));
                    for row in 0..ROWS {
                        let value = $splat(a.start.add(row * a.stride + 2 * pair));
                        for v in 0..$vectors {
                            sums[row][v] = $multiply_add(sums[row][v], value, columns[v]);
                        }
                    }
                }
                for row in 0..ROWS {
                    let a_scale = $splat_f32(a_scales.add(row));
                    for v in 0..$vectors {
                        let scale = $multiply(a_scale, $load_f32(b_scales.add(v * $lanes)));
                        let sum = $multiply($to_f32(sums[row][v]), scale);
                        let target = c.start.add(row * c.stride + v * $lanes);
                        let sum = if c.accumulate { $add($load_f32(target), sum) } else { sum };
                        $store(target, sum);
                    }
                }
            }
        }}

        /// # Safety
        /// As `Kernels::thin_int8` checks, and the machine has the instructions of this file.
        pub(super) unsafe fn thin_int8(rows: usize, integers: RawIntegers, c: Target) {
            let most = 4 / rows;
            let mut panel = 0;
            while panel < integers.panels {
                let count = if integers.panels - panel < most {
                    1
                } else {
                    most
                };
                // SAFETY: the panels up to `panel + count` are those of the contract, and so are the
                // columns of the output under them.
                unsafe {
                    let b = integers.b.add(panel * integers.panel_bytes);
                    let integers = RawIntegers { b, ..integers };
                    let c = Target {
                        start: c.start.add(panel * COLUMNS),
                        ..c
                    };
                    match (rows, count) {
                        (1, 4) => thin_int8_by::<1, 4>(integers, c),
                        (1, _) => thin_int8_by::<1, 1>(integers, c),
                        (2, 2) => thin_int8_by::<2, 2>(integers, c),
                        (2, _) => thin_int8_by::<2, 1>(integers, c),
                        (4, _) => thin_int8_by::<4, 1>(integers, c),
                        _ => unreachable!("these products have 1, 2 or 4 rows; this is a bug"),
                    }
                }
                panel += count;
            }
        }

        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// As `thin_int8` for `R` rows and `P` panels.
        unsafe fn thin_int8_by<const R: usize, const P: usize>(integers: RawIntegers, c: Target) {
            let RawIntegers { pairs, a, a_scales, b, panel_bytes, .. } = integers;
            // SAFETY: offsets into A stay below `R * 2 * pairs`, into B below `P * panel_bytes`, into the
            // output below `(R - 1) * c.stride + P * COLUMNS`, as the contract allows; the scales lie
            // behind a panel's integers, at an address that is a multiple of four.
            unsafe {
                let mut sums: [[[$integers; $vectors]; P]; R] = [[[$zero(); $vectors]; P]; R];
                for pair in 0..pairs {
                    let columns: [[$integers; $vectors]; P] = std::array::from_fn(|p| {
                        let b = b.add(p * panel_bytes + pair * 2 * COLUMNS);
                        std::array::from_fn(|v| $widen(b.add(v * 2 * $lanes)))
                    });
                    for row in 0..R {
                        let value = $splat(a.add(row * 2 * pairs + 2 * pair));
                        for p in 0..P {
                            for v in 0..$vectors {
                                sums[row][p][v] =
                                    $multiply_add(sums[row][p][v], value, columns[p][v]);
                            }
                        }
                    }
                }
                for row in 0..R {
                    let a_scale = $splat_f32(a_scales.add(row));
                    for p in 0..P {
                        let b_scales = b.add(p * panel_bytes + pairs * 2 * COLUMNS).cast::<f32>();
                        for v in 0..$vectors {
                            let scale = $multiply(a_scale, $load_f32(b_scales.add(v * $lanes)));
                            let sum = $multiply($to_f32(sums[row][p][v]), scale);
                            $store(c.start.add(row * c.stride + p * COLUMNS + v * $lanes), sum);
                        }
                    }
                }
            }
        }}
    };
}

pub(in crate::cpu::kernels) use int8_product;
