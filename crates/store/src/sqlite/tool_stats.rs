//! How the runs of each tool went: one narrow row for each, kept true by the writes themselves.

use rusqlite::Connection;
use tintype_domain::fairness::{MAX_COST_MS, NEWEST_COUNTS_FOR};
use tintype_domain::{ExitCode, TaskId, ToolSlug, ToolStats, UnixMillis};

use crate::Error;

/// The row of a task's tool.
const OF_TASK: &str = "WHERE (tool_owner, tool_model) = \
     (SELECT tool_owner, tool_model FROM task WHERE id = ?1)";

/// Counts a task that is being accepted; gives the mean duration of the tool's runs.
pub(super) fn count_run(
    connection: &Connection,
    tool: &ToolSlug,
    at: UnixMillis,
) -> Result<Option<i64>, Error> {
    let mean_ms = connection
        .prepare_cached(
            "INSERT INTO tool_stat (tool_owner, tool_model, runs, last_run_at) \
             VALUES (?1, ?2, 1, ?3) ON CONFLICT (tool_owner, tool_model) DO UPDATE SET \
             runs = runs + 1, last_run_at = max(last_run_at, excluded.last_run_at) \
             RETURNING mean_ms",
        )?
        .query_row((&tool.owner, &tool.model, at.0), |row| row.get(0))?;
    Ok(mean_ms)
}

/// Counts a task that is ending by itself. The duration of a success goes into the mean.
pub(super) fn count_end(
    connection: &Connection,
    task: TaskId,
    exit_code: ExitCode,
    duration_ms: i64,
) -> Result<(), Error> {
    if exit_code != ExitCode::SUCCESS {
        connection
            .prepare_cached(&format!(
                "UPDATE tool_stat SET failures = failures + 1 {OF_TASK}"
            ))?
            .execute((task.0,))?;
        return Ok(());
    }
    connection
        .prepare_cached(&format!(
            "UPDATE tool_stat SET successes = successes + 1, \
             mean_ms = coalesce(mean_ms + (?2 - mean_ms) / {NEWEST_COUNTS_FOR}, ?2) {OF_TASK}"
        ))?
        .execute((task.0, duration_ms.clamp(0, MAX_COST_MS)))?;
    Ok(())
}

/// All tools that were ever run, by their addresses.
pub(super) fn all(connection: &Connection) -> Result<Vec<(ToolSlug, ToolStats)>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT tool_owner, tool_model, runs, successes, failures, last_run_at, mean_ms FROM tool_stat \
         ORDER BY tool_owner, tool_model",
    )?;
    let stats = statement.query_map((), |row| {
        let tool = ToolSlug::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?);
        let stats = ToolStats {
            runs: row.get(2)?,
            successes: row.get(3)?,
            failures: row.get(4)?,
            last_run: Some(UnixMillis(row.get(5)?)),
            mean_ms: row.get(6)?,
        };
        Ok((tool, stats))
    })?;
    Ok(stats.collect::<rusqlite::Result<_>>()?)
}
