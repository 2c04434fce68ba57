//! Housekeeping: rows that expire by themselves, and space that is of no use any more.
//!
//! Each kind of row has a step in [`STEPS`], and each step is a write of its own with a bound, so
//! that no batch of writes waits long. The planner's statistics are left alone on purpose: without
//! them the plans of the hot statements are those that the tests have seen.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::connection;
use crate::Error;
use crate::retention::Upkeep;

/// Rows that one step removes at most.
pub(super) const ROWS_AT_ONCE: u64 = 1_000;

/// Pages that are moved and given back in one step: 1 MiB.
const PAGES_AT_ONCE: i64 = 256;

/// Free pages that are kept for what comes next: a tenth of the file, and 1 MiB at least.
const SPARE_SHARE: i64 = 10;

/// How long emptying the write-ahead log waits for readers, while writers wait for it.
const CHECKPOINT_PATIENCE: Duration = Duration::from_millis(100);

/// Removes some rows of a kind that expires; returns how many.
pub(super) type Step = fn(&Connection, Upkeep) -> Result<u64, Error>;

/// The kinds of rows that expire by themselves. To add one: write its step, bounded by
/// [`ROWS_AT_ONCE`] and through an index, and list it here.
pub(super) const STEPS: &[Step] = &[old_nonces, old_repeats];

pub(super) const OLD_NONCES: &str = "SELECT nonce.project, nonce.nonce FROM project \
     CROSS JOIN nonce ON nonce.project = project.id AND nonce.used_at < ?1 LIMIT ?2";

fn old_nonces(connection: &Connection, upkeep: Upkeep) -> Result<u64, Error> {
    let removed = connection
        .prepare_cached(&format!(
            "DELETE FROM nonce WHERE (project, nonce) IN ({OLD_NONCES})"
        ))?
        .execute((upkeep.nonces_before.0, ROWS_AT_ONCE))?;
    Ok(removed as u64)
}

pub(super) const OLD_REPEATS: &str =
    "SELECT project, key FROM idempotency WHERE used_at < ?1 ORDER BY used_at LIMIT ?2";

fn old_repeats(connection: &Connection, upkeep: Upkeep) -> Result<u64, Error> {
    let removed = connection
        .prepare_cached(&format!(
            "DELETE FROM idempotency WHERE (project, key) IN ({OLD_REPEATS})"
        ))?
        .execute((upkeep.repeats_before.0, ROWS_AT_ONCE))?;
    Ok(removed as u64)
}

/// Gives some of the free pages back to the disk; returns how many bytes. Nothing is given back
/// of a database that was made without this in mind.
pub(super) fn shrink(connection: &Connection) -> Result<u64, Error> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (free, pages) = (number("freelist_count")?, number("page_count")?);
    let spare = (pages / SPARE_SHARE).max(PAGES_AT_ONCE);
    if free <= spare {
        return Ok(0);
    }
    let wanted = (free - spare).min(PAGES_AT_ONCE);
    // Each row of the answer is a page that has gone.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({wanted})"))?;
    let mut gone = statement.query(())?;
    while gone.next()?.is_some() {}
    drop(gone);
    let bytes = (pages - number("page_count")?) * number("page_size")?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Moves the write-ahead log into the database and cuts it to nothing, if nobody reads from it.
/// Whether that worked is of no consequence: the next commit that fills the log moves it, too.
pub(super) fn empty_log(path: &Path) -> Result<(), Error> {
    let connection = connection::open_writer(path)?;
    connection.busy_timeout(CHECKPOINT_PATIENCE)?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?;
    Ok(())
}
