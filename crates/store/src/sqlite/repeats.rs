//! Idempotency keys: which task came of a request, so that its repetition gives the same answer.

use rusqlite::{Connection, OptionalExtension};
use tintype_domain::{Fingerprint, Idempotency, IdempotencyKey, ProjectId, TaskId, UnixMillis};

use crate::Error;

/// Old keys that a new one clears away: more than come in, so that a backlog shrinks.
const FORGOTTEN_AT_ONCE: i64 = 8;

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct First {
    pub(super) fingerprint: Fingerprint,
    pub(super) task: TaskId,
}

/// What came of the first request with this key, unless it is too old or the task is gone.
pub(super) fn find(
    connection: &Connection,
    project: ProjectId,
    key: &IdempotencyKey,
    keep_after: UnixMillis,
) -> Result<Option<First>, Error> {
    let first = connection
        .prepare_cached(
            "SELECT fingerprint, task FROM idempotency WHERE project = ?1 AND key = ?2 \
             AND used_at >= ?3 AND EXISTS (SELECT 1 FROM task WHERE id = idempotency.task)",
        )?
        .query_row((project.0, key.as_str(), keep_after.0), |row| {
            Ok(First {
                fingerprint: Fingerprint(row.get(0)?),
                task: TaskId(row.get(1)?),
            })
        })
        .optional()?;
    Ok(first)
}

/// Remembers the task of a request, and forgets some old ones.
pub(super) fn remember(
    connection: &Connection,
    project: ProjectId,
    idempotency: &Idempotency,
    task: TaskId,
    now: UnixMillis,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE (project, key) IN (SELECT project, key \
             FROM idempotency WHERE used_at < ?1 ORDER BY used_at LIMIT ?2)",
        )?
        .execute((idempotency.keep_after.0, FORGOTTEN_AT_ONCE))?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO idempotency (project, key, fingerprint, task, used_at) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            project.0,
            idempotency.key.as_str(),
            idempotency.fingerprint.0,
            task.0,
            now.0,
        ))?;
    Ok(())
}
