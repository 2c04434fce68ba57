//! Forgetting what is old, and telling which bytes somebody still points at.
//!
//! There is no index on the time at which a task ended: it would cost every completion, for a
//! question that is asked once an hour. Numbers are given out in the order of time instead, so a
//! walk by number meets the oldest first and stops where everything is young. A step first looks
//! at a snapshot, beside the writer; only a step that found something old becomes a write.

use rusqlite::Connection;
use tintype_domain::{BlobKey, OutputFile, TaskId};

use super::mentions::Mentions;
use super::{outputs, rows};
use crate::Error;
use crate::retention::{Expired, Expiring, ExpiryStep, Mode};

/// Tasks or files that one step looks at. In a large database each row that goes is a handful of
/// pages all over the file: on a slow disk a step is some tens of milliseconds of the writer.
const LOOKED_AT: usize = 50;

/// Each walks an index (a test looks at the plans): number, time made, time ended.
pub(super) const WITH_OUTPUTS: &str = "SELECT job.task, job.created_at, \
     coalesce(job.postprocess_ended_at, job.cancelled_at) \
     FROM (SELECT DISTINCT task FROM output WHERE task > ?1 ORDER BY task LIMIT ?2) old \
     JOIN job ON job.task = old.task ORDER BY old.task";
pub(super) const RECORDS: &str = "SELECT task, created_at, \
     coalesce(postprocess_ended_at, cancelled_at) \
     FROM job WHERE task > ?1 ORDER BY task LIMIT ?2";
pub(super) const UPLOADS: &str =
    "SELECT rowid, added_at, added_at FROM file WHERE rowid > ?1 ORDER BY rowid LIMIT ?2";

/// Rows that keep a task's record: while one of these finds something, the record stays. Each
/// takes the task's number and walks an index.
const HOLDS: &[&str] = &[
    // A report that is still to be delivered tells of the task.
    "SELECT 1 FROM webhook WHERE task = ?1 AND state = 'pending'",
];

/// What goes with a task's record, those that point at others first. A table that points at `task`
/// is listed here, or the record cannot go.
const PARTS: &[&str] = &[
    "DELETE FROM output WHERE task = ?1",
    "DELETE FROM webhook WHERE task = ?1",
    "DELETE FROM job WHERE task = ?1",
    "DELETE FROM task WHERE id = ?1",
];

/// What a look found: numbers of old things, and what must not be taken from under a task.
#[derive(Debug)]
pub(super) struct Found {
    old: Vec<i64>,
    next: Option<i64>,
    mentions: Mentions,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.old.is_empty()
    }

    /// What is to be said of a step that has nothing to remove.
    pub(super) fn nothing(self) -> Expired {
        Expired {
            next: self.next,
            ..Expired::default()
        }
    }
}

