//! The claims that a worker holds, and how those who run them learn that they should stop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tintype_domain::{Epoch, EventKind, TaskId, UnixMillis};
use tintype_engine::Cancellation;
use tokio::sync::watch;

/// Why a running task is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Someone asked for it: the task ends as cancelled.
    Cancel,
    /// The worker drains, or the engine goes away: the task goes back to the queue.
    GiveBack,
    /// The lease is lost: whatever is written now changes nothing.
    Lost,
}

/// One claim.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) task: TaskId,
    pub(super) epoch: Epoch,
    /// Raised with every stop: what the engine sees of it.
    pub(super) cancellation: Cancellation,
    stop: watch::Sender<Option<Stop>>,
    /// What happened and is to be recorded together with what comes next.
    notes: Mutex<Vec<(UnixMillis, EventKind)>>,
}

impl Held {
    pub(super) fn new(task: TaskId, epoch: Epoch) -> Self {
        let (stop, _) = watch::channel(None);
        Self {
            task,
            epoch,
            cancellation: Cancellation::new(),
            stop,
            notes: Mutex::default(),
        }
    }

    /// Keeps what happened, until it is recorded with what follows in the same moment.
    pub(super) fn note(&self, happened: impl IntoIterator<Item = (UnixMillis, EventKind)>) {
        self.notes().extend(happened);
    }

    /// What was noted, in its order; it is forgotten here.
    pub(super) fn take_notes(&self) -> Vec<(UnixMillis, EventKind)> {
        std::mem::take(&mut *self.notes())
    }

    /// The list has no invariants that a panic could break.
    fn notes(&self) -> MutexGuard<'_, Vec<(UnixMillis, EventKind)>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the task to stop. The first reason counts.
    pub(super) fn stop(&self, why: Stop) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert(why);
            first
        });
        self.cancellation.cancel();
    }

    /// Why it is to stop, if it is.
    pub(super) fn why(&self) -> Option<Stop> {
        *self.stop.borrow()
    }

    /// Waits until it is to stop.
    pub(super) async fn stopped(&self) -> Stop {
        let mut stop = self.stop.subscribe();
        let why = stop
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|why| *why);
        // The sender lives as long as `self`.
        why.unwrap_or(Stop::Lost)
    }
}

/// All claims of one worker.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<TaskId, Arc<Held>>>>);

impl Running {
    /// Adds a claim, until the guard is dropped.
    pub(super) fn register(&self, held: Arc<Held>) -> Registered {
        let (task, epoch) = (held.task, held.epoch);
        self.all().insert(task, held);
        Registered {
            running: self.clone(),
            task,
            epoch,
        }
    }

    pub(super) fn claims(&self) -> Vec<(TaskId, Epoch)> {
        self.all()
            .values()
            .map(|held| (held.task, held.epoch))
            .collect()
    }

    /// Stops one of the claims that were asked about. The epoch tells it from a later claim of the
    /// same task, which an answer that took its time does not mean.
    pub(super) fn stop(&self, asked: &[(TaskId, Epoch)], task: TaskId, why: Stop) {
        let all = self.all();
        let held = all
            .get(&task)
            .filter(|held| asked.contains(&(held.task, held.epoch)));
        if let Some(held) = held {
            held.stop(why);
        }
    }

    pub(super) fn stop_all(&self, why: Stop) {
        self.all().values().for_each(|held| held.stop(why));
    }

    /// The map has no invariants that a panic could break.
    fn all(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a claim among the running ones, panics included.
#[derive(Debug)]
pub(super) struct Registered {
    running: Running,
    task: TaskId,
    epoch: Epoch,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut all = self.running.all();
        // The same task may have been claimed again in the meantime.
        if all
            .get(&self.task)
            .is_some_and(|held| held.epoch == self.epoch)
        {
            all.remove(&self.task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_about_an_earlier_claim_does_not_stop_a_later_one() {
        let running = Running::default();
        let later = Arc::new(Held::new(TaskId(1), Epoch(2)));
        let _registered = running.register(Arc::clone(&later));
        running.stop(&[(TaskId(1), Epoch(1))], TaskId(1), Stop::Lost);
        assert_eq!(later.why(), None);
        running.stop(&[(TaskId(1), Epoch(2))], TaskId(1), Stop::Lost);
        assert_eq!(later.why(), Some(Stop::Lost));
        assert!(later.cancellation.is_cancelled());
    }

    #[test]
    fn the_end_of_an_earlier_claim_does_not_forget_a_later_one() {
        let running = Running::default();
        let earlier = running.register(Arc::new(Held::new(TaskId(1), Epoch(1))));
        let later = running.register(Arc::new(Held::new(TaskId(1), Epoch(2))));
        drop(earlier);
        assert_eq!(running.claims(), [(TaskId(1), Epoch(2))]);
        drop(later);
        assert_eq!(running.claims(), []);
    }
}
