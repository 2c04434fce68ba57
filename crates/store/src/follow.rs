//! Following what happens: the live stream of events, fed by a store after each commit.
//!
//! It is for those who watch now. It keeps nothing for long, so whoever comes late or falls behind
//! starts from the records, with [`crate::Store::history`].

use std::sync::Arc;

use tintype_domain::Event;
use tokio::sync::broadcast;

/// Batches that may wait for the slowest follower before it is told that it lags. A batch is what
/// one commit brought, up to a few thousand events under load and mostly one.
pub const FOLLOWED_BATCHES: usize = 1024;

/// Why there is no next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The follower was too slow, and has missed some. It may go on, with the oldest batch that is
    /// still there; what it missed is in the records.
    #[error("{batches} batches of events were missed; read the tasks' histories")]
    Lagged {
        /// How many.
        batches: u64,
    },
    /// The store is closed: nothing will ever happen again.
    #[error("the store is closed")]
    Closed,
}

/// Hears of every event from the moment it was made on, after the commit and in the order of the
/// commits: whoever hears of an event finds the task in that state or a later one.
#[derive(Debug)]
pub struct Follower {
    batches: broadcast::Receiver<Arc<[Event]>>,
}

impl Follower {
    /// The events of the next commit that brought any; waits for it. Nothing is lost if this call
    /// is dropped half-way.
    ///
    /// # Errors
    /// [`FollowError::Lagged`] once after falling behind, [`FollowError::Closed`] at the end.
    pub async fn next(&mut self) -> Result<Arc<[Event]>, FollowError> {
        use broadcast::error::RecvError;
        self.batches.recv().await.map_err(|error| match error {
            RecvError::Lagged(batches) => FollowError::Lagged { batches },
            RecvError::Closed => FollowError::Closed,
        })
    }
}

/// A store's own end of the stream. Clones feed the same followers.
#[derive(Debug, Clone)]
pub struct Feed {
    batches: broadcast::Sender<Arc<[Event]>>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            batches: broadcast::Sender::new(FOLLOWED_BATCHES),
        }
    }
}

impl Feed {
    /// Someone who hears of all that is published from now on.
    pub fn follow(&self) -> Follower {
        Follower {
            batches: self.batches.subscribe(),
        }
    }

    /// Tells the followers of events that have just been committed. Costs next to nothing when
    /// there are none of either.
    pub fn publish(&self, events: &[Event]) {
        if !events.is_empty() && self.batches.receiver_count() > 0 {
            // An error says that the last follower has just gone.
            let _ = self.batches.send(Arc::from(events));
        }
    }
}
