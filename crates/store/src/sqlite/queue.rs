//! The queue: claims, leases, and every way in which a claim or a task ends.

use rusqlite::Connection;
use tintype_domain::{
    Epoch, EventKind, ExitCode, Outcome, ProjectId, Task, TaskId, TaskRef, TaskState, UnixMillis,
};

use super::batch::Batch;
use super::job::{Job, Lease};
use super::{accounts, tasks};
use crate::{Cancel, Claim, Error, Fenced, Heartbeat, Progress, Standing, moments};

/// Tasks that one reap looks after, so that no batch of writes waits long for it.
const REAPED_AT_ONCE: i64 = 1_000;

/// Each of these walks a partial index of its own, however many tasks have ended (a test looks at
/// the plans).
pub(super) const QUEUED: &str = "SELECT task FROM job WHERE state = 'queued' AND attempts < ?1 ORDER BY priority DESC, start_tag, task LIMIT ?2";
pub(super) const FRONT: &str = "SELECT task FROM job WHERE state = 'queued' \
     ORDER BY priority DESC, start_tag, task LIMIT ?1";
pub(super) const EXPIRED: &str = "SELECT task FROM job WHERE lease_until IS NOT NULL \
     AND lease_until <= ?1 ORDER BY lease_until LIMIT ?2";
pub(super) const EXHAUSTED: &str = "SELECT task FROM job WHERE state = 'queued' AND attempts > 0 \
     AND attempts >= ?1 LIMIT ?2";
pub(super) const RUNNING: &str = "SELECT task FROM job WHERE lease_until IS NOT NULL";

/// Gives out queued tasks: those of the highest priority, each project's in turn.
pub(super) fn claim(batch: &Batch<'_>, claim: &Claim, now: UnixMillis) -> Result<Vec<Task>, Error> {
    let limit = i64::try_from(claim.limit).unwrap_or(i64::MAX);
    let queued = task_ids(batch, QUEUED, (claim.max_attempts, limit))?;
    let mut claimed = Vec::with_capacity(queued.len());
    for task in queued {
        let (mut task, mut job) = tasks::load_with_job(batch, task)?;
        job.enter(batch, TaskState::Accepted, now)?;
        job.epoch = Epoch(job.epoch.0 + 1);
        job.attempts += 1;
        job.lease = Some(Lease {
            worker: claim.worker.clone(),
            until: claim.lease_until,
        });
        job.save(batch)?;
        accounts::advance(batch, job.place)?;
        job.show_in(&mut task);
        claimed.push(task);
    }
    if !claimed.is_empty() {
        moments::reached("claim");
    }
    Ok(claimed)
}

/// The tasks that are next, in the order in which they will be given out.
pub(super) fn front(connection: &Connection, limit: usize) -> Result<Vec<TaskId>, Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    task_ids(connection, FRONT, (limit,))
}

/// Moves leases. A lease that ran out but was not reaped yet is revived.
pub(super) fn heartbeat(
    batch: &Batch<'_>,
    claims: &[(TaskId, Epoch)],
    lease_until: UnixMillis,
) -> Result<Heartbeat, Error> {
    let mut found = Heartbeat::default();
    for (task, epoch) in claims {
        let Some(mut job) = Job::held(batch, *task, *epoch)? else {
            found.lost.push(*task);
            continue;
        };
        if job.cancel_requested {
            found.cancelled.push(*task);
        }
        if let Some(lease) = &mut job.lease {
            lease.until = lease_until;
        }
        job.save(batch)?;
    }
    Ok(found)
}

/// Records what happened to claimed tasks.
pub(super) fn record(batch: &Batch<'_>, progress: &[Progress]) -> Result<Vec<Fenced>, Error> {
    let mut fenced = Vec::with_capacity(progress.len());
    let of_one_claim = |a: &Progress, b: &Progress| (a.task, a.epoch) == (b.task, b.epoch);
    for progress in progress.chunk_by(of_one_claim) {
        let answer = record_of_claim(batch, progress)?;
        fenced.extend(progress.iter().map(|_| answer));
    }
    Ok(fenced)
}

/// Records what happened to a task in one claim. There is at least one thing.
fn record_of_claim(batch: &Batch<'_>, progress: &[Progress]) -> Result<Fenced, Error> {
    let Some(mut job) = Job::held(batch, progress[0].task, progress[0].epoch)? else {
        return Ok(Fenced::Stale);
    };
    let before = job.state;
    for Progress { at, kind, .. } in progress {
        match kind {
            EventKind::Entered { state }
                if !state.is_running() || *state == TaskState::Accepted =>
            {
                return Err(Error::Rejected {
                    reason: format!(
                        "task {}: {state:?} is entered by claiming, releasing or completing",
                        job.task
                    ),
                });
            }
            EventKind::Entered { state } if *state > job.state => job.enter(batch, *state, *at)?,
            EventKind::Entered { .. } => {} // been there
            kind @ EventKind::Progress { .. } => job.report(batch, kind.clone(), *at),
        }
    }
    if job.state != before {
        job.save(batch)?;
    }
    Ok(Fenced::Applied)
}

