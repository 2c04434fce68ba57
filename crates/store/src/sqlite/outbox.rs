//! The outbox: reports of ended tasks, who has them in hand, and every attempt to deliver them.
//!
//! An attempt is on record before it begins: whatever crashes, it is listed, and the report is due
//! again. A *lane* is what one project sends to one receiver. A claim looks at each lane by
//! itself, so that a dead receiver's backlog is not even read.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, named_params};
use tintype_domain::{AttemptAnswer, AttemptReport, ProjectId, TaskId, UnixMillis, WebhookId};

use super::{queue, registry, rows};
use crate::outbox::{MAX_ATTEMPTS_KEPT, WebhookClaim, WebhookDelivery, WebhookNext};
use crate::{Error, Fenced};

mod list;

pub(super) use list::{list, redeliver};

/// What stands in the list for an attempt whose end nobody saw.
const INTERRUPTED: &str = "interrupted: the server stopped before there was an answer";

/// Each of these walks a partial index of its own, however many were delivered (a test looks at
/// the plans).
pub(super) const ANY_DUE: &str = "SELECT 1 FROM webhook WHERE next_attempt_at <= ?1 LIMIT 1";
pub(super) const NEXT_LANE: &str = "SELECT project, receiver FROM webhook \
     WHERE next_attempt_at IS NOT NULL AND (project, receiver) > (?1, ?2) \
     ORDER BY project, receiver LIMIT 1";
pub(super) const DUE_IN_LANE: &str = "SELECT task, next_attempt_at FROM webhook \
     WHERE project = ?1 AND receiver = ?2 AND next_attempt_at <= ?3 \
     ORDER BY next_attempt_at LIMIT ?4";
pub(super) const IN_HAND: &str = "SELECT project, receiver, count(*) FROM webhook \
     WHERE lease_until IS NOT NULL GROUP BY project, receiver";
pub(super) const LEASES_OVER: &str =
    "SELECT task FROM webhook WHERE lease_until IS NOT NULL AND lease_until <= ?1";

/// What one project sends to one receiver.
type Lane = (ProjectId, String);

/// Writes the report of a task that has just ended, if it named a callback.
pub(super) fn report_end(
    connection: &Connection,
    task: TaskId,
    at: UnixMillis,
) -> Result<(), Error> {
    let callback = connection
        .prepare_cached(
            "SELECT callback_url, uuid, project FROM task \
             WHERE id = ?1 AND callback_url IS NOT NULL",
        )?
        .query_row((task.0,), |row| {
            let uuid = rows::parsed(row, "uuid")?;
            let project: i64 = row.get("project")?;
            Ok((row.get::<_, String>("callback_url")?, uuid, project))
        })
        .optional()?;
    let Some((url, uuid, project)) = callback else {
        return Ok(());
    };
    connection
        .prepare_cached(
            "INSERT INTO webhook (task, id, project, receiver, state, created_at, \
             round_started_at, next_attempt_at) VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?5, ?5)",
        )?
        .execute((
            task.0,
            WebhookId::of_task(uuid).as_str(),
            project,
            receiver_of(&url),
            at.0,
        ))?;
    Ok(())
}

/// Host and port of an address. Fairness alone hangs on it, so it need not be exact.
fn receiver_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    host.to_ascii_lowercase()
}

/// Gives out reports that are due: the first of each lane, then the second, the older ones first.
pub(super) fn claim(
    connection: &Connection,
    claim: &WebhookClaim,
    now: UnixMillis,
) -> Result<Vec<WebhookDelivery>, Error> {
    for task in queue::task_ids(connection, LEASES_OVER, (now.0,))? {
        interrupt(connection, task)?;
    }
    if !connection.prepare_cached(ANY_DUE)?.exists((now.0,))? {
        return Ok(Vec::new());
    }
    let chosen = choose(connection, claim, now)?;
    chosen
        .into_iter()
        .map(|task| take(connection, task, claim.lease_until, now))
        .collect()
}

/// A report that could be taken.
struct Candidate {
    /// How many of its lane are in front of it, those in hand included.
    rank: usize,
    due_at: i64,
    project: ProjectId,
    task: TaskId,
}

