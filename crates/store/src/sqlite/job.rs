//! The changing half of a task: its row in `job`, and the moves it can make.
//!
//! A job is loaded, moved and saved within one transaction of the writer. Every move goes through
//! [`transition`] and leaves its event, in the job's history and with those who follow.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, params};
use tintype_domain::{
    Epoch, Event, EventKind, ExitCode, Maker, Outcome, ProjectId, Task, TaskId, TaskState,
    TaskTimes, ToolSlug, UnixMillis, WorkerId, task::transition,
};

use super::accounts::{self, Settlement};
use super::batch::Batch;
use super::columns::Columns;
use super::history::History;
use super::{outbox, outputs, rows, tool_stats};
use crate::Error;

/// Who holds a running task, and until when.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) worker: WorkerId,
    pub(super) until: UnixMillis,
}

/// Where a task stands in the queue: the highest priority first, then the lowest tag, then the
/// lowest number. It is kept when the task is queued again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) priority: i32,
    pub(super) start_tag: i64,
}

/// A task that is being queued: its place, and what it will cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) task: TaskId,
    pub(super) place: Place,
    pub(super) price_micros: i64,
}

/// The columns that [`Job::read`] reads, of `job JOIN task ON task.id = job.task`.
pub(super) const COLUMNS: &str = "job.task, project, tool_owner, tool_model, \
     callback_url IS NOT NULL, state, created_at, accepted_at, preprocess_started_at, \
     preprocess_ended_at, assigned_at, started_at, ended_at, postprocess_started_at, \
     postprocess_ended_at, cancelled_at, epoch, attempts, worker, lease_until, cancel_requested, \
     priority, start_tag, price_micros, cost_micros, exit_code, debug_error, engine_name, model_name, \
     last_event, history";

static LOAD: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {COLUMNS} FROM job JOIN task ON task.id = job.task WHERE job.task = ?1")
});

fn lease(worker: Option<String>, until: Option<i64>) -> Option<Lease> {
    worker.zip(until).map(|(worker, until)| Lease {
        worker: WorkerId(worker),
        until: UnixMillis(until),
    })
}

/// A row of `job`, and what its moves need to know of the task.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) task: TaskId,
    project: ProjectId,
    tool: ToolSlug,
    has_callback: bool,
    pub(super) state: TaskState,
    pub(super) times: TaskTimes,
    pub(super) epoch: Epoch,
    pub(super) attempts: u32,
    /// Of running tasks, exactly.
    pub(super) lease: Option<Lease>,
    pub(super) cancel_requested: bool,
    pub(super) place: Place,
    price_micros: i64,
    cost_micros: i64,
    exit_code: Option<ExitCode>,
    debug_error: String,
    maker: Option<Maker>,
    history: History,
}

