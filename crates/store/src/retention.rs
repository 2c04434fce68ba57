//! The words of what goes with age: [`crate::Store::expire`], [`crate::Store::live_blobs`] and
//! [`crate::Store::tidy`].

use tintype_domain::UnixMillis;

/// What is removed when it is old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiring {
    /// The files of tasks that ended before a time; the records of the tasks stay.
    Outputs,
    /// The whole records of tasks that ended before a time, with what hangs on them.
    Records,
    /// The uploaded files that were added before a time.
    Uploads,
}

/// Whether it is really done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Yes.
    Remove,
    /// No: tell what would be removed.
    Look,
}

/// One bounded step of a walk through everything of a kind, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct ExpiryStep {
    /// The kind.
    pub what: Expiring,
    /// What ended or was added before this goes.
    pub before: UnixMillis,
    /// Where the walk stands: zero, then [`Expired::next`] of the step before.
    pub after: i64,
    /// Whether it is really done.
    pub mode: Mode,
}

/// What a step removed, or would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expired {
    /// Records of tasks.
    pub records: u64,
    /// Bytes of the files that belong to the keys.
    pub bytes: u64,
    /// Nobody knows the bytes under these keys any more, and nobody will.
    pub blob_keys: Vec<String>,
    /// Where the walk goes on; `None` at its end.
    pub next: Option<i64>,
}

/// The times that housekeeping goes by.
#[derive(Debug, Clone, Copy)]
pub struct Upkeep {
    /// Nonces that were used before this may be used again.
    pub nonces_before: UnixMillis,
    /// Idempotency keys that were used before this stand for nothing any more.
    pub repeats_before: UnixMillis,
}

/// What a step of housekeeping did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tidied {
    /// Rows that were of no use any more.
    pub rows: u64,
    /// Bytes given back to the disk.
    pub bytes: u64,
    /// Whether there is more to do.
    pub more: bool,
}