fn choose(
    connection: &Connection,
    claim: &WebhookClaim,
    now: UnixMillis,
) -> Result<Vec<TaskId>, Error> {
    let in_hand = in_hand(connection)?;
    let mut of_project: HashMap<ProjectId, usize> = HashMap::new();
    for ((project, _), count) in &in_hand {
        *of_project.entry(*project).or_default() += count;
    }
    let mut candidates = Vec::new();
    for lane in lanes(connection)? {
        let taken = in_hand.get(&lane).copied().unwrap_or(0);
        let room = claim.per_receiver.saturating_sub(taken);
        let due = due_in(connection, &lane, now, room)?;
        let ranked = (taken..).zip(due);
        candidates.extend(ranked.map(|(rank, (task, due_at))| Candidate {
            rank,
            due_at,
            project: lane.0,
            task,
        }));
    }
    candidates.sort_by_key(|candidate| (candidate.rank, candidate.due_at, candidate.task));
    let has_room = |candidate: &Candidate| {
        let taken = of_project.entry(candidate.project).or_default();
        *taken += 1;
        *taken <= claim.per_project
    };
    let chosen = candidates.into_iter().filter(has_room).take(claim.limit);
    Ok(chosen.map(|candidate| candidate.task).collect())
}

fn in_hand(connection: &Connection) -> Result<HashMap<Lane, usize>, Error> {
    let mut statement = connection.prepare_cached(IN_HAND)?;
    let lanes = statement.query_map((), |row| {
        Ok(((ProjectId(row.get(0)?), row.get(1)?), row.get(2)?))
    })?;
    Ok(lanes.collect::<rusqlite::Result<_>>()?)
}

/// The lanes in which something waits: one step in the index for each.
fn lanes(connection: &Connection) -> Result<Vec<Lane>, Error> {
    let mut statement = connection.prepare_cached(NEXT_LANE)?;
    let mut lanes: Vec<Lane> = Vec::new();
    loop {
        let (project, receiver) = lanes.last().map_or((i64::MIN, ""), |(project, receiver)| {
            (project.0, receiver.as_str())
        });
        let next = statement.query_row((project, receiver), |row| {
            Ok((ProjectId(row.get(0)?), row.get(1)?))
        });
        match next.optional()? {
            Some(lane) => lanes.push(lane),
            None => return Ok(lanes),
        }
    }
}

fn due_in(
    connection: &Connection,
    (project, receiver): &Lane,
    now: UnixMillis,
    room: usize,
) -> Result<Vec<(TaskId, i64)>, Error> {
    let limit = i64::try_from(room).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(DUE_IN_LANE)?;
    let due = statement.query_map((project.0, receiver, now.0, limit), |row| {
        Ok((TaskId(row.get(0)?), row.get(1)?))
    })?;
    Ok(due.collect::<rusqlite::Result<_>>()?)
}

/// Puts a report in hand, and its attempt on record.
fn take(
    connection: &Connection,
    task: TaskId,
    lease_until: UnixMillis,
    now: UnixMillis,
) -> Result<WebhookDelivery, Error> {
    connection
        .prepare_cached(
            "UPDATE webhook SET attempts = attempts + 1, round_attempts = round_attempts + 1, \
             next_attempt_at = NULL, lease_until = ?2 WHERE task = ?1",
        )?
        .execute((task.0, lease_until.0))?;
    let (delivery, project) = connection
        .prepare_cached(
            "SELECT webhook.*, callback_url, callback_base_url FROM webhook \
             JOIN task ON task.id = webhook.task WHERE webhook.task = ?1",
        )?
        .query_row((task.0,), |row| {
            Ok((InHand::from_row(row)?, ProjectId(row.get("project")?)))
        })?;
    begin_attempt(connection, task, delivery.attempt, now)?;
    Ok(delivery.of(task, registry::project(connection, project)?))
}

/// A delivery without its project.
struct InHand {
    id: WebhookId,
    url: String,
    base_url: Option<String>,
    attempt: u32,
    round_attempt: u32,
    round_started_at: UnixMillis,
}