/// Keeps what a claimed task's prompt was rewritten to; the first one stays.
pub(super) fn keep_upsampled_prompt(
    batch: &Batch<'_>,
    task: TaskId,
    epoch: Epoch,
    upsampled: &str,
) -> Result<Option<String>, Error> {
    if Job::held(batch, task, epoch)?.is_none() {
        return Ok(None);
    }
    let kept = batch
        .prepare_cached(
            "UPDATE job SET upsampled_prompt = coalesce(upsampled_prompt, ?2) WHERE task = ?1 \
             RETURNING upsampled_prompt",
        )?
        .query_row((task.0, upsampled), |row| row.get(0))?;
    Ok(Some(kept))
}

/// Ends a claimed task.
pub(super) fn complete(
    batch: &Batch<'_>,
    task: TaskId,
    epoch: Epoch,
    outcome: Outcome,
    now: UnixMillis,
) -> Result<Fenced, Error> {
    let Some(mut job) = Job::held(batch, task, epoch)? else {
        return Ok(Fenced::Stale);
    };
    job.finish(batch, outcome, now)?;
    job.save(batch)?;
    Ok(Fenced::Applied)
}

/// Gives a claim back; the attempt does not count.
pub(super) fn release(
    batch: &Batch<'_>,
    task: TaskId,
    epoch: Epoch,
    now: UnixMillis,
) -> Result<Fenced, Error> {
    let Some(mut job) = Job::held(batch, task, epoch)? else {
        return Ok(Fenced::Stale);
    };
    job.attempts = job.attempts.saturating_sub(1);
    give_up(batch, &mut job, now)?;
    Ok(Fenced::Applied)
}

/// Asks for a stop.
pub(super) fn cancel(
    batch: &Batch<'_>,
    task: &TaskRef,
    project: ProjectId,
    standing: Standing,
    now: UnixMillis,
) -> Result<Cancel, Error> {
    let Some(id) = tasks::find(batch, task, Some(project))? else {
        return Ok(Cancel::Unknown);
    };
    let mut job = Job::expect(batch, id)?;
    let answer: fn(Box<Task>) -> Cancel = match standing {
        Standing::Queued if job.state == TaskState::Queued => {
            job.enter(batch, TaskState::Cancelled, now)?;
            Cancel::Cancelled
        }
        Standing::Running if job.state.is_running() => {
            job.cancel_requested = true;
            Cancel::Flagged
        }
        Standing::Queued | Standing::Running => Cancel::Unchanged,
    };
    job.save(batch)?;
    Ok(answer(Box::new(tasks::load(batch, id)?)))
}

/// Looks after leases that ran out and after tasks that are out of attempts.
pub(super) fn reap(batch: &Batch<'_>, max_attempts: u32, now: UnixMillis) -> Result<usize, Error> {
    let expired = task_ids(batch, EXPIRED, (now.0, REAPED_AT_ONCE))?;
    for task in &expired {
        let mut job = Job::expect(batch, *task)?;
        if job.attempts >= max_attempts && !job.cancel_requested {
            exhaust(batch, &mut job, now)?;
        } else {
            give_up(batch, &mut job, now)?;
        }
    }
    let exhausted = task_ids(batch, EXHAUSTED, (max_attempts, REAPED_AT_ONCE))?;
    for task in &exhausted {
        exhaust(batch, &mut Job::expect(batch, *task)?, now)?;
    }
    Ok(expired.len() + exhausted.len())
}

/// Takes all leases for those of a dead process: their tasks are queued again. One that someone
/// wanted to stop keeps a lease that has run out, and the next reap ends it at a true time.
pub(super) fn end_all_leases(batch: &Batch<'_>) -> Result<usize, Error> {
    let running = task_ids(batch, RUNNING, ())?;
    for task in &running {
        let mut job = Job::expect(batch, *task)?;
        match &mut job.lease {
            Some(lease) if job.cancel_requested => {
                lease.until = UnixMillis(0);
                job.save(batch)?;
            }
            _ => {
                // The store has no clock: the last time that is known of the task must do.
                let now = job.latest();
                give_up(batch, &mut job, now)?;
            }
        }
    }
    Ok(running.len())
}

/// A run that will not go on: queued again, or cancelled if that was asked for.
fn give_up(batch: &Batch<'_>, job: &mut Job, now: UnixMillis) -> Result<(), Error> {
    let next = if job.cancel_requested {
        TaskState::Cancelled
    } else {
        TaskState::Queued
    };
    job.enter(batch, next, now)?;
    job.save(batch)
}

/// Ends a task that was tried as often as allowed.
fn exhaust(batch: &Batch<'_>, job: &mut Job, now: UnixMillis) -> Result<(), Error> {
    let debug_error = format!(
        "The task was given to a worker {} times and never finished: each time the worker stopped \
         or lost touch. Look for crashes or a lack of memory in the server's log, then submit it \
         again.",
        job.attempts
    );
    let outcome = Outcome::Failed {
        exit_code: ExitCode::ATTEMPTS,
        debug_error,
    };
    job.finish(batch, outcome, now)?;
    job.save(batch)
}

/// The tasks that a query finds, in its order.
pub(super) fn task_ids(
    connection: &Connection,
    query: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<TaskId>, Error> {
    let mut statement = connection.prepare_cached(query)?;
    let found = statement.query_map(parameters, |row| row.get(0).map(TaskId))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}
