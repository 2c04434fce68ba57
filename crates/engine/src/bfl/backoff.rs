//! Waits that grow.

use std::time::Duration;

/// The next wait, and the longest.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// From the first wait up to the longest.
    pub fn new((first, longest): (Duration, Duration)) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    /// How long to wait now.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.mul_f64(1.5).min(self.longest);
        wait
    }
}
