//! A circuit breaker: leaves an engine alone that has failed, for a while, then tries it with one
//! job.
//!
//! Closed, every job goes through; repeated failures open it; when its time is over it is half
//! open, and one job decides. Time is passed in.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Reason, Unavailable};

/// Failures in a row that open it: one lost connection is no reason to go elsewhere.
const FAILURES: u32 = 3;

/// How long it stays open at first; twice as long after each trial that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// How long it stays open at most, whatever an engine asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// How long it stays open for what only an operator can mend: short enough to notice that he has.
const OPERATOR_PAUSE: Duration = Duration::from_secs(60);

/// What those hear who come while one job tries.
const TRIAL_PAUSE: Duration = Duration::from_secs(1);

/// How a breaker stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakerState {
    /// Jobs go through.
    Closed,
    /// None does, for this long.
    Open(Duration),
    /// One may.
    HalfOpen,
}

/// A breaker that opened or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerChange<'a> {
    /// The engine's name.
    pub name: &'a str,
    /// How long it stays open, and why; `None`: it closed.
    pub open: Option<(Duration, &'a Unavailable)>,
}

/// Hears of changes. Called while the breaker is held: it must be quick.
pub type BreakerObserver = Box<dyn Fn(&BreakerChange<'_>) + Send + Sync>;

/// The breaker of one engine.
pub struct Breaker {
    name: String,
    inner: Mutex<Inner>,
    observer: Option<BreakerObserver>,
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        f.debug_struct("Breaker")
            .field("name", &self.name)
            .field("inner", &*inner)
            .finish()
    }
}

#[derive(Debug)]
enum Inner {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
        pauses: u32,
        why: Unavailable,
    },
    /// One job is on its way.
    Trying {
        pauses: u32,
        why: Unavailable,
    },
}

/// A job's way through a breaker. It says how it ended; dropped without a word, it does not count.
#[derive(Debug)]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    trial: bool,
    now: Instant,
}

impl Breaker {
    /// For the engine of this name, closed.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            inner: Mutex::new(Inner::Closed { failures: 0 }),
            observer: None,
        }
    }

    /// With somebody who hears of its changes.
    pub fn observed(self, observer: BreakerObserver) -> Self {
        Self {
            observer: Some(observer),
            ..self
        }
    }

    fn tell(&self, open: Option<(Duration, &Unavailable)>) {
        if let Some(observer) = &self.observer {
            let name = &self.name;
            observer(&BreakerChange { name, open });
        }
    }

    /// The engine's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it stands.
    pub fn state(&self, now: Instant) -> BreakerState {
        match &*self.inner() {
            Inner::Closed { .. } => BreakerState::Closed,
            Inner::Open { until, .. } if *until > now => BreakerState::Open(*until - now),
            Inner::Open { .. } | Inner::Trying { .. } => BreakerState::HalfOpen,
        }
    }

    /// Lets a job through.
    ///
    /// # Errors
    /// What went wrong last, and when to come again.
    pub fn admit(&self, now: Instant) -> Result<Pass<'_>, Unavailable> {
        let mut inner = self.inner();
        let trial = match &*inner {
            Inner::Closed { .. } => false,
            Inner::Open { until, why, .. } if *until > now => {
                return Err(retrying_after(why, *until - now));
            }
            Inner::Open { pauses, why, .. } => {
                let (pauses, why) = (*pauses, why.clone());
                *inner = Inner::Trying { pauses, why };
                true
            }
            Inner::Trying { why, .. } => return Err(retrying_after(why, TRIAL_PAUSE)),
        };
        Ok(Pass {
            breaker: self,
            trial,
            now,
        })
    }

    fn succeeded(&self) {
        let mut inner = self.inner();
        if !matches!(*inner, Inner::Closed { .. }) {
            tracing::info!(
                engine.name = self.name,
                "an engine works; its breaker is closed"
            );
            self.tell(None);
        }
        *inner = Inner::Closed { failures: 0 };
    }

    fn failed(&self, why: &Unavailable, now: Instant) {
        let mut inner = self.inner();
        let (failures, pauses) = match &*inner {
            Inner::Closed { failures } => (failures + 1, 0),
            Inner::Open { pauses, .. } => (FAILURES, *pauses),
            Inner::Trying { pauses, .. } => (FAILURES, pauses + 1),
        };
        if why.reason == Reason::Down && failures < FAILURES {
            *inner = Inner::Closed { failures };
            return;
        }
        let pause = pause_after(why, pauses);
        tracing::warn!(
            engine.name = self.name, engine.reason = ?why.reason, error = %why,
            pause_ms = pause.as_millis() as u64,
            "an engine is left alone for a while; its breaker is open"
        );
        self.tell(Some((pause, why)));
        let (until, why) = (now + pause, why.clone());
        *inner = Inner::Open { until, pauses, why };
    }

    /// The trial came to no end: the next one may try.
    fn abandon_trial(&self, now: Instant) {
        let mut inner = self.inner();
        if let Inner::Trying { pauses, why } = &*inner {
            let (pauses, why) = (*pauses, why.clone());
            *inner = Inner::Open {
                until: now,
                pauses,
                why,
            };
        }
    }

    /// Every change is one assignment: a panic leaves nothing half done.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// The engine answered, well or not.
    pub fn succeeded(mut self) {
        self.trial = false;
        self.breaker.succeeded();
    }

    /// The engine could not draw.
    pub fn failed(mut self, why: &Unavailable, now: Instant) {
        self.trial = false;
        self.breaker.failed(why, now);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.abandon_trial(self.now);
        }
    }
}

