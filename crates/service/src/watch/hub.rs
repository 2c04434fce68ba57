//! Who watches which task: one follower of the store feeds the mailboxes of all watchers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use tintype_domain::{Epoch, Event, TaskId};
use tintype_engine::PreviewWish;
use tintype_store::{FollowError, Follower, Store};

use super::Preview;
use super::mailbox::Mailbox;

/// The watchers of all tasks.
#[derive(Debug)]
pub(crate) struct Hub {
    topics: Mutex<HashMap<TaskId, Topic>>,
    followed: Once,
}

/// A task that is watched, or drawn in this process.
#[derive(Debug, Default)]
struct Topic {
    readers: Vec<Reader>,
    /// Of the attempt that draws it in this process.
    drawing: Option<(Epoch, PreviewWish)>,
}

#[derive(Debug)]
struct Reader {
    mailbox: Arc<Mailbox>,
    preview: bool,
}

impl Topic {
    /// Tells the engine whether anybody looks.
    fn pass_on_wish(&self) {
        if let Some((_, wish)) = &self.drawing {
            wish.set(self.readers.iter().any(|reader| reader.preview));
        }
    }

    fn is_drawn_by(&self, epoch: Epoch) -> bool {
        self.drawing.as_ref().is_some_and(|(of, _)| *of == epoch)
    }

    fn is_empty(&self) -> bool {
        self.readers.is_empty() && self.drawing.is_none()
    }
}

impl Hub {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            topics: Mutex::default(),
            followed: Once::new(),
        })
    }

    /// Follows the store from now on. Only the first call does something, on the current runtime;
    /// a service that nobody watches follows nothing.
    pub(super) fn follow(self: &Arc<Self>, store: &dyn Store) {
        self.followed.call_once(|| {
            let (hub, follower) = (Arc::clone(self), store.follow());
            tokio::spawn(async move { hub.pass_on(follower).await });
        });
    }

    async fn pass_on(&self, mut follower: Follower) {
        loop {
            match follower.next().await {
                Ok(events) => self.deliver(&events),
                Err(FollowError::Lagged { batches }) => {
                    tracing::warn!(
                        batches,
                        "the watchers fell behind; reading the records again"
                    );
                    self.all_fall_behind();
                }
                Err(FollowError::Closed) => return,
            }
        }
    }

    /// Passes events on. Those of one task that follow each other arrive at once.
    fn deliver(&self, events: &[Event]) {
        let topics = self.topics();
        for events in events.chunk_by(|a, b| a.task == b.task) {
            let task = events[0].task;
            for reader in topics.get(&task).into_iter().flat_map(|t| &t.readers) {
                reader.mailbox.put(task, events);
            }
        }
    }

    fn all_fall_behind(&self) {
        for (task, topic) in self.topics().iter() {
            for reader in &topic.readers {
                reader.mailbox.fall_behind(*task);
            }
        }
    }

    /// Adds a reader. Its mailbox says that the task's records have to be read.
    pub(super) fn join(&self, task: TaskId, mailbox: &Arc<Mailbox>, preview: bool) {
        let mut topics = self.topics();
        let topic = topics.entry(task).or_default();
        topic.readers.retain(|r| !Arc::ptr_eq(&r.mailbox, mailbox));
        topic.readers.push(Reader {
            mailbox: Arc::clone(mailbox),
            preview,
        });
        topic.pass_on_wish();
        mailbox.open(task);
    }

    /// Removes a reader.
    pub(super) fn leave(&self, task: TaskId, mailbox: &Arc<Mailbox>) {
        mailbox.close(task);
        self.change(task, |topic| {
            topic.readers.retain(|r| !Arc::ptr_eq(&r.mailbox, mailbox));
        });
    }

    /// Says that an attempt draws now, in this process, until the answer is dropped.
    pub(crate) fn draw(self: &Arc<Self>, task: TaskId, epoch: Epoch) -> Easel {
        let wish = PreviewWish::new();
        let mut topics = self.topics();
        let topic = topics.entry(task).or_default();
        if let Some((_, overtaken)) = topic.drawing.replace((epoch, wish.clone())) {
            overtaken.set(false);
        }
        topic.pass_on_wish();
        drop(topics);
        Easel {
            hub: Arc::clone(self),
            task,
            epoch,
            wish,
        }
    }

    fn show(&self, task: TaskId, epoch: Epoch, preview: &Arc<Preview>) {
        let topics = self.topics();
        let topic = topics.get(&task).filter(|topic| topic.is_drawn_by(epoch));
        let readers = topic.into_iter().flat_map(|topic| &topic.readers);
        for reader in readers.filter(|reader| reader.preview) {
            reader.mailbox.show(task, preview);
        }
    }

    fn change(&self, task: TaskId, change: impl FnOnce(&mut Topic)) {
        let mut topics = self.topics();
        if let Some(topic) = topics.get_mut(&task) {
            change(topic);
            topic.pass_on_wish();
            if topic.is_empty() {
                topics.remove(&task);
            }
        }
    }

    /// The map has no invariants that a panic could break.
    fn topics(&self) -> MutexGuard<'_, HashMap<TaskId, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an attempt that draws puts its previews.
