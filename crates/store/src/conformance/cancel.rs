//! Cancelling, wherever the task stands.

use super::*;
use crate::{Cancel, Standing};

async fn cancel(bench: &Bench, task: TaskId, standing: Standing) -> Cancel {
    let task = TaskRef::Id(task);
    let asked = bench.store.cancel(&task, bench.project, standing, after(1));
    asked.await.expect("cancel")
}

const BOTH: [Standing; 2] = [Standing::Queued, Standing::Running];

pub(super) async fn a_queued_task_is_gone_at_once(bench: &Bench) {
    let task = bench.submit().await;
    let by_token = TaskRef::Token(task.token.clone());
    let asked = bench
        .store
        .cancel(&by_token, bench.project, Standing::Queued, after(1));
    let answer = asked.await.expect("cancel");
    let cancelled = bench.detail(task.id).await;
    assert_eq!(answer, Cancel::Cancelled(Box::new(cancelled.clone())));
    assert_eq!(cancelled.state, TaskState::Cancelled);
    assert_eq!(cancelled.times.cancelled, Some(after(1)));
    assert_eq!(cancelled.exit_code, None);
    assert_eq!(bench.claim(after(2)).await, []);
    let states = [TaskState::Queued, TaskState::Cancelled];
    assert_eq!(bench.states_entered(task.id).await, states);
}

pub(super) async fn a_running_task_is_flagged_and_its_worker_hears_of_it(bench: &Bench) {
    let task = bench.running().await;
    let other = bench.running().await;
    let Cancel::Flagged(flagged) = cancel(bench, task.id, Standing::Running).await else {
        panic!("a running task is flagged")
    };
    assert_eq!(flagged.state, TaskState::Accepted);
    assert!(flagged.cancel_requested);

    let claims = [(task.id, task.epoch), (other.id, other.epoch)];
    for _ in 0..2 {
        let heartbeat = bench.store.heartbeat(&claims, after(20), after(2)).await;
        let heartbeat = heartbeat.expect("heartbeat");
        assert_eq!(
            (heartbeat.cancelled, heartbeat.lost),
            (vec![task.id], vec![])
        );
    }
    assert_eq!(
        bench.complete(&task, Outcome::Cancelled).await,
        Fenced::Applied
    );
    let ended = bench.detail(task.id).await;
    assert_eq!(ended.state, TaskState::Cancelled);
    assert_eq!((ended.exit_code, ended.outputs), (None, vec![]));
}

pub(super) async fn a_flagged_task_ends_as_its_outcome_says(bench: &Bench) {
    let task = bench.running().await;
    cancel(bench, task.id, Standing::Running).await;
    assert_eq!(bench.complete(&task, success(&task)).await, Fenced::Applied);
    let ended = bench.detail(task.id).await;
    assert_eq!(ended.state, TaskState::Finished);
    assert_eq!(ended.outputs.len(), 1);
    assert_eq!(
        bench.complete(&task, Outcome::Cancelled).await,
        Fenced::Stale
    );
    let states = bench.states_entered(task.id).await;
    assert_eq!(states.iter().filter(|state| state.is_final()).count(), 1);
}

pub(super) async fn a_flagged_task_is_never_queued_again(bench: &Bench) {
    let expired = bench.running().await;
    let released = bench.running().await;
    cancel(bench, expired.id, Standing::Running).await;
    cancel(bench, released.id, Standing::Running).await;
    assert_eq!(bench.release(&released).await, Fenced::Applied);
    let reaped = bench.store.reap(1, after(60)).await;
    assert_eq!(reaped.expect("reap"), 1, "out of attempts, but cancelled");
    for task in [&expired, &released] {
        let ended = bench.detail(task.id).await;
        assert_eq!((ended.state, ended.exit_code), (TaskState::Cancelled, None));
    }
    assert_eq!(bench.claim(after(61)).await, []);
}

pub(super) async fn a_final_task_stays_as_it_is(bench: &Bench) {
    let finished = bench.running().await;
    bench.complete(&finished, success(&finished)).await;
    let cancelled = bench.submit().await;
    cancel(bench, cancelled.id, Standing::Queued).await;
    for task in [finished, cancelled] {
        let before = bench.record(task.id).await;
        for standing in BOTH {
            let expected = Cancel::Unchanged(Box::new(before.0.clone()));
            assert_eq!(cancel(bench, task.id, standing).await, expected);
        }
        let now = bench.record(task.id).await;
        assert_eq!(now, before);
    }
}

pub(super) async fn a_task_that_stands_elsewhere_stays_as_it_is(bench: &Bench) {
    let running = bench.running().await;
    let queued = bench.submit().await;
    for (task, standing) in [(running, Standing::Queued), (queued, Standing::Running)] {
        let before = bench.record(task.id).await;
        let expected = Cancel::Unchanged(Box::new(before.0.clone()));
        assert_eq!(cancel(bench, task.id, standing).await, expected);
        let now = bench.record(task.id).await;
        assert_eq!(now, before);
    }
}

pub(super) async fn only_the_owner_may_cancel(bench: &Bench) {
    let other = bench
        .store
        .create_project(new_project("second"), START)
        .await;
    let other = other.expect("a second project").id;
    let task = bench.submit().await;
    for name in [TaskRef::Id(task.id), TaskRef::Token(task.token.clone())] {
        for standing in BOTH {
            let answer = bench.store.cancel(&name, other, standing, after(1)).await;
            assert_eq!(answer.expect("cancel"), Cancel::Unknown);
        }
    }
    assert_eq!(bench.detail(task.id).await, task);
    for standing in BOTH {
        let answer = cancel(bench, TaskId(1_000_000), standing).await;
        assert_eq!(answer, Cancel::Unknown);
    }
}
