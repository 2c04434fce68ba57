//! How the runs of each tool went: one narrow row for each, kept true by the writes themselves.

use rusqlite::{Connection, OptionalExtension};
use tintype_domain::fairness::{MAX_COST_MS, NEWEST_COUNTS_FOR};
use tintype_domain::{ExitCode, ToolSlug, ToolStats, UnixMillis};

use super::batch::Batch;
use crate::Error;

/// The row of a tool.
#[derive(Debug, Default)]
pub(super) struct Counts {
    runs: u64,
    successes: u64,
    failures: u64,
    last_run_at: i64,
    mean_ms: Option<i64>,
}

/// Counts a task that is being accepted; gives the mean duration of the tool's runs.
pub(super) fn count_run(
    batch: &Batch<'_>,
    tool: &ToolSlug,
    at: UnixMillis,
) -> Result<Option<i64>, Error> {
    change(batch, tool, |counts| {
        counts.last_run_at = match counts.runs {
            0 => at.0,
            _ => counts.last_run_at.max(at.0),
        };
        counts.runs += 1;
        counts.mean_ms
    })
}

/// Counts a task that is ending by itself. The duration of a success goes into the mean.
pub(super) fn count_end(
    batch: &Batch<'_>,
    tool: &ToolSlug,
    exit_code: ExitCode,
    duration_ms: i64,
) -> Result<(), Error> {
    change(batch, tool, |counts| {
        if exit_code != ExitCode::SUCCESS {
            counts.failures += 1;
            return;
        }
        counts.successes += 1;
        let newest = duration_ms.clamp(0, MAX_COST_MS);
        let mean = counts.mean_ms.unwrap_or(newest);
        counts.mean_ms = Some(mean + (newest - mean) / NEWEST_COUNTS_FOR);
    })
}

fn change<T>(
    batch: &Batch<'_>,
    tool: &ToolSlug,
    change: impl FnOnce(&mut Counts) -> T,
) -> Result<T, Error> {
    batch.tools.change(tool, || load(batch, tool), change)
}

fn load(connection: &Connection, tool: &ToolSlug) -> Result<Counts, Error> {
    let counts = connection
        .prepare_cached(
            "SELECT runs, successes, failures, last_run_at, mean_ms FROM tool_stat \
             WHERE tool_owner = ?1 AND tool_model = ?2",
        )?
        .query_row((&tool.owner, &tool.model), |row| {
            Ok(Counts {
                runs: row.get(0)?,
                successes: row.get(1)?,
                failures: row.get(2)?,
                last_run_at: row.get(3)?,
                mean_ms: row.get(4)?,
            })
        })
        .optional()?;
    Ok(counts.unwrap_or_default())
}

/// Writes the row back.
pub(super) fn write(
    connection: &Connection,
    tool: &ToolSlug,
    counts: &Counts,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO tool_stat (tool_owner, tool_model, runs, successes, failures, \
             last_run_at, mean_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute((
            &tool.owner,
            &tool.model,
            counts.runs,
            counts.successes,
            counts.failures,
            counts.last_run_at,
            counts.mean_ms,
        ))?;
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