/// Looks at the next few.
pub(super) fn look(connection: &Connection, step: &ExpiryStep) -> Result<Found, Error> {
    let statement = match step.what {
        Expiring::Outputs => WITH_OUTPUTS,
        Expiring::Records => RECORDS,
        Expiring::Uploads => UPLOADS,
    };
    let mut statement = connection.prepare_cached(statement)?;
    let limit = i64::try_from(LOOKED_AT).unwrap_or(i64::MAX);
    let seen = statement
        .query_map((step.after, limit), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<rusqlite::Result<Vec<(i64, i64, Option<i64>)>>>()?;

    let before = step.before.0;
    let is_old = |ended: Option<i64>| ended.is_some_and(|ended| ended < before);
    let old: Vec<i64> = seen
        .iter()
        .filter(|(_, _, ended)| is_old(*ended))
        .map(|(number, _, _)| *number)
        .collect();
    // Not at the first young one: one task of a day when the clock was wrong stops nothing.
    let all_young = seen.iter().all(|(_, made, _)| *made >= before);
    let last = seen
        .last()
        .filter(|_| seen.len() == LOOKED_AT && !all_young);
    let next = last.map(|(number, _, _)| *number);

    let mut mentions = Mentions::default();
    if !old.is_empty() {
        mentions.catch_up(connection)?;
    }
    Ok(Found {
        old,
        next,
        mentions,
    })
}

/// Removes what was found, except what an unfinished task names by now.
pub(super) fn take(
    connection: &Connection,
    step: &ExpiryStep,
    mut found: Found,
) -> Result<Expired, Error> {
    found.mentions.catch_up(connection)?;
    let mut expired = Expired {
        next: found.next,
        ..Expired::default()
    };
    for number in found.old {
        match step.what {
            Expiring::Outputs => {
                take_outputs(
                    connection,
                    step,
                    TaskId(number),
                    &found.mentions,
                    &mut expired,
                )?;
            }
            Expiring::Records => {
                take_record(
                    connection,
                    step,
                    TaskId(number),
                    &found.mentions,
                    &mut expired,
                )?;
            }
            Expiring::Uploads => {
                take_upload(connection, step, number, &found.mentions, &mut expired)?;
            }
        }
    }
    Ok(expired)
}

fn take_outputs(
    connection: &Connection,
    step: &ExpiryStep,
    task: TaskId,
    mentions: &Mentions,
    expired: &mut Expired,
) -> Result<(), Error> {
    for output in outputs::of_task(connection, task)? {
        if mentions.has_output(&output) {
            continue;
        }
        if step.mode == Mode::Remove {
            connection
                .prepare_cached("DELETE FROM output WHERE directory = ?1 AND name = ?2")?
                .execute((&output.directory, &output.name))?;
        }
        expired.add_output(output);
    }
    Ok(())
}

fn take_record(
    connection: &Connection,
    step: &ExpiryStep,
    task: TaskId,
    mentions: &Mentions,
    expired: &mut Expired,
) -> Result<(), Error> {
    let outputs = outputs::of_task(connection, task)?;
    if outputs.iter().any(|output| mentions.has_output(output)) {
        return Ok(());
    }
    for hold in HOLDS {
        if connection.prepare_cached(hold)?.exists((task.0,))? {
            return Ok(());
        }
    }
    if step.mode == Mode::Remove {
        for part in PARTS {
            connection.prepare_cached(part)?.execute((task.0,))?;
        }
    }
    expired.records += 1;
    outputs
        .into_iter()
        .for_each(|output| expired.add_output(output));
    Ok(())
}

fn take_upload(
    connection: &Connection,
    step: &ExpiryStep,
    number: i64,
    mentions: &Mentions,
    expired: &mut Expired,
) -> Result<(), Error> {
    // Looked up with its age: the number of a file that went meanwhile may be another's.
    let mut statement =
        connection.prepare_cached("SELECT * FROM file WHERE rowid = ?1 AND added_at < ?2")?;
    let file = statement
        .query_map((number, step.before.0), rows::file)?
        .next()
        .transpose()?;
    let Some(file) = file.filter(|file| !mentions.has_file(file)) else {
        return Ok(());
    };
    if step.mode == Mode::Remove {
        connection
            .prepare_cached("DELETE FROM file WHERE id = ?1")?
            .execute((file.id.as_str(),))?;
    }
    expired.bytes += file.size_bytes;
    expired.blob_keys.push(file.blob_key);
    Ok(())
}

impl Expired {
    fn add_output(&mut self, output: OutputFile) {
        self.bytes += output.size_bytes;
        self.blob_keys.push(output.blob_key);
    }
}

/// Which of these keys somebody points at, or may come to point at.
pub(super) fn live_blobs(
    connection: &Connection,
    keys: Vec<BlobKey>,
) -> Result<Vec<BlobKey>, Error> {
    let mut live = Vec::new();
    for key in keys {
        let lives = match &key {
            BlobKey::Output { task, .. } => lives_for_task(connection, *task, &key)?,
            BlobKey::Upload(file) => connection
                .prepare_cached("SELECT 1 FROM file WHERE id = ?1 AND blob_key = ?2")?
                .exists((file.as_str(), key.to_string()))?,
        };
        if lives {
            live.push(key);
        }
    }
    Ok(live)
}

/// Besides recorded outputs: the current attempt of an unfinished task, which may still record
/// its own, and numbers that were not given out yet (in a database that was restored from a
/// backup), whose keys will be written anew. A key that is none of these is dead for good.
fn lives_for_task(connection: &Connection, task: TaskId, key: &BlobKey) -> Result<bool, Error> {
    let BlobKey::Output { epoch, .. } = key else {
        return Ok(false);
    };
    let lives = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM output WHERE task = ?1 AND blob_key = ?3) \
             OR EXISTS (SELECT 1 FROM job WHERE task = ?1 AND epoch <= ?2 \
                        AND state NOT IN ('finished', 'cancelled')) \
             OR ?1 > coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'task'), 0)",
        )?
        .query_row((task.0, epoch.0, key.to_string()), |row| row.get(0))?;
    Ok(lives)
}
