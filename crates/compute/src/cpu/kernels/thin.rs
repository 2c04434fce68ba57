//! Thin products that decode on the way: a few rows against panels of coded weights, each byte of which
//! goes from memory to the sums without a stop.
//!
//! The bits are those of widening first ([`Kernels::widen_quants`], [`Kernels::widen_numbers`]) and
//! multiplying then. A quant has at most eight bits, a scale eleven of an f16 times seven of a group, so
//! `quant · scale` is exact in f32, and `quant · scale + addend`, fused or not, is rounded once: the
//! addend is `-min`, which gives the difference as it is defined, or `-offset · scale`, which gives
//! `(quant - offset) · scale` exactly. This holds for finite scales: where one is not, the product says so.

use super::{Kernels, Number, Source, Target};
use crate::cpu::coded::Groups;

/// Quants of a chunk of some panels, as [`layout`](crate::cpu::coded::layout) has them, see
/// [`Kernels::thin_quants`].
#[derive(Clone, Copy, Debug)]
pub struct QuantPanels<'a> {
    /// How many panels.
    pub count: usize,
    /// Bits of a quant.
    pub bits: usize,
    /// The quant that means zero, unless there are minimums.
    pub offset: i16,
    /// Whether there are minimums.
    pub has_min: bool,
    /// Blocks of a column.
    pub blocks: usize,
    /// Groups of a block.
    pub groups: usize,
    /// What each has.
    pub of_groups: Groups,
    /// Values of a group, a multiple of eight.
    pub group_values: usize,
    /// The chunk of each panel.
    pub bytes: &'a [u8],
}

/// Numbers of a chunk of some panels, see [`Kernels::thin_numbers`].
#[derive(Clone, Copy, Debug)]
pub struct NumberPanels<'a> {
    /// How many panels.
    pub count: usize,
    /// Their type; none of them is NaN if it is [`Number::E4m3`].
    pub number: Number,
    /// `[panel][depth][columns]`
    pub bytes: &'a [u8],
    /// What every number is multiplied by.
    pub scale: f32,
}

/// [`QuantPanels`] as the kernels take them.
#[derive(Clone, Copy, Debug)]
pub struct RawQuants {
    pub panels: usize,
    pub bits: usize,
    /// Minus the offset.
    pub offset: f32,
    pub has_min: bool,
    pub blocks: usize,
    pub groups: usize,
    pub of_groups: Groups,
    /// Eights of the values of a group.
    pub steps: usize,
    pub start: *const u8,
    /// Bytes of a block before its quants, and of all of it.
    pub head_bytes: usize,
    pub block_bytes: usize,
    pub panel_bytes: usize,
}

/// [`NumberPanels`] as the kernels take them.
#[derive(Clone, Copy, Debug)]
pub struct RawNumbers {
    pub panels: usize,
    pub number: Number,
    pub depth: usize,
    pub start: *const u8,
    pub scale: f32,
}

/// How many rows the kernels compute for so many that are asked for: 1, 2 or 4.
pub fn thin_rows(rows: usize) -> usize {
    rows.next_power_of_two()
}

impl Kernels {
    /// Rows of A (one, two or four, each `a.len() / rows` values) against the chunk of every panel:
    /// `target`, `[rows][panels * columns]`, becomes their product. `false`: not all scales are finite,
    /// and the product is none.
    ///
    /// # Panics
    /// If a slice does not hold what that takes.
    #[must_use]
    pub fn thin_quants(
        &self,
        rows: usize,
        a: &[f32],
        panels: QuantPanels<'_>,
        target: &mut [f32],
    ) -> bool {
        let QuantPanels {
            count,
            bits,
            blocks,
            groups,
            of_groups,
            group_values,
            bytes,
            ..
        } = panels;
        let halves = 2 + 2 * usize::from(panels.has_min);
        let head_bytes = (halves + groups * of_groups.bytes()) * self.columns;
        let block_bytes = head_bytes + groups * group_values / 8 * bits * self.columns;
        assert_eq!(group_values % 8, 0, "this is a bug");
        assert_eq!(bytes.len(), count * blocks * block_bytes, "this is a bug");
        let depth = blocks * groups * group_values;
        let (a, c) = self.thin_sides(rows, depth, a, count, target);
        let quants = RawQuants {
            panels: count,
            bits,
            offset: -f32::from(panels.offset),
            has_min: panels.has_min,
            blocks,
            groups,
            of_groups,
            steps: group_values / 8,
            start: bytes.as_ptr(),
            head_bytes,
            block_bytes,
            panel_bytes: blocks * block_bytes,
        };
        // SAFETY: just checked; that the machine has the instructions was checked by `of`.
        unsafe { (self.thin_quants)(rows, quants, a, c) }
    }

