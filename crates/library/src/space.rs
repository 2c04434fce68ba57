//! Room on the disk.

use std::path::Path;

use crate::error::Error;

/// What is left free: a full disk hurts everybody who writes to it.
const MARGIN_BYTES: u64 = 64 << 20;

/// Bytes that may be written under a folder; `None` where the system does not say.
pub(crate) fn free(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Whether this much more can be written.
///
/// # Errors
/// How much is missing.
pub(crate) fn check(folder: &Path, needed: u64, free: Option<u64>) -> Result<(), Error> {
    match free {
        Some(free) if needed > 0 && needed.saturating_add(MARGIN_BYTES) > free => {
            Err(Error::NoSpace {
                folder: folder.to_owned(),
                needed,
                free,
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_is_left_and_nothing_needs_no_room() {
        let at = Path::new("/models");
        assert!(check(at, 1, Some(MARGIN_BYTES)).is_err());
        assert!(check(at, 1, Some(MARGIN_BYTES + 1)).is_ok());
        assert!(check(at, 0, Some(0)).is_ok(), "all of it is there");
        assert!(check(at, u64::MAX, None).is_ok(), "nobody knows");
        let refused = check(at, 5_000_000_000, Some(1_000_000)).expect_err("too little");
        assert!(
            refused
                .to_string()
                .contains("5.0 GB are still to be fetched, 1.0 MB are free")
        );
        assert!(free(Path::new("/")).is_some());
    }
}
