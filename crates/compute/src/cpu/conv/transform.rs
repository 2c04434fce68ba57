//! The transformations of F(4×4, 3×3): Winograd's minimal filtering (Lavin and Gray 2015, Fast
//! Algorithms for Convolutional Neural Networks) over the points 0, ±1/√2, ±√2 and infinity.
//!
//! Tiles of 6 × 6 input pixels give 4 × 4 output pixels by 36 multiplications for each pair of channels
//! instead of 144. The usual points 0, ±1, ±2 would leave twice the rounding error (measured: a relative
//! RMS of 2.1e-6 at 128 channels, against 1.0e-6 of these and 0.2e-6 of plain sums).
#![expect(
    unsafe_code,
    reason = "tiles are strided in memory, and calling a function compiled for AVX2 needs the check first"
)]

use std::f32::consts::{FRAC_1_SQRT_2 as NEAR, SQRT_2 as FAR};

use super::{
    super::kernels::Isa,
    LANES,
    lanes::{Lanes, Plain},
};

/// Points of a tile: 6 × 6.
pub(super) const POINTS: usize = SIDE * SIDE;

/// Input pixels of a tile in one direction.
pub(super) const SIDE: usize = 6;

/// Output pixels of a tile in one direction.
pub(super) const STEP: usize = 4;

/// A picture, or a stack of transformed ones, seen from one of its values on.
pub(super) struct View<'a> {
    pub values: &'a [f32],
    /// Values from one row (or point) to the next.
    pub stride: usize,
}

/// Where a tile of the output goes, and what is added to it.
pub(super) struct OutputTile<'a> {
    /// From the tile's first pixel and channel on.
    pub values: &'a mut [f32],
    /// Values from one row to the next.
    pub stride: usize,
    /// Values from one pixel to the next.
    pub pixel: usize,
    /// Rows and columns inside the picture, up to [`STEP`].
    pub size: [usize; 2],
    /// As many as there are channels to write.
    pub bias: &'a [f32],
    /// Whether the result is added to what is there.
    pub add: bool,
}

/// Compiles `$generic::<Lanes>` for AVX2 beside the plain one and picks by the instruction set.
macro_rules! dispatch {
    ($isa:expr, $generic:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $type),*) $(-> $result)? {
                // SAFETY: the caller's.
                unsafe { $generic::<super::lanes::Avx2>($($arg),*) }
            }
            if $isa != Isa::Portable {
                // SAFETY: every other set has AVX2 and FMA, and a device has what it is made of; the
                // values were checked by the function around this.
                return unsafe { avx2($($arg),*) };
            }
        }
        // SAFETY: the values were checked by the function around this.
        unsafe { $generic::<Plain>($($arg),*) }
    }};
}

/// Transforms the 6 × 6 pixels of `channels` values at `patch` into `output`, one value for each channel
/// at each of the [`POINTS`]. Says whether everything is finite.
pub(super) fn input_tile(
    isa: Isa,
    channels: usize,
    patch: &View<'_>,
    output: &mut [f32],
    point_stride: usize,
) -> bool {
    assert_eq!(channels % LANES, 0, "this is a bug");
    assert!(
        (SIDE - 1) * patch.stride + SIDE * channels <= patch.values.len(),
        "this is a bug"
    );
    assert!(
        (POINTS - 1) * point_stride + channels <= output.len(),
        "this is a bug"
    );
    let (from, line) = (patch.values.as_ptr(), patch.stride);
    let to = output.as_mut_ptr();
    dispatch!(isa, input(channels: usize, from: *const f32, line: usize, to: *mut f32, point_stride: usize) -> bool)
}

/// Transforms nine taps, `taps.stride` values apart, `count` values each, to [`POINTS`].
pub(super) fn weights(
    isa: Isa,
    count: usize,
    taps: &View<'_>,
    output: &mut [f32],
    point_stride: usize,
) {
    assert_eq!(count % LANES, 0, "this is a bug");
    assert!(
        8 * taps.stride + count <= taps.values.len(),
        "this is a bug"
    );
    assert!(
        (POINTS - 1) * point_stride + count <= output.len(),
        "this is a bug"
    );
    let (from, tap) = (taps.values.as_ptr(), taps.stride);
    let to = output.as_mut_ptr();
    dispatch!(isa, weight(count: usize, from: *const f32, tap: usize, to: *mut f32, point_stride: usize))
}

