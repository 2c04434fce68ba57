//! Gives somebody who fails again and again a rest, so that tasks do not wait for him one by one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row before a rest: one is a hiccup.
const FAILURES: u32 = 5;

/// How long a rest lasts; then one call finds out.
const REST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    rests_until: Option<Instant>,
}

impl Breaker {
    /// Whether a call may be made now. After a rest one may: the next waits for how it ended.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        if state.failures >= FAILURES {
            state.rests_until = Some(now + REST);
        }
        true
    }

    /// Takes note of how a call ended.
    pub(crate) fn note(&self, good: bool, now: Instant) {
        let mut state = self.state();
        if good {
            *state = State::default();
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES {
            state.rests_until = Some(now + REST);
        }
    }

    /// Counters have no invariants that a panic could break.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_and_again_rests_and_is_tried_once() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for _ in 1..FAILURES {
            assert!(breaker.admits(now));
            breaker.note(false, now);
        }
        assert!(breaker.admits(now), "not yet");
        breaker.note(false, now);
        assert!(!breaker.admits(now));
        let now = now + REST;
        assert!(breaker.admits(now), "one finds out");
        assert!(!breaker.admits(now), "the others wait for it");
        breaker.note(false, now);
        assert!(!breaker.admits(now));
        let now = now + REST;
        assert!(breaker.admits(now));
        breaker.note(true, now);
        assert!(breaker.admits(now) && breaker.admits(now));
    }
}
