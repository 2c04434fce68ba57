//! The tile registers of the processor. Rust has no intrinsics for them on its stable side, so each
//! instruction is one line of assembly; the compiler itself never touches these registers.
#![expect(unsafe_code, reason = "tiles are reached through assembly")]

use std::{arch::asm, cell::Cell, marker::PhantomData};

use super::{
    detect,
    tiles::{ROW_BYTES, TILE_ROWS, Tiles},
};

thread_local! {
    /// Whether this thread has the tiles configured.
    static HELD: Cell<bool> = const { Cell::new(false) };
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// All eight registers at their full size.
static FULL_TILES: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: first_eight_u16(ROW_BYTES as u16),
    rows: first_eight_u8(TILE_ROWS as u8),
};

const fn first_eight_u16(value: u16) -> [u16; 16] {
    let none = 0;
    [
        value, value, value, value, value, value, value, value, none, none, none, none, none, none,
        none, none,
    ]
}

const fn first_eight_u8(value: u8) -> [u8; 16] {
    let none = 0;
    [
        value, value, value, value, value, value, value, value, none, none, none, none, none, none,
        none, none,
    ]
}

/// This thread's tile registers. Configured registers make every switch of the thread's context save
/// 8 KiB more, so they are held for one operation at a time.
pub struct HardwareTiles {
    /// Registers belong to a thread.
    thread: PhantomData<*mut ()>,
}

impl Drop for HardwareTiles {
    fn drop(&mut self) {
        // SAFETY: `configure` has checked that there are tiles; releasing them is always valid.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
        HELD.set(false);
    }
}

impl Tiles for HardwareTiles {
    fn configure() -> Self {
        assert!(detect::has_tiles(), "no tiles here; this is a bug");
        assert!(!HELD.replace(true), "tiles are held twice; this is a bug");
        // SAFETY: there are tiles and the permission to use them; the configuration is a valid one of
        // palette 1.
        unsafe {
            asm!(
                "ldtilecfg [{configuration}]",
                configuration = in(reg) &raw const FULL_TILES,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly, preserves_flags),
            );
        }
        Self {
            thread: PhantomData,
        }
    }

    #[inline(always)]
    fn zero<const TILE: u8>(&mut self) {
        // SAFETY: `self` says that the registers are configured on this thread.
        unsafe {
            asm!("tilezero tmm{tile}", tile = const TILE, options(nostack, nomem, preserves_flags));
        }
    }

    #[inline(always)]
    unsafe fn load<const TILE: u8>(&mut self, from: *const u8, stride_bytes: usize) {
        // SAFETY: the registers are configured; the rows are valid for reads by the contract.
        unsafe {
            asm!(
                "tileloadd tmm{tile}, [{from} + {stride}*1]",
                tile = const TILE,
                from = in(reg) from,
                stride = in(reg) stride_bytes,
                options(nostack, readonly, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn load_passing<const TILE: u8>(&mut self, from: *const u8, stride_bytes: usize) {
        // SAFETY: as above.
        unsafe {
            asm!(
                "tileloaddt1 tmm{tile}, [{from} + {stride}*1]",
                tile = const TILE,
                from = in(reg) from,
                stride = in(reg) stride_bytes,
                options(nostack, readonly, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn store<const TILE: u8>(&mut self, to: *mut u8, stride_bytes: usize) {
        // SAFETY: the registers are configured; the rows are valid for writes by the contract.
        unsafe {
            asm!(
                "tilestored [{to} + {stride}*1], tmm{tile}",
                tile = const TILE,
                to = in(reg) to,
                stride = in(reg) stride_bytes,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn multiply_bf16<const C: u8, const A: u8, const B: u8>(&mut self) {
        // SAFETY: the registers are configured, and `Operand`'s callers name three different ones (the
        // assembler refuses two equal ones).
        unsafe {
            asm!(
                "tdpbf16ps tmm{c}, tmm{a}, tmm{b}",
                c = const C, a = const A, b = const B,
                options(nostack, nomem, preserves_flags),
            );
        }
    }

    #[inline(always)]
    fn multiply_int8<const C: u8, const A: u8, const B: u8>(&mut self) {
        // SAFETY: as above.
        unsafe {
            asm!(
                "tdpbssd tmm{c}, tmm{a}, tmm{b}",
                c = const C, a = const A, b = const B,
                options(nostack, nomem, preserves_flags),
            );
        }
    }
}

/// What this thread's tiles are configured to: 0 if they are released.
#[cfg(test)]
pub fn palette() -> u8 {
    assert!(detect::has_tiles(), "no tiles here; this is a bug");
    let mut configuration = [0xff_u8; 64];
    // SAFETY: there are tiles; the instruction writes 64 bytes.
    unsafe {
        asm!(
            "sttilecfg [{configuration}]",
            configuration = in(reg) configuration.as_mut_ptr(),
            options(nostack, preserves_flags),
        );
    }
    configuration[0]
}
