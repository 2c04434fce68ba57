//! Trying again: a bounded number of times, after longer and longer waits.

use std::time::Duration;

use super::Pace;
use super::answer::Trouble;
use crate::error::Error;

/// Attempts at one thing.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    pace: &'a Pace,
    failed: u32,
}

impl<'a> Attempts<'a> {
    pub fn new(pace: &'a Pace) -> Self {
        Self { pace, failed: 0 }
    }

    /// Something has come: the count begins anew.
    pub fn progress(&mut self) {
        self.failed = 0;
    }

    /// How long to wait before the next attempt, and why.
    ///
    /// # Errors
    /// When there is none: the trouble is final, or it was the last attempt.
    pub fn next(&mut self, trouble: Trouble, what: &str) -> Result<(Duration, String), Error> {
        let (reason, wait) = match trouble {
            Trouble::Final(error) => return Err(error),
            Trouble::Passing { reason, wait } => (reason, wait),
        };
        self.failed += 1;
        if self.failed >= self.pace.attempts {
            return Err(Error::GaveUp {
                what: what.to_owned(),
                attempts: self.failed,
                reason,
            });
        }
        let doubled = self
            .pace
            .first_wait
            .saturating_mul(1 << (self.failed - 1).min(16));
        let wait = wait.unwrap_or(doubled).min(self.pace.longest_wait);
        Ok((wait, reason))
    }
}

/// Does something until it works or cannot work.
pub(super) async fn repeat<T, F>(
    pace: &Pace,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Trouble>>,
{
    let mut attempts = Attempts::new(pace);
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(trouble) => {
                let (wait, reason) = attempts.next(trouble, what)?;
                tracing::debug!(reason, "{what} is tried again");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end_and_the_hub_may_ask_for_longer_ones() {
        let pace = Pace {
            attempts: 4,
            longest_wait: Duration::from_secs(3),
            ..Pace::default()
        };
        let mut attempts = Attempts::new(&pace);
        let mut wait = |trouble| {
            attempts
                .next(trouble, "x")
                .map(|(wait, _)| wait.as_secs())
                .ok()
        };
        assert_eq!(wait(Trouble::passing("")), Some(1));
        assert_eq!(wait(Trouble::passing("")), Some(2));
        let asked = Trouble::Passing {
            reason: String::new(),
            wait: Some(Duration::from_secs(9)),
        };
        assert_eq!(wait(asked), Some(3), "bounded");
        assert_eq!(wait(Trouble::passing("")), None);
        attempts.progress();
        assert!(attempts.next(Trouble::passing(""), "x").is_ok());
    }
}
