//! Random operations on the store and on a model of a few lines: both must agree after each.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tintype_domain::{
    Account, Epoch, Event, EventKind, ExitCode, Outcome, Priced, Task, TaskId, TaskRef, TaskState,
    UnixMillis,
};

use super::*;
use crate::conformance::{START, claim_until, new_task, state_of, success};
use crate::{
    AccountChange, BalanceChange, Cancel, Claim, Error, Fenced, Follower, Heartbeat, Progress,
    Standing,
};

#[derive(Debug, Clone)]
enum Operation {
    Submit,
    Claim {
        limit: usize,
        lease_ms: i64,
        max_attempts: u32,
    },
    Heartbeat {
        claim: Claimed,
        lease_ms: i64,
    },
    Enter {
        claim: Claimed,
        state: TaskState,
    },
    Complete {
        claim: Claimed,
        ending: Ending,
    },
    Release {
        claim: Claimed,
    },
    Cancel {
        task: Index,
        standing: Standing,
    },
    Reap {
        max_attempts: u32,
    },
    Wait {
        millis: i64,
    },
    Limit {
        concurrency: Option<u32>,
        price_micros: i64,
        added_micros: i64,
    },
    Restart,
}

/// A claim of a task: its latest, or one before.
#[derive(Debug, Clone)]
struct Claimed {
    task: Index,
    epochs_back: i64,
}

#[derive(Debug, Clone, Copy)]
enum Ending {
    Success,
    Failure,
    Cancelled,
}

fn claimed() -> impl Strategy<Value = Claimed> {
    let epochs_back = prop_oneof![4 => Just(0), 1 => Just(1)];
    (any::<Index>(), epochs_back).prop_map(|(task, epochs_back)| Claimed { task, epochs_back })
}

fn operation() -> impl Strategy<Value = Operation> {
    let ending = prop_oneof![
        Just(Ending::Success),
        Just(Ending::Failure),
        Just(Ending::Cancelled)
    ];
    let state = proptest::sample::select(&TaskState::ALL[..]);
    let standing = prop_oneof![Just(Standing::Queued), Just(Standing::Running)];
    prop_oneof![
        4 => Just(Operation::Submit),
        6 => (1..4_usize, 1..9_i64, 1..4_u32).prop_map(|(limit, lease_ms, max_attempts)| {
            Operation::Claim { limit, lease_ms, max_attempts }
        }),
        2 => (claimed(), 1..9_i64)
            .prop_map(|(claim, lease_ms)| Operation::Heartbeat { claim, lease_ms }),
        6 => (claimed(), state).prop_map(|(claim, state)| Operation::Enter { claim, state }),
        2 => (claimed(), ending).prop_map(|(claim, ending)| Operation::Complete { claim, ending }),
        2 => claimed().prop_map(|claim| Operation::Release { claim }),
        2 => (any::<Index>(), standing)
            .prop_map(|(task, standing)| Operation::Cancel { task, standing }),
        3 => (1..4_u32).prop_map(|max_attempts| Operation::Reap { max_attempts }),
        2 => (-2..7_i64).prop_map(|millis| Operation::Wait { millis }),
        1 => (proptest::option::of(1..9_u32), 0..40_i64, 0..90_i64).prop_map(
            |(concurrency, price_micros, added_micros)| {
                Operation::Limit { concurrency, price_micros, added_micros }
            }
        ),
        1 => Just(Operation::Restart),
    ]
}

/// What the model knows of a task.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    state: TaskState,
    epoch: i64,
    attempts: u32,
    lease_until: Option<UnixMillis>,
    cancel_requested: bool,
    exit_code: Option<ExitCode>,
    price_micros: i64,
}

impl Known {
    fn queued(price_micros: i64) -> Self {
        Self {
            state: TaskState::Queued,
            epoch: 0,
            attempts: 0,
            lease_until: None,
            cancel_requested: false,
            exit_code: None,
            price_micros,
        }
    }

    fn leave(&mut self, state: TaskState, exit_code: Option<ExitCode>) {
        self.state = state;
        self.lease_until = None;
        self.exit_code = exit_code;
    }

    fn give_up(&mut self) {
        let cancelled = self.cancel_requested;
        let next = if cancelled {
            TaskState::Cancelled
        } else {
            TaskState::Queued
        };
        self.leave(next, None);
    }

