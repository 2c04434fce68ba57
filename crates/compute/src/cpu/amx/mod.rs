//! Products by AMX tiles, in bf16 and in int8, and the same in software for the tests.
//!
//! A tile product takes what the f32 driver takes ([`product`](super::product)): rows of A from the
//! caller, B packed once, the caller's last touch on the sums. It rounds A while it packs it. All of it
//! is written against eight tile registers ([`tiles::Tiles`]): those of the processor
//! ([`hardware`]), or their description in Intel's manual ([`model`]), so that packing, blocking and
//! edges are tested on every machine.
//!
//! Attention ([`attention::tiled`](super::attention)) and convolutions ([`conv`](super::conv)) multiply
//! by the same innermost [`block`], over panels of their own.
//!
//! A thread holds the registers for one operation, and gives them back.

pub(super) mod block;
#[cfg(target_arch = "x86_64")]
mod detect;
#[cfg(target_arch = "x86_64")]
mod hardware;
mod model;
mod product;
pub(super) mod rounding;
mod stream;
#[cfg(test)]
mod tests;
pub(super) mod tiles;
pub(super) mod weight;

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
pub(super) use self::hardware::HardwareTiles;
pub(super) use self::model::ModelTiles;
pub(super) use self::weight::TileWeight;
use self::{product::Scratch, tiles::Tiles};
use super::{
    CpuDevice,
    product::Caller,
    tile::{Grid, Tile, tiles},
};

/// Which tile registers a device uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TileUnit {
    /// Those of the processor. A value of this kind comes from a device of [`Isa::Amx`], so they are
    /// there.
    ///
    /// [`Isa::Amx`]: super::Isa::Amx
    Hardware,
    /// Those in software.
    Model,
}

/// Whether this process may use the processor's tiles. The first call asks the system for them.
pub(super) fn is_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return detect::has_tiles();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Evaluates an expression for the tiles of a [`TileUnit`], whose type it knows by the given name.
macro_rules! on_tiles {
    ($unit:expr, $tiles:ident => $run:expr) => {
        match $unit {
            #[cfg(target_arch = "x86_64")]
            $crate::cpu::amx::TileUnit::Hardware => {
                type $tiles = $crate::cpu::amx::HardwareTiles;
                $run
            }
            #[cfg(not(target_arch = "x86_64"))]
            $crate::cpu::amx::TileUnit::Hardware => unreachable!("no such device is made here"),
            $crate::cpu::amx::TileUnit::Model => {
                type $tiles = $crate::cpu::amx::ModelTiles;
                $run
            }
        }
    };
}

pub(super) use on_tiles;

/// A whole product into `output`, `(samples, grid.rows, grid.columns)`, on all threads. `caller` makes
/// what a tile of the output needs.
pub(super) fn run<R, E>(
    device: &CpuDevice,
    unit: TileUnit,
    b: &TileWeight,
    (output, grid): (&mut [f32], Grid),
    caller: impl Fn(&Tile<'_>) -> Caller<R, E> + Sync,
) where
    R: FnMut(usize, Range<usize>, &mut [f32]),
    E: FnMut(usize, Range<usize>, &mut [f32]),
{
    on_tiles!(unit, T => run_on::<T, _, _>(device, b, output, grid, caller))
}

fn run_on<T: Tiles, R, E>(
    device: &CpuDevice,
    b: &TileWeight,
    output: &mut [f32],
    grid: Grid,
    caller: impl Fn(&Tile<'_>) -> Caller<R, E> + Sync,
) where
    R: FnMut(usize, Range<usize>, &mut [f32]),
    E: FnMut(usize, Range<usize>, &mut [f32]),
{
    let scratch = || Scratch::<T>::new(device, grid, b.depth());
    device.for_each(tiles(output, grid), scratch, |scratch, mut tile| {
        let caller = caller(&tile);
        product::into_tile(scratch, b, &mut tile, caller);
    });
}

/// How a product of `rows` × `columns` is cut: as high as the packing allows, since every tile reads B
/// anew, and so wide that packing its rows of A is repaid, but several tiles for each thread.
pub(super) fn grid(device: &CpuDevice, rows: usize, columns: usize) -> Grid {
    /// Columns of a tile at least: packing rows costs about what 40 columns cost.
    const LEAST_COLUMNS: usize = 256;
    /// And at most: 320 rows of so many sums are 5 MiB.
    const MOST_COLUMNS: usize = 4096;
    /// So many that no thread waits long for the last one.
    const TILES_PER_THREAD: usize = 4;
    let row_tiles = rows.div_ceil(product::MAX_ROWS);
    let wanted = match device.threads() {
        1 => 1,
        threads => (TILES_PER_THREAD * threads).div_ceil(row_tiles),
    };
    Grid {
        rows,
        columns,
        tile_rows: rows.div_ceil(row_tiles).next_multiple_of(block::BLOCK_ROWS),
        tile_columns: columns
            .div_ceil(wanted.max(columns.div_ceil(MOST_COLUMNS)))
            .max(LEAST_COLUMNS)
            .next_multiple_of(block::BLOCK_COLUMNS),
    }
}
