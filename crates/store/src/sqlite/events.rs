//! The event log: what happened, in the order of the commits, for subscribers that follow it.
//!
//! It is bounded. Of the progress of a task only the latest is kept, and of the log as a whole
//! the last [`EVENTS_KEPT`]: the truth about a task is its record, never its events.

use rusqlite::Connection;
use tintype_domain::{Event, EventKind, TaskId, UnixMillis};

use super::rows;
use crate::Error;

/// Events kept at least; about 20,000 lives. A subscriber further behind starts from the record.
const EVENTS_KEPT: i64 = 200_000;

/// Events forgotten in one go, so that no batch of writes waits long for it.
const FORGOTTEN_AT_ONCE: i64 = 5_000;

/// Adds an event to the log.
pub(super) fn append(
    connection: &Connection,
    task: TaskId,
    at: UnixMillis,
    kind: &EventKind,
) -> Result<(), Error> {
    match kind {
        EventKind::Entered { state } => {
            connection
                .prepare_cached("INSERT INTO event (task, at, state) VALUES (?1, ?2, ?3)")?
                .execute((task.0, at.0, rows::state_word(*state)))?;
        }
        EventKind::Progress { step, steps } => {
            connection
                .prepare_cached("DELETE FROM event WHERE task = ?1 AND state IS NULL")?
                .execute((task.0,))?;
            connection
                .prepare_cached(
                    "INSERT INTO event (task, at, step, steps) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((task.0, at.0, step, steps))?;
        }
    }
    Ok(())
}

/// Events after a place in the log.
pub(super) fn since(
    connection: &Connection,
    sequence: i64,
    limit: usize,
) -> Result<Vec<Event>, Error> {
    let mut statement = connection
        .prepare_cached("SELECT * FROM event WHERE sequence > ?1 ORDER BY sequence LIMIT ?2")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let events = statement.query_map((sequence, limit), rows::event)?;
    Ok(events.collect::<rusqlite::Result<_>>()?)
}

/// Forgets what lies too far back.
pub(super) fn forget_old(connection: &Connection) -> Result<(), Error> {
    connection
        .prepare_cached(
            "DELETE FROM event WHERE sequence <= min( \
                 (SELECT max(sequence) FROM event) - ?1, \
                 (SELECT min(sequence) FROM event) + ?2)",
        )?
        .execute((EVENTS_KEPT, FORGOTTEN_AT_ONCE))?;
    Ok(())
}
