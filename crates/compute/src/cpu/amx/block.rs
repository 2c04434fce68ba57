//! The innermost product: two by two tiles of sums, from a panel of A and a panel of B.
//!
//! A panel of A is `[step][32 rows][STEP]`, a panel of B `[step][2 halves][16 groups][16 columns]
//! [GROUP]`, where a step is as much depth as one instruction multiplies ([`Operand::STEP`]): so each
//! step of either is two tiles of 1 KiB, and the walk over a panel reads memory in order.
#![expect(
    unsafe_code,
    reason = "tiles are loaded and stored through raw pointers"
)]

use super::tiles::{Operand, ROW_BYTES, TILE_COLUMNS, TILE_ROWS, Tiles};

/// Rows of a block: two tiles.
pub const BLOCK_ROWS: usize = 2 * TILE_ROWS;

/// Columns of a block: two tiles.
pub const BLOCK_COLUMNS: usize = 2 * TILE_COLUMNS;

/// Bytes of a tile.
const TILE_BYTES: usize = TILE_ROWS * ROW_BYTES;

/// Cache lines of each kind that are asked for in a step at most: with more, asking is what takes the time.
const LINES_AHEAD: usize = 8;

/// What is needed soon: it is fetched into the second-level cache meanwhile, from its beginning, as far as
/// the time suffices.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<'a, O: Operand> {
    /// Of a panel.
    pub operands: &'a [O],
    /// That are to be added to.
    pub sums: &'a [O::Sum],
}

impl<'a, O: Operand> Ahead<'a, O> {
    /// A panel alone.
    pub fn of(operands: &'a [O]) -> Self {
        Self {
            operands,
            sums: &[],
        }
    }
}

/// What comes next in `count` even parts, one for each product to ask for; where it is too short, the last
/// ones are empty.
pub fn shares_of<T>(next: &[T], count: usize) -> impl Iterator<Item = &[T]> {
    let share = next.len().div_ceil(count);
    (0..count).map(move |index| {
        let end = next.len().min((index + 1) * share);
        next.get(index * share..end).unwrap_or_default()
    })
}

/// Sums of a block, `stride` values from row to row.
#[derive(Debug)]
pub struct Sums<'a, S> {
    /// From the block's first sum on, at least up to its last.
    pub values: &'a mut [S],
    /// Values from one row to the next.
    pub stride: usize,
    /// Whether the product is added to what is there.
    pub accumulate: bool,
}

/// `sums = a · b`, or `sums += a · b`, for 32 × 32 sums.
///
/// # Panics
/// If the panels are not of one depth, or the block does not hold its last sum.
pub fn product<T: Tiles, O: Operand>(
    tiles: &mut T,
    a: &[O],
    b: &[O],
    ahead: Ahead<'_, O>,
    sums: Sums<'_, O::Sum>,
) {
    let steps = a.len() / (BLOCK_ROWS * O::STEP);
    assert_eq!(a.len(), steps * BLOCK_ROWS * O::STEP, "this is a bug");
    let start: *const u8 = a.as_ptr().cast();
    let a = |step: usize| {
        // SAFETY: the panel has `steps` steps of two tiles (just checked).
        let tile = unsafe { start.add(step * 2 * TILE_BYTES) };
        // SAFETY: as above.
        [tile, unsafe { tile.add(TILE_BYTES) }]
    };
    // SAFETY: so are all rows of both tiles, one after the other.
    unsafe { walk(tiles, (steps, a, ROW_BYTES), b, ahead, sums) };
}

/// Rows of A that lie where they are: neither packed nor copied.
#[derive(Debug)]
pub struct Rows<'a, O> {
    /// What holds all of them.
    pub values: &'a [O],
    /// The first value of the first row, for each of the two tiles of sixteen rows.
    pub tiles: [usize; 2],
    /// Values from one row of a tile to the next.
    pub stride: usize,
    /// For each step of the depth, how far behind a row's first value it begins.
    pub steps: &'a [usize],
}

/// [`product`] over such rows.
///
/// # Panics
/// If a row or the block does not hold its last value, or the panel is of another depth.
pub fn product_of_rows<T: Tiles, O: Operand>(
    tiles: &mut T,
    a: &Rows<'_, O>,
    b: &[O],
    ahead: Ahead<'_, O>,
    sums: Sums<'_, O::Sum>,
) {
    let furthest = a.steps.iter().copied().max().unwrap_or_default();
    let last = a.tiles[0].max(a.tiles[1]) + furthest + (TILE_ROWS - 1) * a.stride + O::STEP;
    assert!(last <= a.values.len(), "this is a bug");
    let start = a.values.as_ptr();
    let tiles_at = |step: usize| {
        // SAFETY: the first row of either tile is inside, at any step (just checked).
        a.tiles
            .map(|tile| unsafe { start.add(tile + a.steps[step]) }.cast())
    };
    let walked = (a.steps.len(), tiles_at, a.stride * size_of::<O>());
    // SAFETY: so are the other fifteen, `stride` apart.
    unsafe { walk(tiles, walked, b, ahead, sums) };
}

