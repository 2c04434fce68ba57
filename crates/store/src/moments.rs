//! Moments at which a test may have the process die.
//!
//! The fault tests start the real program with [`VARIABLE`] set to a moment and a count, such as
//! `blob:3`; the third time that the program gets there it ends on the spot, as a power cut would
//! have it. A release build has none of this.

/// Where a test says when.
pub const VARIABLE: &str = "FAULT_ABORT_AT";

/// The program got to this moment.
#[cfg(debug_assertions)]
pub fn reached(moment: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A moment, and how often the program may still get there.
    static PLAN: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let plan = std::env::var(VARIABLE).ok()?;
        let (moment, times) = plan.split_once(':')?;
        Some((moment.to_owned(), AtomicU32::new(times.parse().ok()?)))
    });
    if let Some((planned, left)) = &*PLAN
        && planned == moment
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

/// The program got to this moment.
#[cfg(not(debug_assertions))]
pub fn reached(_moment: &str) {}
