//! How the runs of each tool went: one narrow row for each, kept true by the writes themselves.

use rusqlite::Connection;
use tintype_domain::{ExitCode, TaskId, ToolSlug, ToolStats, UnixMillis};

use crate::Error;

/// Counts a task that is being accepted.
pub(super) fn count_run(
    connection: &Connection,
    tool: &ToolSlug,
    at: UnixMillis,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO tool_stat (tool_owner, tool_model, runs, last_run_at) \
             VALUES (?1, ?2, 1, ?3) ON CONFLICT (tool_owner, tool_model) DO UPDATE SET \
             runs = runs + 1, last_run_at = max(last_run_at, excluded.last_run_at)",
        )?
        .execute((&tool.owner, &tool.model, at.0))?;
    Ok(())
}

/// Counts a task that is ending by itself.
pub(super) fn count_end(
    connection: &Connection,
    task: TaskId,
    exit_code: ExitCode,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "UPDATE tool_stat SET \
             successes = successes + (?2 = 0), failures = failures + (?2 <> 0) \
             WHERE (tool_owner, tool_model) = \
             (SELECT tool_owner, tool_model FROM task WHERE id = ?1)",
        )?
        .execute((task.0, exit_code.0))?;
    Ok(())
}

/// All tools that were ever run, by their addresses.
pub(super) fn all(connection: &Connection) -> Result<Vec<(ToolSlug, ToolStats)>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT tool_owner, tool_model, runs, successes, failures, last_run_at FROM tool_stat \
         ORDER BY tool_owner, tool_model",
    )?;
    let stats = statement.query_map((), |row| {
        let tool = ToolSlug::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        let stats = ToolStats {
            runs: row.get(2)?,
            successes: row.get(3)?,
            failures: row.get(4)?,
            last_run: Some(UnixMillis(row.get(5)?)),
        };
        Ok((tool, stats))
    })?;
    Ok(stats.collect::<rusqlite::Result<_>>()?)
}