impl InHand {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: WebhookId(row.get("id")?),
            url: row.get("callback_url")?,
            base_url: row.get("callback_base_url")?,
            attempt: row.get("attempts")?,
            round_attempt: row.get("round_attempts")?,
            round_started_at: UnixMillis(row.get("round_started_at")?),
        })
    }

    fn of(self, task: TaskId, project: tintype_domain::Project) -> WebhookDelivery {
        WebhookDelivery {
            id: self.id,
            task,
            project,
            url: self.url,
            base_url: self.base_url,
            attempt: self.attempt,
            round_attempt: self.round_attempt,
            round_started_at: self.round_started_at,
        }
    }
}

fn begin_attempt(
    connection: &Connection,
    task: TaskId,
    number: u32,
    now: UnixMillis,
) -> Result<(), Error> {
    connection
        .prepare_cached("INSERT INTO webhook_attempt (task, number, at) VALUES (?1, ?2, ?3)")?
        .execute((task.0, number, now.0))?;
    if let Some(forgotten) = number.checked_sub(MAX_ATTEMPTS_KEPT) {
        connection
            .prepare_cached("DELETE FROM webhook_attempt WHERE task = ?1 AND number <= ?2")?
            .execute((task.0, forgotten))?;
    }
    Ok(())
}

/// Records what came of an attempt, unless it was taken for interrupted in the meantime.
pub(super) fn record(
    connection: &Connection,
    task: TaskId,
    attempt: u32,
    report: &AttemptReport,
    next: WebhookNext,
) -> Result<Fenced, Error> {
    let (state, next_attempt_at) = match next {
        WebhookNext::Delivered => ("delivered", None),
        WebhookNext::At(at) => ("pending", Some(at.0)),
        WebhookNext::GivenUp => ("failed", None),
    };
    let changed = connection
        .prepare_cached(
            "UPDATE webhook SET state = ?3, next_attempt_at = ?4, lease_until = NULL \
             WHERE task = ?1 AND attempts = ?2 AND lease_until IS NOT NULL",
        )?
        .execute((task.0, attempt, state, next_attempt_at))?;
    if changed == 0 {
        return Ok(Fenced::Stale);
    }
    end_attempt(connection, task, attempt, report)?;
    Ok(Fenced::Applied)
}

fn end_attempt(
    connection: &Connection,
    task: TaskId,
    attempt: u32,
    report: &AttemptReport,
) -> Result<(), Error> {
    let (status, error) = match &report.answer {
        AttemptAnswer::Status(status) => (Some(*status), None),
        AttemptAnswer::None(reason) => (None, Some(reason)),
    };
    connection
        .prepare_cached(
            "UPDATE webhook_attempt SET status = :status, error = :error, \
             duration_ms = :duration_ms WHERE task = :task AND number = :number",
        )?
        .execute(named_params! {
            ":task": task.0,
            ":number": attempt,
            ":status": status,
            ":error": error,
            ":duration_ms": report.duration_ms,
        })?;
    Ok(())
}

/// Takes all reports in hand for those of a dead process: they are due again.
pub(super) fn end_all_leases(connection: &Connection) -> Result<usize, Error> {
    let in_hand = queue::task_ids(connection, LEASES_OVER, (i64::MAX,))?;
    for task in &in_hand {
        interrupt(connection, *task)?;
    }
    Ok(in_hand.len())
}

/// An attempt whose end nobody saw: it may have arrived or not, so the report is due again, at
/// once (the store has no clock, so "since this round began").
fn interrupt(connection: &Connection, task: TaskId) -> Result<(), Error> {
    let attempt = connection
        .prepare_cached(
            "UPDATE webhook SET next_attempt_at = round_started_at, lease_until = NULL \
             WHERE task = ?1 RETURNING attempts",
        )?
        .query_row((task.0,), |row| row.get(0))?;
    let report = AttemptReport {
        answer: AttemptAnswer::None(INTERRUPTED.to_owned()),
        duration_ms: None,
    };
    end_attempt(connection, task, attempt, &report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_a_host_and_a_port() {
        for (url, receiver) in [
            ("https://hooks.example/a?b=c", "hooks.example"),
            ("https://Hooks.Example:8443/a", "hooks.example:8443"),
            ("http://name:word@hooks.example#x", "hooks.example"),
            ("http://[::1]:80/", "[::1]:80"),
            ("http://hooks.example?a=http://b/@c", "hooks.example"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(receiver_of(url), receiver, "{url}");
        }
    }
}
