//! The states that a task has entered, packed into a column of its job.
//!
//! Each entry has seven bytes: one for the state, and the time in milliseconds in six, the highest
//! first (enough until the year 10,889). The entries are numbered from 1 without a gap; beside
//! them stands the number of the last, since only [`HISTORY_KEPT`] and a few more are kept.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension};
use tintype_domain::{Event, EventKind, ProjectId, TaskId, TaskRef, TaskState, UnixMillis};

use super::columns::Columns;
use super::tasks;
use crate::{Error, HISTORY_KEPT};

/// Bytes of an entry.
const ENTRY: usize = 7;

/// The longest time that an entry can hold.
const LATEST_MILLIS: i64 = (1 << 48) - 1;

/// Entries that may stand there before the oldest are forgotten, so that this happens now and
/// then, not each time.
const HISTORY_LIMIT: usize = HISTORY_KEPT + 50;

/// The columns `last_event` and `history` of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct History {
    last: u32,
    entries: Vec<u8>,
}

impl History {
    /// Reads the two columns.
    pub(super) fn read(columns: &Columns<'_>) -> rusqlite::Result<Self> {
        let history = Self {
            last: columns.next()?,
            entries: columns.next()?,
        };
        let whole = history.entries.len().is_multiple_of(ENTRY);
        let counted = history.entries.len() / ENTRY <= history.last as usize;
        if whole && counted {
            Ok(history)
        } else {
            Err(unreadable(format!(
                "{} bytes do not hold the last of {} events",
                history.entries.len(),
                history.last
            )))
        }
    }

    /// The number of the last event; zero before the first.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// The bytes for the column.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.entries
    }

    /// When the last event happened. Nothing happens before it.
    pub(super) fn latest(&self) -> UnixMillis {
        let last = self.entries.rchunks_exact(ENTRY).next();
        last.map_or(UnixMillis(0), time_of)
    }

    /// Adds an entry and returns its number.
    pub(super) fn push(&mut self, state: TaskState, at: UnixMillis) -> u32 {
        let millis = at.0.clamp(0, LATEST_MILLIS).to_be_bytes();
        self.entries.push(code_of(state));
        self.entries.extend_from_slice(&millis[2..]);
        if self.entries.len() > HISTORY_LIMIT * ENTRY {
            let surplus = self.entries.len() - HISTORY_KEPT * ENTRY;
            self.entries.drain(..surplus);
        }
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// The events with a number greater than `after` that are kept.
    fn events(&self, task: TaskId, after: u32) -> rusqlite::Result<Vec<Event>> {
        let entries = self.entries.chunks_exact(ENTRY);
        let forgotten = self.last - entries.len() as u32;
        let numbered = (forgotten + 1..).zip(entries);
        numbered
            .filter(|(number, _)| *number > after)
            .map(|(number, entry)| {
                let state = state_of(entry[0])
                    .ok_or_else(|| unreadable(format!("{} is not a task state", entry[0])))?;
                Ok(Event {
                    task,
                    number,
                    at: time_of(entry),
                    kind: EventKind::Entered { state },
                })
            })
            .collect()
    }
}

/// The history of a task after a number.
pub(super) fn of_task(
    connection: &Connection,
    task: &TaskRef,
    project: Option<ProjectId>,
    after: u32,
) -> Result<Option<Vec<Event>>, Error> {
    let Some(task) = tasks::find(connection, task, project)? else {
        return Ok(None);
    };
    let events = connection
        .prepare_cached("SELECT last_event, history FROM job WHERE task = ?1")?
        .query_row((task.0,), |row| {
            History::read(&Columns::of(row))?.events(task, after)
        })
        .optional()?;
    Ok(events)
}

fn time_of(entry: &[u8]) -> UnixMillis {
    let bytes = entry[1..].iter();
    UnixMillis(bytes.fold(0, |millis, byte| millis << 8 | i64::from(*byte)))
}

/// The byte for a state. Stored data: never changed, only added to.
fn code_of(state: TaskState) -> u8 {
    match state {
        TaskState::Queued => 0,
        TaskState::Accepted => 1,
        TaskState::PreprocessStarted => 2,
        TaskState::PreprocessEnded => 3,
        TaskState::Assigned => 4,
        TaskState::Started => 5,
        TaskState::Output => 6,
        TaskState::OutputFull => 7,
        TaskState::Ended => 8,
        TaskState::PostprocessStarted => 9,
        TaskState::Finished => 10,
        TaskState::Cancelled => 11,
    }
}

fn state_of(code: u8) -> Option<TaskState> {
    let mut all = TaskState::ALL.into_iter();
    all.find(|state| code_of(*state) == code)
}

fn unreadable(reason: String) -> rusqlite::Error {
    let reason = format!("column history: {reason}");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, reason.into())
}