    /// The same over numbers one by one.
    ///
    /// # Panics
    /// If a slice does not hold what that takes, or [`Number::E4m3`] has a scale that
    /// [`Number::thin_scale`] cannot take.
    pub fn thin_numbers(
        &self,
        rows: usize,
        a: &[f32],
        panels: NumberPanels<'_>,
        target: &mut [f32],
    ) {
        let NumberPanels {
            count,
            number,
            bytes,
            scale,
        } = panels;
        let depth = a.len() / rows;
        let size = count * depth * self.columns * number.size_bytes();
        assert_eq!(bytes.len(), size, "this is a bug");
        let (a, c) = self.thin_sides(rows, depth, a, count, target);
        let numbers = RawNumbers {
            panels: count,
            number,
            depth,
            start: bytes.as_ptr(),
            scale: number
                .thin_scale(scale)
                .expect("was looked at; this is a bug"),
        };
        // SAFETY: just checked; that the machine has the instructions was checked by `of`.
        unsafe { (self.thin_numbers)(rows, numbers, a, c) }
    }

    /// Rows and output of a thin product, checked.
    fn thin_sides(
        &self,
        rows: usize,
        depth: usize,
        a: &[f32],
        panels: usize,
        target: &mut [f32],
    ) -> (Source<f32>, Target) {
        assert_eq!(rows, thin_rows(rows), "this is a bug");
        assert_eq!(a.len(), rows * depth, "this is a bug");
        let width = panels * self.columns;
        assert!(target.len() >= rows * width, "this is a bug");
        let a = Source {
            start: a.as_ptr(),
            stride: depth,
        };
        let c = Target {
            start: target.as_mut_ptr(),
            stride: width,
            accumulate: false,
        };
        (a, c)
    }
}

impl Number {
    /// What the kernels multiply by instead of `scale`, and get the same bits: they read
    /// [`Number::E4m3`] 256 times too small. `None` if that cannot be.
    pub fn thin_scale(self, scale: f32) -> Option<f32> {
        let scale = match self {
            Self::Half | Self::E5m2 => scale,
            Self::E4m3 => scale * 256.0,
        };
        scale.is_finite().then_some(scale)
    }
}

