//! Watching tasks while they live: the websocket's part of the service.
//!
//! A [`Watcher`] names tasks by their tokens and is told what happens to them: every state, in
//! order, once; progress and previews as far as it keeps up. It holds a place in each task's
//! history and reads on from there whenever it has missed something (at the beginning, when it is
//! slow, when the stream lags), so nothing depends on what is kept in memory, and that is bounded.

mod hub;
mod mailbox;

use std::sync::Arc;

use bytes::Bytes;
use tintype_domain::{Event, EventKind, Task, TaskId, TaskRef, TaskState, TaskToken, UnixMillis};

use crate::{Outlook, Service, ServiceError};
use mailbox::{Mailbox, Slot};

pub(crate) use hub::{Easel, Hub};

/// Tasks that one watcher may have at once: a client that runs more opens another socket.
pub const TASKS_WATCHED: usize = 128;

/// A small picture of what a task is turning into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Steps done.
    pub step: u32,
    /// A JPEG file.
    pub jpeg: Bytes,
}

/// How to watch a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    /// Everything after the event of this number; `None` begins with the state that the task is in.
    pub after: Option<u32>,
    /// Whether previews are wanted.
    pub preview: bool,
}

/// Why a task is not watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No task has this token.
    #[error("there is no such task")]
    UnknownTask,
    /// The watcher has as many as it may have.
    #[error("more than {TASKS_WATCHED} tasks are watched at once")]
    TooMany,
    /// The records cannot be read right now.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Something that a watcher is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// The task.
    pub task: TaskId,
    /// Its token.
    pub token: TaskToken,
    /// The number of the state that the task has entered, or is in.
    pub number: u32,
    /// Progress events that were dropped before this one because the watcher was slow.
    pub missed: u64,
    /// What there is to tell.
    pub news: News,
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The task has entered a state.
    Entered {
        /// Which.
        state: TaskState,
        /// When.
        at: UnixMillis,
        /// The record, in this state or a later one: there for [`TaskState::Queued`],
        /// [`TaskState::OutputFull`], [`TaskState::Ended`] and [`TaskState::Finished`], which have
        /// more to tell.
        record: Option<Arc<Task>>,
        /// What lies before it, while it is queued.
        outlook: Outlook,
    },
    /// The engine has made a step.
    Progress {
        /// Steps done.
        step: u32,
        /// Steps in all.
        steps: u32,
        /// Milliseconds since the engine began.
        elapsed_millis: u64,
    },
    /// A preview.
    Preview(Arc<Preview>),
}

/// Watches tasks, until it is dropped.
pub struct Watcher {
    service: Arc<Service>,
    mailbox: Arc<Mailbox>,
    watched: Vec<Watched>,
}

/// A task and how far it has been told.
#[derive(Debug)]
struct Watched {
    task: TaskId,
    token: TaskToken,
    /// The number of the last state that was told; `None` before the first.
    told: Option<u32>,
    /// Dropped since the last notice.
    missed: u64,
}

/// What is known of a task besides its events.
#[derive(Debug, Default)]
struct Known {
    record: Option<Arc<Task>>,
    outlook: Outlook,
}

impl Service {
    /// Someone who watches nothing yet. Needs a runtime.
    pub fn watcher(self: &Arc<Self>) -> Watcher {
        self.hub.follow(self.store.as_ref());
        Watcher {
            service: Arc::clone(self),
            mailbox: Arc::default(),
            watched: Vec::new(),
        }
    }
}

impl Watcher {
    /// Watches the task of this token from now on. The token is the permission. A task that is
    /// watched already begins again.
    ///
    /// # Errors
    /// [`WatchError`]; nothing has changed then.
    pub async fn watch(&mut self, token: TaskToken, how: Watch) -> Result<(), WatchError> {
        let task = TaskRef::Token(token.clone());
        let history = self.history(&task, 0).await?;
        let Some(last) = history.and_then(|mut events| events.pop()) else {
            return Err(WatchError::UnknownTask);
        };
        // A number that was never given out says nothing.
        let told = how.after.filter(|after| *after <= last.number);
        self.forget(last.task);
        if self.watched.len() >= TASKS_WATCHED {
            return Err(WatchError::TooMany);
        }
        if told == Some(last.number) && is_final(&last) {
            return Ok(()); // nothing will follow
        }
        self.watched.push(Watched {
            task: last.task,
            token,
            told,
            missed: 0,
        });
        // Joined before the records are read: nothing falls between the two.
        let hub = &self.service.hub;
        hub.join(last.task, &self.mailbox, how.preview);
        Ok(())
    }

    /// Waits until there is something to [`take`](Self::take). Nothing is lost if this call is
    /// dropped half-way.
    pub async fn ready(&self) {
        self.mailbox.ready().await;
    }

