//! Whether this process may use tiles: the processor has them, the system switches them with the
//! threads, and the process has asked for permission.
#![expect(unsafe_code, reason = "cpuid, xgetbv and a system call")]

use std::{
    arch::{
        asm,
        x86_64::{__cpuid, __cpuid_count, _xgetbv},
    },
    sync::OnceLock,
};

/// The leaf of cpuid with the extended features, and its bits for AMX in `edx`.
const EXTENDED_FEATURES: u32 = 7;
const AMX_BF16: u32 = 1 << 22;
const AMX_TILE: u32 = 1 << 24;
const AMX_INT8: u32 = 1 << 25;

/// The bit of cpuid's leaf 1 in `ecx`: the system uses `xsave`, so `xgetbv` works.
const OSXSAVE: u32 = 1 << 27;

/// The tiles' configuration and data among the states that the system switches.
const TILE_STATES: u64 = 1 << 17 | 1 << 18;

/// Tiles for bf16 and for int8, allowed to this process. The first call asks the system for the
/// permission; it holds for all threads, also for those that exist already. Miri's processor has none,
/// nor the instruction that would tell.
pub fn has_tiles() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        !cfg!(miri)
            && processor_has_tiles()
            && system_switches_tiles()
            && request_permission().is_ok()
    })
}

fn processor_has_tiles() -> bool {
    if __cpuid(0).eax < EXTENDED_FEATURES {
        return false;
    }
    let wanted = AMX_TILE | AMX_BF16 | AMX_INT8;
    __cpuid_count(EXTENDED_FEATURES, 0).edx & wanted == wanted
}

fn system_switches_tiles() -> bool {
    #[target_feature(enable = "xsave")]
    fn states() -> u64 {
        // SAFETY: register 0 is there wherever `xgetbv` is.
        unsafe { _xgetbv(0) }
    }
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    // SAFETY: the system has switched `xsave` on.
    let states = unsafe { states() };
    states & TILE_STATES == TILE_STATES
}

/// Linux hands tiles only to processes that ask (Documentation/arch/x86/xstate.rst in its source):
/// `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`. The error is the system's number for it.
#[cfg(target_os = "linux")]
fn request_permission() -> Result<(), i64> {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let status: i64;
    // SAFETY: a system call that takes two numbers and touches no memory of this process; it leaves
    // its result in rax and overwrites rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => status,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack, nomem),
        );
    }
    if status == 0 { Ok(()) } else { Err(status) }
}

/// Elsewhere nobody has tried what it takes.
#[cfg(not(target_os = "linux"))]
fn request_permission() -> Result<(), i64> {
    Err(0)
}