/// Transforms the products at `points` back to pixels, and adds the bias.
pub(super) fn output_tile(isa: Isa, points: &View<'_>, tile: OutputTile<'_>) {
    let [rows, columns] = tile.size;
    let channels = tile.bias.len();
    let padded = channels.next_multiple_of(LANES);
    assert!(
        (1..=STEP).contains(&rows) && (1..=STEP).contains(&columns),
        "this is a bug"
    );
    assert!(
        (POINTS - 1) * points.stride + padded <= points.values.len(),
        "this is a bug"
    );
    let last = (rows - 1) * tile.stride + (columns - 1) * tile.pixel + channels;
    assert!(last <= tile.values.len(), "this is a bug");
    let (from, stride) = (points.values.as_ptr(), points.stride);
    dispatch!(isa, output(from: *const f32, stride: usize, tile: OutputTile<'_>))
}

/// # Safety
/// As checked by [`input_tile`].
#[inline(always)]
unsafe fn input<L: Lanes>(
    channels: usize,
    from: *const f32,
    line: usize,
    to: *mut f32,
    point_stride: usize,
) -> bool {
    // SAFETY: rows, columns and points stay below `SIDE` and `POINTS`, channels below `channels`.
    unsafe {
        let mut witness = L::splat(0.0);
        for c in (0..channels).step_by(LANES) {
            let mut half = [[L::splat(0.0); SIDE]; SIDE];
            for x in 0..SIDE {
                let column: [L; SIDE] =
                    std::array::from_fn(|y| L::load(from.add(y * line + x * channels + c)));
                let column = input_points(column);
                for (row, value) in half.iter_mut().zip(column) {
                    row[x] = value;
                }
            }
            for (y, row) in half.into_iter().enumerate() {
                for (x, value) in input_points(row).into_iter().enumerate() {
                    witness = witness.add(value);
                    value.store(to.add((y * SIDE + x) * point_stride + c));
                }
            }
        }
        // What is not finite stays so in a sum.
        let mut sums = [0.0; LANES];
        witness.store(sums.as_mut_ptr());
        sums.iter().all(|sum| sum.is_finite())
    }
}

/// # Safety
/// As checked by [`weights`].
#[inline(always)]
unsafe fn weight<L: Lanes>(
    count: usize,
    from: *const f32,
    tap: usize,
    to: *mut f32,
    point_stride: usize,
) {
    // SAFETY: taps stay below nine, points below `POINTS`, values below `count`.
    unsafe {
        for i in (0..count).step_by(LANES) {
            let mut half = [[L::splat(0.0); 3]; SIDE];
            for x in 0..3 {
                let column: [L; 3] =
                    std::array::from_fn(|y| L::load(from.add((y * 3 + x) * tap + i)));
                let column = weight_points(column);
                for (row, value) in half.iter_mut().zip(column) {
                    row[x] = value;
                }
            }
            for (y, row) in half.into_iter().enumerate() {
                for (x, value) in weight_points(row).into_iter().enumerate() {
                    value.store(to.add((y * SIDE + x) * point_stride + i));
                }
            }
        }
    }
}

/// # Safety
/// As checked by [`output_tile`].
#[inline(always)]
unsafe fn output<L: Lanes>(from: *const f32, stride: usize, tile: OutputTile<'_>) {
    let channels = tile.bias.len();
    let to = tile.values.as_mut_ptr();
    // SAFETY: points stay below `POINTS`, rows and columns below `tile.size`; a vector is only loaded
    // from and stored to the tile and the bias where it is whole.
    unsafe {
        for c in (0..channels).step_by(LANES) {
            let mut half = [[L::splat(0.0); SIDE]; STEP];
            for x in 0..SIDE {
                let column: [L; SIDE] =
                    std::array::from_fn(|y| L::load(from.add((y * SIDE + x) * stride + c)));
                let column = output_pixels(column);
                for (row, value) in half.iter_mut().zip(column) {
                    row[x] = value;
                }
            }
            for (y, row) in half.into_iter().take(tile.size[0]).enumerate() {
                for (x, value) in output_pixels(row)
                    .into_iter()
                    .take(tile.size[1])
                    .enumerate()
                {
                    let to = to.add(y * tile.stride + x * tile.pixel + c);
                    if c + LANES <= channels {
                        let value = value.add(L::load(tile.bias.as_ptr().add(c)));
                        let value = if tile.add {
                            value.add(L::load(to))
                        } else {
                            value
                        };
                        value.store(to);
                    } else {
                        store_some(value, &tile.bias[c..], to, tile.add);
                    }
                }
            }
        }
    }
}

/// The first values of a vector, as many as there is bias.
///
/// # Safety
/// `to` must be good for as many values.
#[inline(always)]
unsafe fn store_some<L: Lanes>(value: L, bias: &[f32], to: *mut f32, add: bool) {
    let mut values = [0.0; LANES];
    // SAFETY: the array is a whole vector; the rest by the contract.
    unsafe {
        value.store(values.as_mut_ptr());
        for (i, (value, bias)) in values.iter().zip(bias).enumerate() {
            let before = if add { *to.add(i) } else { 0.0 };
            *to.add(i) = before + (value + bias);
        }
    }
}

/// The polynomials that vanish at all points but one, Bᵀ of the paper.
///
/// # Safety
/// The machine has the instructions of `L`.
#[inline(always)]
unsafe fn input_points<L: Lanes>(d: [L; SIDE]) -> [L; SIDE] {
    // SAFETY: by the contract.
    unsafe {
        let near = d[2].multiply_add(-2.0, d[4]);
        let near_odd = d[1].multiply_add(-2.0, d[3]);
        let far = d[2].multiply_add(-0.5, d[4]);
        let far_odd = d[1].multiply_add(-0.5, d[3]);
        [
            d[2].multiply_add(-2.5, d[0].add(d[4])),
            near_odd.multiply_add(NEAR, near),
            near_odd.multiply_add(-NEAR, near),
            far_odd.multiply_add(FAR, far),
            far_odd.multiply_add(-FAR, far),
            d[3].multiply_add(-2.5, d[1].add(d[5])),
        ]
    }
}

/// The kernel's polynomial at the points, each over the product of its distances to the others, G.
///
/// # Safety
/// The machine has the instructions of `L`.
#[inline(always)]
unsafe fn weight_points<L: Lanes>(g: [L; 3]) -> [L; SIDE] {
    const THIRD: f32 = 1.0 / 3.0;
    // SAFETY: by the contract.
    unsafe {
        let near = g[2].multiply_add(0.5, g[0]).scale(-2.0 * THIRD);
        let far = g[2].multiply_add(2.0, g[0]).scale(0.5 * THIRD);
        [
            g[0],
            g[1].multiply_add(-2.0 * THIRD * NEAR, near),
            g[1].multiply_add(2.0 * THIRD * NEAR, near),
            g[1].multiply_add(0.5 * THIRD * FAR, far),
            g[1].multiply_add(-0.5 * THIRD * FAR, far),
            g[2],
        ]
    }
}

/// From the values at the points to the coefficients, Aᵀ of the paper.
///
/// # Safety
/// The machine has the instructions of `L`.
#[inline(always)]
unsafe fn output_pixels<L: Lanes>(m: [L; SIDE]) -> [L; STEP] {
    // SAFETY: by the contract.
    unsafe {
        let (near, near_odd) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (far, far_odd) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(near.add(far)),
            far_odd.multiply_add(2.0, near_odd).scale(NEAR),
            far.multiply_add(4.0, near).scale(0.5),
            far_odd
                .multiply_add(8.0, near_odd)
                .multiply_add(0.5 * NEAR, m[5]),
        ]
    }
}