    fn cost_micros(&self) -> i64 {
        let succeeded = self.exit_code == Some(ExitCode::SUCCESS);
        if succeeded { self.price_micros } else { 0 }
    }

    fn agrees_with(&self, task: &Task) -> bool {
        let outputs = usize::from(self.exit_code == Some(ExitCode::SUCCESS));
        self.state == task.state
            && Epoch(self.epoch) == task.epoch
            && self.cancel_requested == task.cancel_requested
            && self.exit_code == task.exit_code
            && outputs == task.outputs.len()
            && self.cost_micros() == task.cost_micros
    }
}

/// The store, the model, and the time.
struct Pair {
    place: Place,
    bench: Option<Bench>,
    follower: Follower,
    known: Vec<Known>,
    now: UnixMillis,
    concurrency: Option<u32>,
    price_micros: i64,
    paid_in_micros: i64,
}

impl Pair {
    async fn new() -> Self {
        let place = Place::new();
        let bench = bench(&place.open()).await;
        let penniless = AccountChange {
            balance: Some(BalanceChange::Set(0)),
            ..AccountChange::default()
        };
        bench.change(penniless).await;
        Self {
            follower: bench.store.follow(),
            bench: Some(bench),
            place,
            known: Vec::new(),
            now: START,
            concurrency: None,
            price_micros: 0,
            paid_in_micros: 0,
        }
    }

    fn bench(&self) -> &Bench {
        self.bench.as_ref().expect("it is open but for a moment")
    }

    /// A task, and the epoch of the claim that is meant.
    fn pick(&self, claim: &Claimed) -> (usize, TaskId, Epoch) {
        let index = claim.task.index(self.known.len());
        let epoch = Epoch(self.known[index].epoch - claim.epochs_back);
        (index, id_of(index), epoch)
    }

    fn holds(&self, index: usize, epoch: Epoch) -> bool {
        let known = &self.known[index];
        known.state.is_running() && Epoch(known.epoch) == epoch
    }

    fn fenced(&self, index: usize, epoch: Epoch) -> Fenced {
        if self.holds(index, epoch) {
            Fenced::Applied
        } else {
            Fenced::Stale
        }
    }