/// Defines `thin_quants` and `thin_numbers` for panels of `COLUMNS`; needs what `coded_widening` defines.
/// The operations are those of `coded_widening` and `block_products`; `load_signed(*const u8)` gives
/// integers of bytes with a sign, `load_e4m3(*const u8)` what a number is, but for NaN, divided by 256.
macro_rules! coded_products {
    (
        features: $features:tt,
        vectors: $vectors:expr, lanes: $lanes:expr, vector: $vector:ty,
        load_bytes: $load_bytes:path, load_signed: $load_signed:path,
        shift_right: $shift_right:path, and: $and:path, to_f32: $to_f32:path,
        load_half: $load_half:path, load_e4m3: $load_e4m3:path, load_e5m2: $load_e5m2:path,
        zero: $zero:path, splat: $splat:path, multiply: $multiply:path,
        multiply_add: $multiply_add:path, store: $store:path $(,)?
    ) => {
        /// # Safety
        /// As `Kernels::thin_quants` checks, and the machine has the instructions of this file.
        unsafe fn thin_quants(rows: usize, quants: RawQuants, a: Source<f32>, c: Target) -> bool {
            // SAFETY: by this function's contract.
            unsafe {
                match quants.bits {
                    2 => thin_quants_of::<2>(rows, quants, a, c),
                    3 => thin_quants_of::<3>(rows, quants, a, c),
                    4 => thin_quants_of::<4>(rows, quants, a, c),
                    5 => thin_quants_of::<5>(rows, quants, a, c),
                    6 => thin_quants_of::<6>(rows, quants, a, c),
                    8 => thin_quants_of::<8>(rows, quants, a, c),
                    _ => unreachable!("no format has such quants; this is a bug"),
                }
            }
        }

        /// # Safety
        /// As `thin_quants`.
        unsafe fn thin_quants_of<const BITS: usize>(
            rows: usize,
            quants: RawQuants,
            a: Source<f32>,
            c: Target,
        ) -> bool {
            let most = if rows == 4 { 1 } else { 2 };
            let (mut panel, mut finite) = (0, true);
            while panel < quants.panels {
                let count = most.min(quants.panels - panel);
                // SAFETY: the panels up to `panel + count` are those of the contract, and so are the
                // columns of the output under them.
                finite &= unsafe {
                    let start = quants.start.add(panel * quants.panel_bytes);
                    let quants = RawQuants { start, ..quants };
                    let c = Target { start: c.start.add(panel * COLUMNS), ..c };
                    match (rows, count) {
                        (1, 2) => quants_by::<BITS, 1, 2>(quants, a, c),
                        (1, _) => quants_by::<BITS, 1, 1>(quants, a, c),
                        (2, 2) => quants_by::<BITS, 2, 2>(quants, a, c),
                        (2, _) => quants_by::<BITS, 2, 1>(quants, a, c),
                        (4, _) => quants_by::<BITS, 4, 1>(quants, a, c),
                        _ => unreachable!("these products have 1, 2 or 4 rows; this is a bug"),
                    }
                };
                panel += count;
            }
            finite
        }

        $crate::cpu::kernels::block::with_features! { $features
        /// What quants of a group are multiplied by, and what is added then, in some columns.
        ///
        /// # Safety
        /// `block` must be valid for reads of a block's head from these columns on.
        #[inline]
        unsafe fn factors(quants: &RawQuants, block: *const u8, v: usize, group: usize) -> [$vector; 2] {
            let halves = 2 + 2 * usize::from(quants.has_min);
            // SAFETY: the halves come first, then what the groups have, as the layout says.
            unsafe {
                let scale = $load_half(block.add(2 * v * $lanes));
                let min = || $load_half(block.add(2 * (COLUMNS + v * $lanes)));
                let row = |index: usize| block.add((halves + index) * COLUMNS + v * $lanes);
                let (scale, min) = match quants.of_groups {
                    Groups::None if !quants.has_min => (scale, scale),
                    Groups::None => (scale, min()),
                    Groups::Scales => {
                        let scale = $multiply(scale, $to_f32($load_signed(row(group))));
                        (scale, scale)
                    }
                    Groups::ScalesAndMins => {
                        let own = $to_f32($load_signed(row(quants.groups + group)));
                        let scale = $multiply(scale, $to_f32($load_signed(row(group))));
                        (scale, $multiply(min(), own))
                    }
                    Groups::Nibbles => {
                        let both = $load_bytes(row(group));
                        let own = $to_f32($shift_right(both, 4));
                        let scale = $multiply(scale, $to_f32($and(both, 0xf)));
                        (scale, $multiply(min(), own))
                    }
                };
                let factor = if quants.has_min { -1.0 } else { quants.offset };
                [scale, $multiply(min, $splat(&factor))]
            }
        }}

        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// As `thin_quants` for `R` rows and `P` panels.
        unsafe fn quants_by<const BITS: usize, const R: usize, const P: usize>(
            quants: RawQuants,
            a: Source<f32>,
            c: Target,
        ) -> bool {
            let RawQuants { blocks, groups, steps, .. } = quants;
            // SAFETY: offsets into A stay below `(R - 1) * a.stride` and the depth, into the blocks
            // within `P` panels, into the output below `(R - 1) * c.stride + P * COLUMNS`, as the
            // contract allows.
            unsafe {
                let mut sums: [[[$vector; $vectors]; P]; R] = [[[$zero(); $vectors]; P]; R];
                // Stays zero but where a scale is not finite.
                let mut nothing = $zero();
                let mut a_start = a.start;
                for block in 0..blocks {
                    let block = quants.start.add(block * quants.block_bytes);
                    for group in 0..groups {
                        let factors: [[[$vector; 2]; $vectors]; P] = std::array::from_fn(|p| {
                            let block = block.add(p * quants.panel_bytes);
                            std::array::from_fn(|v| factors(&quants, block, v, group))
                        });
                        for [scale, _] in factors.as_flattened() {
                            nothing = $multiply_add(*scale, $zero(), nothing);
                        }
                        let first = block.add(quants.head_bytes + group * steps * BITS * COLUMNS);
                        for step in 0..steps {
                            let bytes = first.add(step * BITS * COLUMNS);
                            $crate::cpu::kernels::thin::eight! { K => {
                                let values: [[$vector; $vectors]; P] = std::array::from_fn(|p| {
                                    std::array::from_fn(|v| {
                                        let bytes = bytes.add(p * quants.panel_bytes + v * $lanes);
                                        let quant = $to_f32(quant::<BITS>(bytes, K));
                                        let [scale, addend] = factors[p][v];
                                        $multiply_add(quant, scale, addend)
                                    })
                                });
                                for row in 0..R {
                                    let x = $splat(a_start.add(row * a.stride + K));
                                    for p in 0..P {
                                        for v in 0..$vectors {
                                            sums[row][p][v] =
                                                $multiply_add(x, values[p][v], sums[row][p][v]);
                                        }
                                    }
                                }
                            }}
                            a_start = a_start.add(8);
                        }
                    }
                }
                put_sums(sums, c);
                let mut lanes = [0.0_f32; $lanes];
                $store(lanes.as_mut_ptr(), nothing);
                lanes.iter().all(|lane| *lane == 0.0)
            }
        }}

        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// `c` must be valid for writes of `R` rows of `P` panels.
        #[inline]
        unsafe fn put_sums<const R: usize, const P: usize>(
            sums: [[[$vector; $vectors]; P]; R],
            c: Target,
        ) {
            for (row, sums) in sums.iter().enumerate() {
                for (i, sum) in sums.as_flattened().iter().enumerate() {
                    // SAFETY: by the contract.
                    unsafe { $store(c.start.add(row * c.stride + i * $lanes), *sum) };
                }
            }
        }}

        /// # Safety
        /// As `Kernels::thin_numbers` checks, and the machine has the instructions of this file.
        unsafe fn thin_numbers(rows: usize, numbers: RawNumbers, a: Source<f32>, c: Target) {
            // SAFETY: by this function's contract.
            unsafe {
                match numbers.number {
                    Number::Half => thin_halves(rows, numbers, a, c),
                    Number::E4m3 => thin_e4m3(rows, numbers, a, c),
                    Number::E5m2 => thin_e5m2(rows, numbers, a, c),
                }
            }
        }

        $crate::cpu::kernels::thin::thin_numbers! {
            $features, thin_halves, halves_by, $load_half, 2,
            $vectors, $lanes, $vector, $zero, $splat, $multiply, $multiply_add
        }
        $crate::cpu::kernels::thin::thin_numbers! {
            $features, thin_e4m3, e4m3_by, $load_e4m3, 1,
            $vectors, $lanes, $vector, $zero, $splat, $multiply, $multiply_add
        }
        $crate::cpu::kernels::thin::thin_numbers! {
            $features, thin_e5m2, e5m2_by, $load_e5m2, 1,
            $vectors, $lanes, $vector, $zero, $splat, $multiply, $multiply_add
        }
    };
}

