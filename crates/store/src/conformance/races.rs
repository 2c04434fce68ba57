//! A cancel, a kill, a worker's end and the loss of its lease, in every order that there is.

use std::mem::take;

use super::*;
use crate::{Cancel, Standing};

/// What someone does, each in an order of his own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Cancel,
    Kill,
    Claim,
    Complete,
    /// The lease runs out and is noticed.
    Expire,
    ClaimAgain,
}

/// Those who race.
const ACTORS: [&[Step]; 4] = [
    &[Step::Claim, Step::Complete],
    &[Step::Cancel],
    &[Step::Kill],
    &[Step::Expire, Step::ClaimAgain],
];

/// Six steps, two pairs of which keep their order: 6! / (2! 2!).
const ORDERS: usize = 180;

/// All orders in which the actors can take their steps.
fn orders(actors: &[&[Step]]) -> Vec<Vec<Step>> {
    if actors.iter().all(|steps| steps.is_empty()) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (actor, steps) in actors.iter().enumerate() {
        let Some((first, rest)) = steps.split_first() else {
            continue;
        };
        let mut others = actors.to_vec();
        others[actor] = rest;
        for mut order in orders(&others) {
            order.insert(0, *first);
            all.push(order);
        }
    }
    all
}

/// One task on its way through one order.
struct Race<'a> {
    bench: &'a Bench,
    task: TaskId,
    now: UnixMillis,
    /// The claims that were given out.
    claims: Vec<Task>,
    /// The ends that someone was told of.
    ends: Vec<TaskState>,
    killed: bool,
}

impl Race<'_> {
    async fn take(&mut self, step: Step) {
        self.now = self.now.plus_millis(1);
        match step {
            Step::Cancel => self.stop(Standing::Queued).await,
            Step::Kill => self.stop(Standing::Running).await,
            Step::Claim | Step::ClaimAgain => {
                let claimed = self.bench.claim(self.now).await;
                self.claims.extend(claimed);
            }
            Step::Complete => {
                if let Some(claim) = self.claims.first().cloned() {
                    self.complete(&claim).await;
                }
            }
            Step::Expire => self.expire().await,
        }
    }

    async fn stop(&mut self, standing: Standing) {
        let task = TaskRef::Id(self.task);
        let before = self.bench.detail(self.task).await;
        let asked = self
            .bench
            .store
            .cancel(&task, self.bench.project, standing, self.now);
        match asked.await.expect("cancel") {
            Cancel::Cancelled(task) => {
                assert_eq!(
                    (before.state, standing),
                    (TaskState::Queued, Standing::Queued)
                );
                self.ends.push(task.state);
            }
            Cancel::Flagged(task) => {
                assert!(before.state.is_running() && task.cancel_requested);
                self.killed = true;
            }
            Cancel::Unchanged(task) => assert_eq!(*task, before, "the answer says where it stands"),
            Cancel::Unknown => panic!("the task is there"),
        }
    }

    async fn complete(&mut self, claim: &Task) {
        let outcome = success(claim);
        let completed = self
            .bench
            .store
            .complete(claim.id, claim.epoch, outcome, self.now);
        if completed.await.expect("complete") == Fenced::Applied {
            self.ends.push(TaskState::Finished);
        }
    }

    async fn expire(&mut self) {
        self.now = self.now.plus_millis(2 * LEASE_MS);
        let before = self.bench.detail(self.task).await;
        self.bench.reap(self.now).await;
        let after = self.bench.detail(self.task).await;
        if after.state.is_final() && !before.state.is_final() {
            assert_eq!((after.state, self.killed), (TaskState::Cancelled, true));
            self.ends.push(after.state);
        }
    }

    /// Whoever has the task last ends it.
    async fn settle(&mut self) {
        self.expire().await;
        let claimed = self.bench.claim(self.now).await;
        for claim in claimed {
            assert!(!self.killed, "a task that was to stop does not run again");
            self.complete(&claim).await;
        }
    }
}

pub(super) async fn every_order_of_stops_and_ends_leaves_one_end(bench: &Bench) {
    let orders = orders(&ACTORS);
    assert_eq!(orders.len(), ORDERS);
    let mut now = START;
    for order in orders {
        let mut race = Race {
            bench,
            task: bench.submit_at(now).await.id,
            now,
            claims: Vec::new(),
            ends: Vec::new(),
            killed: false,
        };
        for step in &order {
            race.take(*step).await;
        }
        race.settle().await;
        let ends = take(&mut race.ends);
        let states = bench.states_entered(race.task).await;
        let last = bench.detail(race.task).await.state;
        assert_eq!(
            ends,
            [last],
            "one end, and whoever made it was told: {order:?}"
        );
        let finals: Vec<_> = states.iter().filter(|state| state.is_final()).collect();
        assert_eq!(finals, [&last], "{order:?}");
        assert_eq!(states.last(), Some(&last), "{order:?}");
        now = race.now;
    }
}
