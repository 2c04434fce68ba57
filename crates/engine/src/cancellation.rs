//! How a job is asked to stop.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// A flag that asks a job to stop. Cheap to clone; all clones are one flag.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    raised: AtomicBool,
    waiting: Notify,
}

impl Cancellation {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the job to stop at its next step.
    pub fn cancel(&self) {
        self.0.raised.store(true, Ordering::Release);
        self.0.waiting.notify_waiters();
    }

    /// Whether the job shall stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    /// Waits until the job shall stop.
    pub async fn cancelled(&self) {
        let mut raised = pin!(self.0.waiting.notified());
        // Before the look at the flag: what is raised in between is heard of.
        raised.as_mut().enable();
        if !self.is_cancelled() {
            raised.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_heard_of_before_and_after_it_is_raised() {
        let cancellation = Cancellation::new();
        let waiting = tokio::spawn({
            let cancellation = cancellation.clone();
            async move { cancellation.cancelled().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        cancellation.cancel();
        waiting.await.expect("it returns");
        cancellation.cancelled().await;
    }
}