/// Defines `$name`: the thin product over numbers that `$load_b` reads, of `$bytes` bytes each.
macro_rules! thin_numbers {
    (
        $features:tt, $name:ident, $inner:ident, $load_b:path, $bytes:expr,
        $vectors:expr, $lanes:expr, $vector:ty, $zero:path, $splat:path, $multiply:path,
        $multiply_add:path
    ) => {
        /// # Safety
        /// As `thin_numbers` for these.
        unsafe fn $name(rows: usize, numbers: RawNumbers, a: Source<f32>, c: Target) {
            let most = 4 / rows;
            let mut panel = 0;
            while panel < numbers.panels {
                let count = if numbers.panels - panel < most {
                    1
                } else {
                    most
                };
                // SAFETY: the panels up to `panel + count` are those of the contract, and so are the
                // columns of the output under them.
                unsafe {
                    let start = numbers.start.add(panel * numbers.depth * COLUMNS * $bytes);
                    let numbers = RawNumbers { start, ..numbers };
                    let c = Target {
                        start: c.start.add(panel * COLUMNS),
                        ..c
                    };
                    match (rows, count) {
                        (1, 4) => $inner::<1, 4>(numbers, a, c),
                        (1, _) => $inner::<1, 1>(numbers, a, c),
                        (2, 2) => $inner::<2, 2>(numbers, a, c),
                        (2, _) => $inner::<2, 1>(numbers, a, c),
                        (4, _) => $inner::<4, 1>(numbers, a, c),
                        _ => unreachable!("these products have 1, 2 or 4 rows; this is a bug"),
                    }
                }
                panel += count;
            }
        }

        $crate::cpu::kernels::block::with_features! { $features
        /// # Safety
        /// As `$name` for `R` rows and `P` panels.
        unsafe fn $inner<const R: usize, const P: usize>(
            numbers: RawNumbers,
            a: Source<f32>,
            c: Target,
        ) {
            let depth = numbers.depth;
            // SAFETY: offsets into A stay below `(R - 1) * a.stride + depth`, into the numbers below
            // `P * depth * COLUMNS`, into the output below `(R - 1) * c.stride + P * COLUMNS`, as the
            // contract allows.
            unsafe {
                let scale = $splat(&numbers.scale);
                let mut sums: [[[$vector; $vectors]; P]; R] = [[[$zero(); $vectors]; P]; R];
                for k in 0..depth {
                    let values: [[$vector; $vectors]; P] = std::array::from_fn(|p| {
                        let row = (p * depth + k) * COLUMNS;
                        std::array::from_fn(|v| {
                            let at = numbers.start.add((row + v * $lanes) * $bytes);
                            $multiply($load_b(at), scale)
                        })
                    });
                    for row in 0..R {
                        let x = $splat(a.start.add(row * a.stride + k));
                        for p in 0..P {
                            for v in 0..$vectors {
                                sums[row][p][v] = $multiply_add(x, values[p][v], sums[row][p][v]);
                            }
                        }
                    }
                }
                put_sums(sums, c);
            }
        }}
    };
}

/// The body eight times, `$k` being a constant from 0 to 7 in it: a loop of this size is left a loop, and
/// then shifts by what was a constant cost as much as all the rest.
macro_rules! eight {
    ($k:ident => $body:block) => {
        $crate::cpu::kernels::thin::eight!($k => $body, 0 1 2 3 4 5 6 7)
    };
    ($k:ident => $body:block, $($value:literal)*) => {$({
        const $k: usize = $value;
        $body
    })*};
}

pub(in crate::cpu::kernels) use {coded_products, eight, thin_numbers};
