//! What lies before a task: its place in the queue, and how long it will take.
//!
//! The queue is looked at as a whole, at most once in [`FRESH_MS`], and everyone who asks in that
//! time is answered from what was seen: a look at a task costs the same with twenty thousand
//! others in the queue.

use std::collections::HashMap;
use std::sync::Arc;

use tintype_domain::{Task, TaskId, TaskState, ToolSlug, UnixMillis};

use crate::{Service, ServiceError};

/// Places that are counted. Those further back are told that they are at least that far back, and
/// no time: counting on would cost more than the answer is worth.
pub const QUEUE_SEEN: usize = 10_000;

/// What was seen of the queue is good for this long. A tenth of a percent of the processor goes
/// into looking at [`QUEUE_SEEN`] places this often.
const FRESH_MS: i64 = 1_000;

/// What lies before a task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Of a queued task: how many go before it, [`QUEUE_SEEN`] at most. Otherwise `None`.
    pub position: Option<usize>,
    /// Milliseconds until it has ended, by the mean of its tool's last runs. `None` when it has
    /// ended, when its tool has not succeeded yet, or when it is too far back.
    pub estimated_ms: Option<i64>,
}

/// The queue as it was seen.
#[derive(Debug)]
struct View {
    seen_at: UnixMillis,
    positions: HashMap<TaskId, usize>,
    means_ms: HashMap<ToolSlug, i64>,
}

/// The last view, shared by all who ask.
#[derive(Debug, Default)]
pub(crate) struct LastView(tokio::sync::Mutex<Option<Arc<View>>>);

impl Service {
    /// What lies before a task. Of one that has ended, nothing.
    ///
    /// It may be a second old. A store that cannot be asked makes for an empty answer: nobody
    /// should miss a task because its place is not known.
    pub async fn outlook(&self, task: &Task) -> Outlook {
        if task.state.is_final() {
            return Outlook::default();
        }
        match self.view(task).await {
            Ok(view) => view.outlook(task, self.now(), self.places()),
            Err(error) => {
                tracing::warn!(error = %error, "cannot look at the queue");
                Outlook::default()
            }
        }
    }

    /// The last view if it is fresh, or a new one. Others wait meanwhile, so that one looks.
    async fn view(&self, task: &Task) -> Result<Arc<View>, ServiceError> {
        let mut last = self.last_view.0.lock().await;
        let now = self.now();
        if let Some(view) = last.as_ref().filter(|view| view.tells_of(task, now)) {
            return Ok(Arc::clone(view));
        }
        let view = Arc::new(View {
            seen_at: now,
            positions: (self.store.queue_front(QUEUE_SEEN).await?.into_iter())
                .enumerate()
                .map(|(position, task)| (task, position))
                .collect(),
            means_ms: (self.store.tool_stats().await?.into_iter())
                .filter_map(|(tool, stats)| Some((tool, stats.mean_ms?)))
                .collect(),
        });
        *last = Some(Arc::clone(&view));
        Ok(view)
    }
}

impl View {
    /// Whether it is young enough. A task that was queued after it was made is not in it.
    fn tells_of(&self, task: &Task, now: UnixMillis) -> bool {
        let age_ms = now.0.saturating_sub(self.seen_at.0);
        let missing = task.state == TaskState::Queued
            && self.positions.len() < QUEUE_SEEN
            && !self.positions.contains_key(&task.id);
        (0..FRESH_MS).contains(&age_ms) && !missing
    }

    fn outlook(&self, task: &Task, now: UnixMillis, places: usize) -> Outlook {
        let mean_ms = self.means_ms.get(&task.tool).copied();
        if task.state != TaskState::Queued {
            let running_since = task.times.accepted.unwrap_or(now);
            let elapsed_ms = now.0.saturating_sub(running_since.0).max(0);
            return Outlook {
                position: None,
                estimated_ms: mean_ms.map(|mean_ms| mean_ms.saturating_sub(elapsed_ms).max(0)),
            };
        }
        let position = self.positions.get(&task.id).copied();
        let all_seen = self.positions.len() < QUEUE_SEEN;
        // It may have left the queue since its record was read.
        let position = position.or((!all_seen).then_some(QUEUE_SEEN));
        let counted = position.filter(|position| *position < QUEUE_SEEN);
        Outlook {
            position,
            estimated_ms: mean_ms
                .zip(counted)
                .map(|(mean_ms, position)| queued_ms(mean_ms, position, places)),
        }
    }
}

/// Those before it share the places, then it takes its own time.
fn queued_ms(mean_ms: i64, position: usize, places: usize) -> i64 {
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let places = i64::try_from(places.max(1)).unwrap_or(i64::MAX);
    mean_ms.saturating_add(position.saturating_mul(mean_ms) / places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_before_share_the_places() {
        assert_eq!(queued_ms(6_000, 0, 1), 6_000);
        assert_eq!(queued_ms(6_000, 3, 1), 24_000);
        assert_eq!(queued_ms(6_000, 3, 2), 15_000);
        assert_eq!(queued_ms(6_000, 3, 0), 24_000, "a worker may be elsewhere");
        assert_eq!(queued_ms(i64::MAX, usize::MAX, 1), i64::MAX);
    }
}
