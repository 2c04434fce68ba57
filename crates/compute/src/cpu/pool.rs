//! The threads of a device: the one that calls, and helpers that do the same work beside it.
//!
//! A model of FLUX.1's size runs ops of milliseconds, a small one of microseconds, one after the other
//! from one thread. So helpers that have nothing to do look for more for a moment before they sleep, and
//! the caller waits the same way for those that are still at it.
//!
//! Work that is given while other work runs (by another thread, or from inside the work) is done by its
//! caller alone: there are never more threads at work than the device was given.
#![expect(
    unsafe_code,
    reason = "the helpers live longer than the work that they borrow"
)]

use std::{
    any::Any,
    hint,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Looks for something new before a thread sleeps: some twenty to fifty microseconds, which is longer
/// than a model needs from op to op, and about what sleeping and waking cost.
const LOOKS: u32 = 1_000;

/// What all threads do side by side until none of it is left.
type Work<'a> = dyn Fn() + Sync + 'a;

/// What a panic leaves.
type Panic = Box<dyn Any + Send>;

/// The helpers of the calling thread.
pub(super) struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when a round begins, or the end of all.
    begun: Condvar,
    /// Told when the last helper of a closed round leaves it.
    left: Condvar,
    /// Hints for those who look without the lock: `state.round`, and whether helpers are at work.
    round: AtomicU64,
    busy: AtomicBool,
}

#[derive(Default)]
struct State {
    /// What the present round is about; nothing between two rounds.
    work: Option<&'static Work<'static>>,
    round: u64,
    /// Helpers that may still join the round.
    places: usize,
    /// Helpers that are in the round.
    inside: usize,
    /// Helpers that wait for `begun`.
    asleep: usize,
    panic: Option<Panic>,
    ended: bool,
}

impl Pool {
    /// Starts `count` helpers; each calls `at_start` with its number, from 0, first.
    ///
    /// # Panics
    /// If the operating system refuses to start a thread.
    pub fn new(count: usize, at_start: impl Fn(usize) + Clone + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let start = |index: usize| {
            let (shared, at_start) = (shared.clone(), at_start.clone());
            thread::Builder::new()
                .name(format!("compute-{index}"))
                .spawn(move || {
                    at_start(index);
                    shared.help();
                })
                .expect("the operating system starts the compute threads")
        };
        let helpers = (0..count).map(start).collect();
        Self { shared, helpers }
    }

    /// Calls `work` here, and at the same time on up to `helpers` other threads. Returns when all of
    /// them have returned.
    ///
    /// # Panics
    /// If `work` panics, here or there; the others are waited for all the same.
    pub fn run(&self, helpers: usize, work: &Work<'_>) {
        let helpers = helpers.min(self.helpers.len());
        if helpers == 0 || !self.shared.open(helpers, work) {
            return work();
        }
        let here = catch_unwind(AssertUnwindSafe(work));
        let there = self.shared.close();
        if let Some(panic) = here.err().or(there) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.begun.notify_all();
        for helper in self.helpers.drain(..) {
            // A helper catches the panics of its work, and does nothing else.
            drop(helper.join());
        }
    }
}

impl Shared {
    /// Begins a round; `false` if there is one already. Whoever gets `true` must call `close` before
    /// the borrow of `work` ends.
    fn open(&self, places: usize, work: &Work<'_>) -> bool {
        let mut state = self.lock();
        if state.work.is_some() || state.inside > 0 {
            return false;
        }
        // SAFETY: only the lifetime changes. Helpers get at the reference through `state.work` alone
        // and only while they count in `inside`; `close`, which `Pool::run` calls whatever happens,
        // takes it out of `work` and returns when `inside` is 0. So no use outlives `work`.
        let work = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
        state.work = Some(work);
        state.places = places;
        state.round += 1;
        self.round.store(state.round, Ordering::Release);
        if state.asleep > 0 {
            drop(state);
            self.begun.notify_all();
        }
        true
    }