impl Job {
    /// Queues a task that was just recorded.
    pub(super) fn insert(
        batch: &Batch<'_>,
        entry: Entry,
        now: UnixMillis,
    ) -> Result<TaskTimes, Error> {
        let state = TaskState::Queued;
        let mut history = History::default();
        let number = history.push(state, now);
        batch
            .prepare_cached(
                "INSERT INTO job (task, state, created_at, priority, start_tag, price_micros, \
                 last_event, history) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute((
                entry.task.0,
                rows::state_word(state),
                now.0,
                entry.place.priority,
                entry.place.start_tag,
                entry.price_micros,
                history.last(),
                history.bytes(),
            ))?;
        batch.tell(Event {
            task: entry.task,
            number,
            at: now,
            kind: EventKind::Entered { state },
        });
        Ok(TaskTimes {
            created: now,
            ..TaskTimes::default()
        })
    }

    /// The job of a task.
    pub(super) fn load(connection: &Connection, task: TaskId) -> Result<Option<Self>, Error> {
        let job = connection
            .prepare_cached(&LOAD)?
            .query_row((task.0,), |row| Self::read(&Columns::of(row)))
            .optional()?;
        Ok(job)
    }

    /// The job of a task that must have one.
    pub(super) fn expect(connection: &Connection, task: TaskId) -> Result<Self, Error> {
        Self::load(connection, task)?.ok_or_else(|| Error::Corrupt {
            reason: format!("task {task} has no job"),
        })
    }

    /// The job of a task if this claim still holds it.
    pub(super) fn held(
        connection: &Connection,
        task: TaskId,
        epoch: Epoch,
    ) -> Result<Option<Self>, Error> {
        let job = Self::load(connection, task)?;
        Ok(job.filter(|job| job.epoch == epoch && job.state.is_running()))
    }

    /// Reads [`COLUMNS`].
    pub(super) fn read(columns: &Columns<'_>) -> rusqlite::Result<Self> {
        // In the order of the columns, which is that of these fields.
        Ok(Self {
            task: TaskId(columns.next()?),
            project: ProjectId(columns.next()?),
            tool: ToolSlug::new(columns.next::<String>()?, columns.next::<String>()?),
            has_callback: columns.next()?,
            state: columns.text(rows::state)?,
            times: rows::times(columns)?,
            epoch: Epoch(columns.next()?),
            attempts: columns.next()?,
            lease: lease(columns.next()?, columns.next()?),
            cancel_requested: columns.next()?,
            place: Place {
                priority: columns.next()?,
                start_tag: columns.next()?,
            },
            price_micros: columns.next()?,
            cost_micros: columns.next()?,
            exit_code: columns.next::<Option<i32>>()?.map(ExitCode),
            debug_error: columns.next()?,
            maker: rows::maker(columns)?,
            history: History::read(columns)?,
        })
    }

    /// Enters a state and leaves the event. A lease ends with the run.
    pub(super) fn enter(
        &mut self,
        batch: &Batch<'_>,
        to: TaskState,
        at: UnixMillis,
    ) -> Result<(), Error> {
        let at = at.max(self.latest());
        let entered = transition(self.state, self.times, to, at);
        (self.state, self.times) = entered.map_err(|refused| Error::Rejected {
            reason: format!("task {}: {refused}", self.task),
        })?;
        if !to.is_running() {
            self.lease = None;
        }
        if to.is_final() {
            if self.has_callback {
                outbox::report_end(batch, self.task, at)?;
            }
            self.settle(batch)?;
        }
        batch.tell(Event {
            task: self.task,
            number: self.history.push(to, at),
            at,
            kind: EventKind::Entered { state: to },
        });
        Ok(())
    }

    /// Says what happened within a state. It is kept nowhere.
    pub(super) fn report(&self, batch: &Batch<'_>, kind: EventKind, at: UnixMillis) {
        batch.tell(Event {
            task: self.task,
            number: self.history.last(),
            at: at.max(self.latest()),
            kind,
        });
    }

    /// The latest time that is known of it, through all attempts: nothing happens before.
    pub(super) fn latest(&self) -> UnixMillis {
        self.times.latest().max(self.history.latest())
    }

    /// What was reserved is given back, and a success is paid for. A final state is entered once.
    fn settle(&mut self, batch: &Batch<'_>) -> Result<(), Error> {
        if self.exit_code != Some(ExitCode::SUCCESS) {
            self.cost_micros = 0;
        }
        let settlement = Settlement {
            project: self.project,
            price_micros: self.price_micros,
            cost_micros: self.cost_micros,
        };
        accounts::settle(batch, &settlement)
    }

    /// Ends the task: the last states that it has not been through, its result and its outputs.
    pub(super) fn finish(
        &mut self,
        batch: &Batch<'_>,
        outcome: Outcome,
        now: UnixMillis,
    ) -> Result<(), Error> {
        let mut pictures = 1;
        match outcome {
            Outcome::Cancelled => return self.enter(batch, TaskState::Cancelled, now),
            Outcome::Succeeded {
                outputs: files,
                withheld,
                maker,
                debug_error,
            } => {
                outputs::insert(batch, self.task, &files)?;
                let withheld = i64::from(withheld);
                pictures = (files.len() as i64 + withheld).max(1);
                self.cost_micros = self.price_micros - self.price_micros / pictures * withheld;
                self.maker = maker;
                self.exit_code = Some(ExitCode::SUCCESS);
                self.debug_error = debug_error;
            }
            Outcome::Failed { exit_code, .. } if exit_code == ExitCode::SUCCESS => {
                return Err(Error::Rejected {
                    reason: format!("task {}: a failure needs an exit code", self.task),
                });
            }
            Outcome::Failed {
                exit_code,
                debug_error,
            } => {
                self.exit_code = Some(exit_code);
                self.debug_error = debug_error;
            }
        }
        if let Some(exit_code) = self.exit_code {
            let ended = self.times.ended.unwrap_or(now);
            let duration_ms = self
                .times
                .accepted
                .map_or(0, |accepted| ended.0 - accepted.0);
            tool_stats::count_end(batch, &self.tool, exit_code, duration_ms / pictures)?;
        }
        let last_states = [
            TaskState::Ended,
            TaskState::PostprocessStarted,
            TaskState::Finished,
        ];
        for state in last_states {
            if self.state < state {
                self.enter(batch, state, now)?;
            }
        }
        Ok(())
    }

    /// Shows in a task how its job stands now. Outputs are not looked at.
    pub(super) fn show_in(&self, task: &mut Task) {
        task.state = self.state;
        task.times = self.times;
        task.epoch = self.epoch;
        task.cancel_requested = self.cancel_requested;
    }

    /// Writes the job back.
    pub(super) fn save(&self, connection: &Connection) -> Result<(), Error> {
        let millis = |time: Option<UnixMillis>| time.map(|time| time.0);
        let times = &self.times;
        connection
            .prepare_cached(
                "UPDATE job SET state = ?2, epoch = ?3, attempts = ?4, worker = ?5, \
                 lease_until = ?6, cancel_requested = ?7, accepted_at = ?8, \
                 preprocess_started_at = ?9, preprocess_ended_at = ?10, assigned_at = ?11, \
                 started_at = ?12, ended_at = ?13, postprocess_started_at = ?14, \
                 postprocess_ended_at = ?15, cancelled_at = ?16, exit_code = ?17, \
                 debug_error = ?18, last_event = ?19, history = ?20, cost_micros = ?21, \
                 engine_name = ?22, model_name = ?23 \
                 WHERE task = ?1",
            )?
            .execute(params![
                self.task.0,
                rows::state_word(self.state),
                self.epoch.0,
                self.attempts,
                self.lease.as_ref().map(|lease| lease.worker.as_str()),
                self.lease.as_ref().map(|lease| lease.until.0),
                self.cancel_requested,
                millis(times.accepted),
                millis(times.preprocess_started),
                millis(times.preprocess_ended),
                millis(times.assigned),
                millis(times.started),
                millis(times.ended),
                millis(times.postprocess_started),
                millis(times.postprocess_ended),
                millis(times.cancelled),
                self.exit_code.map(|code| code.0),
                self.debug_error,
                self.history.last(),
                self.history.bytes(),
                self.cost_micros,
                self.maker.as_ref().map(|maker| &maker.engine),
                self.maker.as_ref().map(|maker| &maker.model),
            ])?;
        Ok(())
    }
}
