//! What waits for one watcher: bounded, whatever happens and however slow it is.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tintype_domain::{Event, EventKind, TaskId};
use tokio::sync::Notify;

use super::Preview;

/// Events of a task that wait at most. More than this means that the watcher is slow: it loses
/// progress, oldest first, and reads again from the records which states it missed.
const WAITING: usize = 32;

/// The tasks of one watcher, and what is new of them.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    slots: Mutex<Vec<Slot>>,
    bell: Notify,
}

/// What is new of a task.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) task: TaskId,
    /// In order.
    pub(super) events: VecDeque<Event>,
    /// Whether the records know of states that are not among `events`.
    pub(super) behind: bool,
    /// Progress events that were dropped.
    pub(super) missed: u64,
    /// The latest.
    pub(super) preview: Option<Arc<Preview>>,
}

impl Slot {
    fn new(task: TaskId) -> Self {
        Self {
            task,
            events: VecDeque::new(),
            behind: false,
            missed: 0,
            preview: None,
        }
    }

    fn has_mail(&self) -> bool {
        self.behind || self.preview.is_some() || !self.events.is_empty()
    }

    fn push(&mut self, event: &Event) {
        if self.events.len() >= WAITING {
            self.make_room();
        }
        // When the records have to be read anyway, they tell of the states.
        if !self.behind || is_progress(event) {
            self.events.push_back(event.clone());
        }
    }

    fn make_room(&mut self) {
        match self.events.iter().position(is_progress) {
            Some(oldest) => {
                self.events.remove(oldest);
                self.missed += 1;
            }
            None => self.fall_behind(),
        }
    }

    fn fall_behind(&mut self) {
        self.events.retain(is_progress);
        self.behind = true;
    }
}

fn is_progress(event: &Event) -> bool {
    matches!(event.kind, EventKind::Progress { .. })
}

impl Mailbox {
    /// Waits for a task, whose records have to be read first.
    pub(super) fn open(&self, task: TaskId) {
        let mut slots = self.slots();
        slots.retain(|slot| slot.task != task);
        slots.push(Slot {
            behind: true,
            ..Slot::new(task)
        });
        self.bell.notify_one();
    }

    /// Waits for a task no more.
    pub(super) fn close(&self, task: TaskId) {
        self.slots().retain(|slot| slot.task != task);
    }

    /// Some things happened to a task, in this order.
    pub(super) fn put(&self, task: TaskId, events: &[Event]) {
        self.change(task, |slot| {
            events.iter().for_each(|event| slot.push(event))
        });
    }

    /// There is a newer preview; the one before is of no interest any more.
    pub(super) fn show(&self, task: TaskId, preview: &Arc<Preview>) {
        self.change(task, |slot| slot.preview = Some(Arc::clone(preview)));
    }

    /// Something was missed.
    pub(super) fn fall_behind(&self, task: TaskId) {
        self.change(task, Slot::fall_behind);
    }

    fn change(&self, task: TaskId, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots().iter_mut().find(|slot| slot.task == task) {
            change(slot);
            self.bell.notify_one();
        }
    }

    /// Waits until there is something to take. Nothing is lost if this call is dropped half-way.
    pub(super) async fn ready(&self) {
        while !self.slots().iter().any(Slot::has_mail) {
            // One that was rung before is remembered.
            self.bell.notified().await;
        }
    }

    /// Takes all that is new.
    pub(super) fn take(&self) -> Vec<Slot> {
        self.slots()
            .iter_mut()
            .filter(|slot| slot.has_mail())
            .map(|slot| mem::replace(slot, Slot::new(slot.task)))
            .collect()
    }

    /// The slots have no invariants that a panic could break.
    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tintype_domain::{TaskState, UnixMillis};

    use super::*;

    const TASK: TaskId = TaskId(7);

    fn event(number: u32, kind: EventKind) -> Event {
        Event {
            task: TASK,
            number,
            at: UnixMillis(0),
            kind,
        }
    }

    fn state(number: u32) -> Event {
        let state = TaskState::Accepted;
        event(number, EventKind::Entered { state })
    }

    fn step(number: u32, step: u32) -> Event {
        let kind = EventKind::Progress {
            step,
            steps: 1_000,
            elapsed_millis: 0,
        };
        event(number, kind)
    }

    /// A mailbox whose task has been read up to now.
    fn mailbox() -> Mailbox {
        let mailbox = Mailbox::default();
        mailbox.open(TASK);
        assert!(mailbox.take()[0].behind);
        mailbox
    }

    #[test]
    fn a_slow_watcher_loses_the_oldest_progress_and_is_told_how_much() {
        let mailbox = mailbox();
        mailbox.put(TASK, &[state(1)]);
        for k in 1..=100 {
            mailbox.put(TASK, &[step(1, k)]);
        }
        mailbox.put(TASK, &[state(2)]);
        let slot = mailbox.take().pop().expect("mail");
        assert!(!slot.behind);
        assert_eq!(slot.events.len(), WAITING);
        assert_eq!(slot.missed, 100 + 2 - WAITING as u64);
        assert_eq!(slot.events.front(), Some(&state(1)));
        assert_eq!(slot.events[WAITING - 2], step(1, 100));
        assert_eq!(slot.events.back(), Some(&state(2)));
    }

    #[test]
    fn states_that_do_not_fit_are_left_to_the_records() {
        let mailbox = mailbox();
        for number in 1..=200 {
            mailbox.put(TASK, &[state(number)]);
        }
        mailbox.put(TASK, &[step(200, 1)]);
        let slot = mailbox.take().pop().expect("mail");
        assert!(slot.behind);
        assert_eq!(slot.events, [step(200, 1)]);
        assert_eq!(slot.missed, 0);
        assert!(mailbox.take().is_empty());
    }

    #[test]
    fn what_is_of_no_task_that_is_waited_for_goes_nowhere() {
        let mailbox = mailbox();
        mailbox.put(TaskId(8), &[state(1)]);
        mailbox.close(TASK);
        mailbox.put(TASK, &[state(1)]);
        mailbox.fall_behind(TASK);
        assert!(mailbox.take().is_empty());
    }

    #[tokio::test]
    async fn what_came_before_the_wait_is_heard() {
        let mailbox = mailbox();
        mailbox.put(TASK, &[state(1)]);
        mailbox.ready().await;
        assert_eq!(mailbox.take().len(), 1);
    }
}