    /// Ends the round: no helper joins it any more, and those inside are waited for.
    fn close(&self) -> Option<Panic> {
        let mut state = self.lock();
        state.work = None;
        if state.inside > 0 {
            drop(state);
            look_until(|| !self.busy.load(Ordering::Acquire));
            state = self.lock();
        }
        while state.inside > 0 {
            state = self
                .left
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.panic.take()
    }

    /// The life of a helper.
    fn help(&self) {
        let mut seen = 0;
        loop {
            look_until(|| self.round.load(Ordering::Acquire) != seen);
            let mut state = self.lock();
            while state.round == seen && !state.ended {
                state.asleep += 1;
                state = self
                    .begun
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                state.asleep -= 1;
            }
            if state.ended {
                return;
            }
            seen = state.round;
            self.join_in(state);
        }
    }

    fn join_in(&self, mut state: MutexGuard<'_, State>) {
        let Some(work) = state.work.filter(|_| state.places > 0) else {
            return;
        };
        state.places -= 1;
        state.inside += 1;
        self.busy.store(true, Ordering::Release);
        drop(state);
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let mut state = self.lock();
        state.inside -= 1;
        if let Err(panic) = outcome {
            state.panic = Some(panic);
        }
        if state.inside == 0 {
            self.busy.store(false, Ordering::Release);
            drop(state);
            self.left.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits a moment for something; it may not have happened on return.
fn look_until(happened: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if happened() {
            return;
        }
        hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Barrier, Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use super::Pool;

    #[test]
    fn the_caller_and_its_helpers_work_at_the_same_time() {
        let pool = Pool::new(3, |_| {});
        for helpers in [1, 2, 3, 3, 3] {
            // Passed only if that many threads are inside together.
            let all = Barrier::new(helpers + 1);
            let names = Mutex::new(Vec::new());
            pool.run(helpers, &|| {
                all.wait();
                names.lock().unwrap().push(thread::current().id());
            });
            let names = names.into_inner().unwrap();
            assert!(names.contains(&thread::current().id()));
            let different: HashSet<_> = names.into_iter().collect();
            assert_eq!(different.len(), helpers + 1);
        }
    }

    #[test]
    fn no_round_is_lost_or_entered_twice_by_a_thread() {
        let pool = Pool::new(2, |_| {});
        let calls = AtomicUsize::new(0);
        // Miri tries an order of the threads' steps of its own in each.
        let rounds = if cfg!(miri) { 200 } else { 20_000 };
        for round in 0..rounds {
            let left = AtomicUsize::new(round % 7);
            let work = || {
                let take = |n: usize| n.checked_sub(1);
                while left
                    .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
                    .is_ok()
                {
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            };
            pool.run(2, &work);
            assert_eq!(left.into_inner(), 0);
        }
        let expected = (0..rounds).map(|round| round % 7).sum::<usize>();
        assert_eq!(calls.into_inner(), expected);
    }

    #[test]
    fn a_panic_there_arrives_here_and_the_pool_lives_on() {
        let pool = Pool::new(1, |_| {});
        let here = thread::current().id();
        let both = Barrier::new(2);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.run(1, &|| {
                both.wait();
                assert_eq!(thread::current().id(), here, "on the helper");
            });
        }));
        assert!(outcome.is_err());
        let calls = AtomicUsize::new(0);
        pool.run(1, &|| {
            both.wait();
            calls.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), 2);
    }

    #[test]
    fn work_inside_work_is_done_by_its_caller_alone() {
        let pool = Pool::new(1, |_| {});
        let both = Barrier::new(2);
        pool.run(1, &|| {
            both.wait();
            let caller = thread::current().id();
            let calls = AtomicUsize::new(0);
            pool.run(1, &|| {
                assert_eq!(thread::current().id(), caller);
                calls.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(calls.into_inner(), 1);
        });
    }
}