    async fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Submit => self.submit().await,
            Operation::Limit {
                concurrency,
                price_micros,
                added_micros,
            } => {
                (self.concurrency, self.price_micros) = (*concurrency, *price_micros);
                self.paid_in_micros += added_micros;
                let change = AccountChange {
                    concurrency: Some(*concurrency),
                    balance: Some(BalanceChange::Add(*added_micros)),
                    prices: vec![(Priced::Any, Some(*price_micros))],
                    ..AccountChange::default()
                };
                self.bench().change(change).await;
            }
            Operation::Wait { millis } => self.now = self.now.plus_millis(*millis),
            Operation::Restart => self.restart(),
            Operation::Claim {
                limit,
                lease_ms,
                max_attempts,
            } => {
                self.claim(*limit, *lease_ms, *max_attempts).await;
            }
            Operation::Reap { max_attempts } => self.reap(*max_attempts).await,
            _ if self.known.is_empty() => {}
            Operation::Heartbeat { claim, lease_ms } => self.heartbeat(claim, *lease_ms).await,
            Operation::Enter { claim, state } => self.enter(claim, *state).await,
            Operation::Complete { claim, ending } => self.complete(claim, *ending).await,
            Operation::Release { claim } => self.release(claim).await,
            Operation::Cancel { task, standing } => {
                self.cancel(task.index(self.known.len()), *standing).await;
            }
        }
    }

    async fn submit(&mut self) {
        let task = new_task(self.bench().project);
        let submitted = self.bench().store.submit(task, self.now).await;
        if self.account().admit(self.price_micros).is_err() {
            assert!(matches!(submitted, Err(Error::Refused(_))), "{submitted:?}");
            return;
        }
        self.known.push(Known::queued(self.price_micros));
        let id = submitted.expect("submit").id;
        assert_eq!(id, TaskId(self.known.len() as i64));
    }

    /// The account that follows from the tasks: what was paid in is what is left and what the
    /// tasks cost that succeeded.
    fn account(&self) -> Account {
        let spent_micros = self.known.iter().map(Known::cost_micros).sum();
        let active = self.known.iter().filter(|known| !known.state.is_final());
        Account {
            concurrency: self.concurrency,
            balance_micros: Some(self.paid_in_micros - spent_micros),
            active: active.clone().count() as u64,
            reserved_micros: active.map(|known| known.price_micros).sum(),
            spent_micros,
            ..Account::default()
        }
    }

    fn restart(&mut self) {
        let project = self.bench().project;
        self.bench = None; // the old store must be gone before the new one can own the file
        self.bench = Some(self.place.reopen(project));
        self.follower = self.bench().store.follow();
        for known in &mut self.known {
            match known.lease_until {
                Some(_) if known.cancel_requested => known.lease_until = Some(UnixMillis(0)),
                Some(_) => known.give_up(),
                None => {}
            }
        }
    }

    async fn claim(&mut self, limit: usize, lease_ms: i64, max_attempts: u32) {
        let lease_until = self.now.plus_millis(lease_ms);
        let claim = Claim {
            limit,
            max_attempts,
            ..claim_until(lease_until)
        };
        let claimed = self
            .bench()
            .store
            .claim(claim, self.now)
            .await
            .expect("claim");
        let mut expected = Vec::new();
        for (index, known) in self.known.iter_mut().enumerate() {
            let free = known.state == TaskState::Queued && known.attempts < max_attempts;
            if free && expected.len() < limit {
                known.state = TaskState::Accepted;
                known.epoch += 1;
                known.attempts += 1;
                known.lease_until = Some(lease_until);
                expected.push(id_of(index));
            }
        }
        let ids: Vec<_> = claimed.iter().map(|task| task.id).collect();
        assert_eq!(ids, expected);
    }

    async fn reap(&mut self, max_attempts: u32) {
        let touched = self.bench().store.reap(max_attempts, self.now).await;
        let mut expected = 0;
        for known in &mut self.known {
            let expired = known.lease_until.is_some_and(|until| until <= self.now);
            let waits = expired || known.state == TaskState::Queued;
            if waits && known.attempts >= max_attempts && !known.cancel_requested {
                known.leave(TaskState::Finished, Some(ExitCode::ATTEMPTS));
                expected += 1;
            } else if expired {
                known.give_up();
                expected += 1;
            }
        }
        assert_eq!(touched.expect("reap"), expected);
    }

    async fn heartbeat(&mut self, claim: &Claimed, lease_ms: i64) {
        let (index, task, epoch) = self.pick(claim);
        let lease_until = self.now.plus_millis(lease_ms);
        let claims = [(task, epoch)];
        let heartbeat = self
            .bench()
            .store
            .heartbeat(&claims, lease_until, self.now)
            .await;
        let mut expected = Heartbeat::default();
        if self.holds(index, epoch) {
            let known = &mut self.known[index];
            known.lease_until = Some(lease_until);
            expected
                .cancelled
                .extend(known.cancel_requested.then_some(task));
        } else {
            expected.lost.push(task);
        }
        assert_eq!(heartbeat.expect("heartbeat"), expected);
    }

    async fn enter(&mut self, claim: &Claimed, state: TaskState) {
        let (index, task, epoch) = self.pick(claim);
        let progress = Progress {
            task,
            epoch,
            at: self.now,
            kind: EventKind::Entered { state },
        };
        let recorded = self.bench().store.record(vec![progress]).await;
        let expected = self.fenced(index, epoch);
        let for_others = !state.is_running() || state == TaskState::Accepted;
        if expected == Fenced::Applied && for_others {
            assert!(
                matches!(recorded, Err(Error::Rejected { .. })),
                "{recorded:?}"
            );
            return;
        }
        assert_eq!(recorded.expect("record"), [expected]);
        if expected == Fenced::Applied {
            let known = &mut self.known[index];
            known.state = known.state.max(state);
        }
    }

    async fn complete(&mut self, claim: &Claimed, ending: Ending) {
        let (index, task, epoch) = self.pick(claim);
        let (outcome, state, exit_code) = match ending {
            Ending::Success => {
                let outcome = success(&self.bench().detail(task).await);
                (outcome, TaskState::Finished, Some(ExitCode::SUCCESS))
            }
            Ending::Failure => {
                let outcome = Outcome::Failed {
                    exit_code: ExitCode::INPUT,
                    debug_error: "not a picture".to_owned(),
                };
                (outcome, TaskState::Finished, Some(ExitCode::INPUT))
            }
            Ending::Cancelled => (Outcome::Cancelled, TaskState::Cancelled, None),
        };
        let completed = self
            .bench()
            .store
            .complete(task, epoch, outcome, self.now)
            .await;
        let expected = self.fenced(index, epoch);
        assert_eq!(completed.expect("complete"), expected);
        if expected == Fenced::Applied {
            self.known[index].leave(state, exit_code);
        }
    }

    async fn release(&mut self, claim: &Claimed) {
        let (index, task, epoch) = self.pick(claim);
        let released = self.bench().store.release(task, epoch, self.now).await;
        let expected = self.fenced(index, epoch);
        assert_eq!(released.expect("release"), expected);
        if expected == Fenced::Applied {
            self.known[index].attempts -= 1;
            self.known[index].give_up();
        }
    }

    async fn cancel(&mut self, index: usize, standing: Standing) {
        let task = TaskRef::Id(id_of(index));
        let answer = self
            .bench()
            .store
            .cancel(&task, self.bench().project, standing, self.now)
            .await;
        let known = &mut self.known[index];
        match answer.expect("cancel") {
            Cancel::Unchanged(_) => match standing {
                Standing::Queued => assert_ne!(known.state, TaskState::Queued),
                Standing::Running => assert!(!known.state.is_running()),
            },
            Cancel::Flagged(_) => {
                assert_eq!(standing, Standing::Running);
                assert!(known.state.is_running());
                known.cancel_requested = true;
            }
            Cancel::Cancelled(_) => {
                assert_eq!(standing, Standing::Queued);
                assert_eq!(known.state, TaskState::Queued);
                known.leave(TaskState::Cancelled, None);
            }
            Cancel::Unknown => panic!("the task is there"),
        }
    }

    async fn compare(&self) {
        for (index, known) in self.known.iter().enumerate() {
            let task = self.bench().detail(id_of(index)).await;
            assert!(known.agrees_with(&task), "{known:?} is not {task:?}");
            assert_times_in_order(&task);
        }
        assert_eq!(self.bench().account().await, self.account());
    }

    /// The histories tell the same story, and so does what was heard: each ends where its task
    /// stands, and at most once.
    async fn compare_histories(&mut self) {
        let heard = self.heard().await;
        for (index, known) in self.known.iter().enumerate() {
            let history = self.bench().history(id_of(index)).await;
            let numbers: Vec<_> = history.iter().map(|event| event.number).collect();
            assert_eq!(numbers, (1..).take(history.len()).collect::<Vec<_>>());
            assert!(history.is_sorted_by_key(|event| event.at), "{history:?}");
            let states: Vec<_> = history.iter().map(state_of).collect();
            assert_eq!(states.last(), Some(&known.state));
            let finals = states.iter().filter(|state| state.is_final()).count();
            assert_eq!(finals, usize::from(known.state.is_final()), "{states:?}");
            let of_task = heard.iter().filter(|event| event.task == id_of(index));
            let of_task: Vec<_> = of_task.cloned().collect();
            assert!(history.ends_with(&of_task), "{of_task:?} of {history:?}");
        }
    }

    /// All that a follower has heard since the last start.
    async fn heard(&mut self) -> Vec<Event> {
        let free = Operation::Limit {
            concurrency: None,
            price_micros: 0,
            added_micros: 0,
        };
        Box::pin(self.apply(&free)).await;
        self.submit().await;
        let last = id_of(self.known.len() - 1);
        let mut heard = Vec::new();
        while heard.last().is_none_or(|event: &Event| event.task != last) {
            heard.extend_from_slice(&self.follower.next().await.expect("it keeps up"));
        }
        heard
    }
}

fn id_of(index: usize) -> TaskId {
    TaskId(index as i64 + 1)
}

fn assert_times_in_order(task: &Task) {
    let times = &task.times;
    let in_order = [
        Some(times.created),
        times.accepted,
        times.preprocess_started,
        times.preprocess_ended,
        times.assigned,
        times.started,
        times.ended,
        times.postprocess_started,
        times.postprocess_ended,
        times.cancelled,
    ];
    let set: Vec<_> = in_order.into_iter().flatten().collect();
    assert!(set.is_sorted(), "{times:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(operations in vec(operation(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            let mut pair = Pair::new().await;
            for operation in &operations {
                pair.apply(operation).await;
                pair.compare().await;
            }
            pair.compare_histories().await;
        });
    }
}