#[derive(Debug)]
pub(crate) struct Easel {
    hub: Arc<Hub>,
    task: TaskId,
    epoch: Epoch,
    wish: PreviewWish,
}

impl Easel {
    /// Raised while anybody watches who asked for previews.
    pub(crate) fn wish(&self) -> PreviewWish {
        self.wish.clone()
    }

    /// Shows a preview to those who asked for them.
    pub(crate) fn show(&self, preview: Preview) {
        self.hub.show(self.task, self.epoch, &Arc::new(preview));
    }
}

impl Drop for Easel {
    fn drop(&mut self) {
        self.hub.change(self.task, |topic| {
            // A later attempt may draw the same task by now.
            topic.drawing.take_if(|(epoch, _)| *epoch == self.epoch);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId(7);

    fn preview() -> Preview {
        Preview {
            step: 1,
            jpeg: bytes::Bytes::from_static(b"jpeg"),
        }
    }

    #[test]
    fn the_wish_follows_those_who_asked_for_previews() {
        let hub = Hub::new();
        let (plain, curious) = (Arc::default(), Arc::default());
        hub.join(TASK, &plain, false);
        let easel = hub.draw(TASK, Epoch(1));
        assert!(!easel.wish().is_raised());
        hub.join(TASK, &curious, true);
        assert!(easel.wish().is_raised());
        easel.show(preview());
        assert!(plain.take()[0].preview.is_none());
        assert!(curious.take()[0].preview.is_some());
        hub.join(TASK, &curious, false);
        assert!(!easel.wish().is_raised());
        hub.join(TASK, &plain, true);
        assert!(easel.wish().is_raised());
        let later = hub.draw(TASK, Epoch(2));
        assert!(later.wish().is_raised());
        assert!(
            !easel.wish().is_raised(),
            "the earlier attempt is overtaken"
        );
        easel.show(preview());
        assert!(plain.take()[0].preview.is_none());
        hub.leave(TASK, &plain);
        assert!(!later.wish().is_raised());
    }

    #[test]
    fn nothing_is_left_of_tasks_that_nobody_watches() {
        let hub = Hub::new();
        let mailbox = Arc::default();
        hub.join(TASK, &mailbox, true);
        let (first, second) = (hub.draw(TASK, Epoch(1)), hub.draw(TASK, Epoch(2)));
        drop(first);
        assert!(second.wish().is_raised(), "the later attempt goes on");
        hub.leave(TASK, &mailbox);
        assert!(!second.wish().is_raised());
        drop(second);
        assert!(hub.topics().is_empty());
    }
}