/// The product itself. A passes by, so that the panel of B stays in the first-level cache for the next
/// block of rows: loaded as B is, A pushes it out.
///
/// `a` says how many steps there are, where the two tiles of a step begin, and how many bytes lie from row
/// to row.
///
/// # Panics
/// If `b` is of another depth, or the block does not hold its last sum.
///
/// # Safety
/// All sixteen rows of both tiles of every step must be valid for reads.
#[inline(always)]
unsafe fn walk<T: Tiles, O: Operand>(
    tiles: &mut T,
    (steps, a, a_stride): (usize, impl Fn(usize) -> [*const u8; 2], usize),
    b: &[O],
    ahead: Ahead<'_, O>,
    sums: Sums<'_, O::Sum>,
) {
    assert_eq!(b.len(), steps * BLOCK_COLUMNS * O::STEP, "this is a bug");
    assert!(sums.stride >= BLOCK_COLUMNS, "this is a bug");
    let last = (BLOCK_ROWS - 1) * sums.stride + BLOCK_COLUMNS;
    assert!(last <= sums.values.len(), "this is a bug");
    let b: *const u8 = b.as_ptr().cast();
    // SAFETY: the sums hold 32 rows of 32 values, `stride` apart (just checked).
    unsafe { begin(tiles, &sums) };
    let lines = |count: usize| count.div_ceil(steps.max(1)).min(LINES_AHEAD);
    let operand_lines = lines(size_of_val(ahead.operands).div_ceil(ROW_BYTES));
    let sum_lines = lines(size_of_val(ahead.sums).div_ceil(ROW_BYTES));
    for step in 0..steps {
        let [upper, lower] = a(step);
        // SAFETY: A by the contract; the panel of B has `steps` steps of two tiles (just checked).
        unsafe {
            let b = b.add(step * 2 * TILE_BYTES);
            tiles.load_passing::<4>(upper, a_stride);
            tiles.load::<6>(b, ROW_BYTES);
            O::multiply::<T, 0, 4, 6>(tiles);
            tiles.load::<7>(b.add(TILE_BYTES), ROW_BYTES);
            O::multiply::<T, 1, 4, 7>(tiles);
            tiles.load_passing::<5>(lower, a_stride);
            O::multiply::<T, 2, 5, 6>(tiles);
            O::multiply::<T, 3, 5, 7>(tiles);
        }
        fetch(ahead.operands, step, operand_lines);
        fetch(ahead.sums, step, sum_lines);
    }
    // SAFETY: as above.
    unsafe { end(tiles, sums) };
}

/// Registers 0 to 3 take the sums, or zeros.
///
/// # Safety
/// The sums hold a whole block.
unsafe fn begin<T: Tiles, S>(tiles: &mut T, sums: &Sums<'_, S>) {
    if !sums.accumulate {
        tiles.zero::<0>();
        tiles.zero::<1>();
        tiles.zero::<2>();
        tiles.zero::<3>();
        return;
    }
    let (start, stride_bytes) = (sums.values.as_ptr(), sums.stride * size_of::<S>());
    // SAFETY: by the contract.
    unsafe {
        let low = start.add(TILE_ROWS * sums.stride);
        tiles.load::<0>(start.cast(), stride_bytes);
        tiles.load::<1>(start.add(TILE_COLUMNS).cast(), stride_bytes);
        tiles.load::<2>(low.cast(), stride_bytes);
        tiles.load::<3>(low.add(TILE_COLUMNS).cast(), stride_bytes);
    }
}

/// Registers 0 to 3 become the sums.
///
/// # Safety
/// The sums hold a whole block.
unsafe fn end<T: Tiles, S>(tiles: &mut T, sums: Sums<'_, S>) {
    let (start, stride_bytes) = (sums.values.as_mut_ptr(), sums.stride * size_of::<S>());
    // SAFETY: by the contract.
    unsafe {
        let low = start.add(TILE_ROWS * sums.stride);
        tiles.store::<0>(start.cast(), stride_bytes);
        tiles.store::<1>(start.add(TILE_COLUMNS).cast(), stride_bytes);
        tiles.store::<2>(low.cast(), stride_bytes);
        tiles.store::<3>(low.add(TILE_COLUMNS).cast(), stride_bytes);
    }
}

/// Asks for this step's `lines` of `ahead`.
#[inline(always)]
fn fetch<V>(ahead: &[V], step: usize, lines: usize) {
    let per_line = ROW_BYTES / size_of::<V>();
    for line in step * lines..(step + 1) * lines {
        let first = line * per_line;
        #[cfg(target_arch = "x86_64")]
        if let Some(value) = ahead.get(first) {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            // SAFETY: fetching has no effect that a program sees; the address is a valid one besides.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(value).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (ahead, first);
    }
}