    /// Everything new, in order. Tasks that have ended are forgotten after that.
    ///
    /// # Errors
    /// [`ServiceError`] if the records cannot be read; then this watcher has lost its place.
    pub async fn take(&mut self) -> Result<Vec<Notice>, ServiceError> {
        let mut notices = Vec::new();
        for slot in self.mailbox.take() {
            let task = slot.task;
            if self.tell(slot, &mut notices).await? {
                self.forget(task);
            }
        }
        Ok(notices)
    }

    /// Tells what is new of a task; whether that was its end.
    async fn tell(&mut self, slot: Slot, notices: &mut Vec<Notice>) -> Result<bool, ServiceError> {
        let task = slot.task;
        let Some(index) = self.watched.iter().position(|w| w.task == task) else {
            return Ok(true);
        };
        let told = self.watched[index].told;
        let mut events = Vec::new();
        if slot.behind || leaves_gap(told, &slot) {
            let history = self.history(&TaskRef::Id(task), told.unwrap_or(0)).await?;
            let Some(mut missed) = history else {
                return Ok(true); // off the record
            };
            if told.is_none() {
                missed.drain(..missed.len().saturating_sub(1));
            }
            events = missed;
        }
        events.extend(slot.events);
        let known = self.known_of(&events, told).await?;
        let watched = &mut self.watched[index];
        watched.missed += slot.missed;
        let fresh = events.iter().filter_map(|e| watched.tell(e, &known));
        notices.extend(fresh);
        let ended = events.last().is_some_and(is_final);
        if let Some(preview) = slot.preview.filter(|_| !ended) {
            notices.push(watched.notice(News::Preview(preview)));
        }
        Ok(ended)
    }

    /// What is known of the task besides, if one of these events needs it.
    async fn known_of(&self, events: &[Event], told: Option<u32>) -> Result<Known, ServiceError> {
        let telling = events
            .iter()
            .find(|event| Some(event.number) > told && has_more_to_tell(event));
        let Some(event) = telling else {
            return Ok(Known::default());
        };
        let task = TaskRef::Id(event.task);
        let record = self.service.store.detail(&task, None).await?;
        let queued = record
            .as_ref()
            .filter(|task| task.state == TaskState::Queued);
        let outlook = match queued {
            Some(task) => self.service.outlook(task).await,
            None => Outlook::default(),
        };
        let record = record.map(Arc::new);
        Ok(Known { record, outlook })
    }

    async fn history(
        &self,
        task: &TaskRef,
        after: u32,
    ) -> Result<Option<Vec<Event>>, ServiceError> {
        Ok(self.service.store.history(task, None, after).await?)
    }

    fn forget(&mut self, task: TaskId) {
        self.service.hub.leave(task, &self.mailbox);
        self.watched.retain(|watched| watched.task != task);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        for watched in &self.watched {
            self.service.hub.leave(watched.task, &self.mailbox);
        }
    }
}

impl Watched {
    /// The notice of an event, unless the watcher is further than that already.
    fn tell(&mut self, event: &Event, known: &Known) -> Option<Notice> {
        let news = match event.kind {
            EventKind::Entered { state } if Some(event.number) > self.told => {
                self.told = Some(event.number);
                News::Entered {
                    state,
                    at: event.at,
                    record: known.record.clone().filter(|_| has_more_to_tell(event)),
                    outlook: match state {
                        TaskState::Queued => known.outlook,
                        _ => Outlook::default(),
                    },
                }
            }
            EventKind::Progress {
                step,
                steps,
                elapsed_millis,
            } if Some(event.number) == self.told => News::Progress {
                step,
                steps,
                elapsed_millis,
            },
            _ => return None,
        };
        let missed = std::mem::take(&mut self.missed);
        Some(Notice {
            missed,
            ..self.notice(news)
        })
    }

    fn notice(&self, news: News) -> Notice {
        Notice {
            task: self.task,
            token: self.token.clone(),
            number: self.told.unwrap_or(0),
            missed: 0,
            news,
        }
    }
}

/// Whether the records know of states between the last that was told and the first that waits.
fn leaves_gap(told: Option<u32>, slot: &Slot) -> bool {
    let next = told.unwrap_or(0) + 1;
    slot.events.front().is_some_and(|event| match event.kind {
        EventKind::Entered { .. } => event.number > next,
        EventKind::Progress { .. } => event.number >= next,
    })
}

fn is_final(event: &Event) -> bool {
    matches!(event.kind, EventKind::Entered { state } if state.is_final())
}

fn has_more_to_tell(event: &Event) -> bool {
    use TaskState::{Ended, Finished, OutputFull, Queued};
    matches!(
        event.kind,
        EventKind::Entered {
            state: Queued | OutputFull | Ended | Finished
        }
    )
}