fn pause_after(why: &Unavailable, pauses: u32) -> Duration {
    let pause = match why.reason {
        Reason::OutOfCredit | Reason::NoWeights => OPERATOR_PAUSE,
        // It knows best.
        Reason::OverLimits | Reason::NoMemory => why.retry_after.unwrap_or(FIRST_PAUSE),
        Reason::Down | Reason::ShuttingDown => {
            let doubled = FIRST_PAUSE.saturating_mul(1 << pauses.min(16));
            doubled.max(why.retry_after.unwrap_or_default())
        }
    };
    pause.min(LONGEST_PAUSE)
}

fn retrying_after(why: &Unavailable, wait: Duration) -> Unavailable {
    Unavailable {
        retry_after: Some(wait),
        ..why.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn down() -> Unavailable {
        Unavailable::new(Reason::Down, "it does not answer")
    }

    fn fail(breaker: &Breaker, why: &Unavailable, now: Instant) {
        breaker
            .admit(now)
            .expect("it lets through")
            .failed(why, now);
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_job_tries_it_again() {
        let (breaker, start) = (Breaker::new("bfl"), Instant::now());
        for _ in 1..FAILURES {
            fail(&breaker, &down(), start);
        }
        assert_eq!(breaker.state(start), BreakerState::Closed);
        breaker.admit(start).expect("closed").succeeded();
        for _ in 0..FAILURES {
            assert_eq!(breaker.state(start), BreakerState::Closed);
            fail(&breaker, &down(), start);
        }
        assert_eq!(breaker.state(start), BreakerState::Open(FIRST_PAUSE));
        let refused = breaker.admit(start + SECOND).expect_err("open");
        assert_eq!(refused.retry_after, Some(FIRST_PAUSE - SECOND));
        assert_eq!(refused.message, "it does not answer");

        let later = start + FIRST_PAUSE;
        assert_eq!(breaker.state(later), BreakerState::HalfOpen);
        let trial = breaker.admit(later).expect("half open");
        breaker.admit(later).expect_err("one at a time");
        trial.succeeded();
        assert_eq!(breaker.state(later), BreakerState::Closed);
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let (breaker, mut now) = (Breaker::new("bfl"), Instant::now());
        for _ in 0..FAILURES {
            fail(&breaker, &down(), now);
        }
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let BreakerState::Open(pause) = breaker.state(now) else {
                panic!("it is open");
            };
            pauses.push(pause.as_secs());
            now += pause;
            fail(&breaker, &down(), now);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn a_trial_that_is_given_up_lets_the_next_one_try() {
        let (breaker, start) = (Breaker::new("bfl"), Instant::now());
        for _ in 0..FAILURES {
            fail(&breaker, &down(), start);
        }
        let later = start + FIRST_PAUSE;
        drop(breaker.admit(later).expect("half open"));
        breaker.admit(later).expect("the next one");
    }

    #[test]
    fn limits_and_credit_open_it_at_once() {
        let start = Instant::now();
        let limits = Unavailable {
            retry_after: Some(7 * SECOND),
            ..Unavailable::new(Reason::OverLimits, "slow down")
        };
        let breaker = Breaker::new("bfl");
        fail(&breaker, &limits, start);
        assert_eq!(breaker.state(start), BreakerState::Open(7 * SECOND));
        let breaker = Breaker::new("bfl");
        fail(
            &breaker,
            &Unavailable::new(Reason::OutOfCredit, "pay"),
            start,
        );
        assert_eq!(breaker.state(start), BreakerState::Open(OPERATOR_PAUSE));
        let refused = breaker.admit(start).expect_err("open");
        assert_eq!(refused.reason, Reason::OutOfCredit);
    }

    #[test]
    fn changes_are_told_once_each() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let breaker = Breaker::new("bfl").observed(Box::new(move |change| {
            let open = change.open.map(|(pause, why)| (pause, why.message.clone()));
            heard
                .lock()
                .expect("no panic")
                .push((change.name.to_owned(), open));
        }));
        let start = Instant::now();
        breaker.admit(start).expect("closed").succeeded();
        for _ in 0..FAILURES {
            fail(&breaker, &down(), start);
        }
        let later = start + FIRST_PAUSE;
        breaker.admit(later).expect("half open").succeeded();
        breaker.admit(later).expect("closed").succeeded();
        let opened = Some((FIRST_PAUSE, "it does not answer".to_owned()));
        let expected = [("bfl".to_owned(), opened), ("bfl".to_owned(), None)];
        assert_eq!(*told.lock().expect("no panic"), expected);
    }
}
