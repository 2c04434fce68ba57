//! Claims, leases, epochs and attempts.

use super::*;
use crate::Heartbeat;

pub(super) async fn ids_count_from_one_and_the_oldest_is_claimed_first(bench: &Bench) {
    for expected in 1..=3 {
        assert_eq!(bench.submit().await.id, TaskId(expected));
    }
    let claim = Claim {
        limit: 2,
        ..claim_until(after(10))
    };
    let claimed = bench.store.claim(claim, after(1)).await.expect("claim");
    let ids: Vec<_> = claimed.iter().map(|task| task.id.0).collect();
    assert_eq!(ids, [1, 2]);
}

pub(super) async fn a_claim_accepts_under_a_new_epoch(bench: &Bench) {
    let submitted = bench.submit().await;
    let claimed = bench.claim(after(1)).await;
    let [task] = claimed.as_slice() else {
        panic!("one task is claimed, not {}", claimed.len())
    };
    let mut expected = submitted.clone();
    expected.state = TaskState::Accepted;
    expected.times.accepted = Some(after(1));
    expected.epoch = Epoch(1);
    assert_eq!(*task, expected);
    assert_eq!(bench.detail(task.id).await, expected);
    assert_eq!(bench.claim(after(2)).await, [], "it is taken");
}

pub(super) async fn concurrent_claims_never_share_a_task(bench: &Bench) {
    const TASKS: usize = 60;
    for _ in 0..TASKS {
        bench.submit().await;
    }
    let claimants: Vec<_> = (0..6)
        .map(|number| tokio::spawn(claim_all(Arc::clone(&bench.store), number)))
        .collect();
    let mut claimed = Vec::new();
    for claimant in claimants {
        claimed.extend(claimant.await.expect("the claimant is well"));
    }
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), TASKS);
    for task in claimed {
        let states = [TaskState::Queued, TaskState::Accepted];
        assert_eq!(bench.states_entered(task).await, states, "accepted once");
    }
}

async fn claim_all(store: Arc<dyn Store>, number: usize) -> Vec<TaskId> {
    let mut all = Vec::new();
    loop {
        let claim = Claim {
            worker: WorkerId(format!("worker {number}")),
            limit: 1 + number,
            ..claim_until(after(10))
        };
        let some = store.claim(claim, START).await.expect("claim");
        if some.is_empty() {
            return all;
        }
        all.extend(some.into_iter().map(|task| task.id));
    }
}

pub(super) async fn a_heartbeat_moves_the_lease(bench: &Bench) {
    let task = bench.running().await;
    let claims = [(task.id, task.epoch)];
    let heartbeat = bench.store.heartbeat(&claims, after(100), after(5)).await;
    assert_eq!(heartbeat.expect("heartbeat"), Heartbeat::default());
    assert_eq!(bench.reap(after(99)).await, 0);
    assert_eq!(bench.detail(task.id).await.state, TaskState::Accepted);
    assert_eq!(bench.reap(after(100)).await, 1);
}

pub(super) async fn an_expired_lease_goes_back_to_the_queue(bench: &Bench) {
    let first = bench.running().await;
    assert_eq!(bench.reap(after(9)).await, 0);
    assert_eq!(bench.reap(after(10)).await, 1);
    let queued = bench.detail(first.id).await;
    assert_eq!(queued.state, TaskState::Queued);
    assert_eq!(queued.times.accepted, None);
    assert_fenced(bench, &first).await;

    let second = bench.claim(after(11)).await.remove(0);
    assert_eq!((second.id, second.epoch), (first.id, Epoch(2)));
    assert_fenced(bench, &first).await;
    assert_eq!(
        bench.complete(&second, success(&second)).await,
        Fenced::Applied
    );
}

/// Nothing that this claim could do has an effect.
async fn assert_fenced(bench: &Bench, claim: &Task) {
    let before = bench.record(claim.id).await;
    let claims = [(claim.id, claim.epoch)];
    let heartbeat = bench.store.heartbeat(&claims, after(1000), after(20)).await;
    let lost = Heartbeat {
        lost: vec![claim.id],
        ..Heartbeat::default()
    };
    assert_eq!(heartbeat.expect("heartbeat"), lost);
    let step = progress(claim, step(1), after(20));
    let recorded = bench.store.record(vec![step]).await.expect("record");
    assert_eq!(recorded, [Fenced::Stale]);
    let started = bench.enter(claim, TaskState::Started, after(20)).await;
    assert_eq!(started, Fenced::Stale);
    let outcomes = [success(claim), failure(), Outcome::Cancelled];
    for outcome in outcomes {
        assert_eq!(bench.complete(claim, outcome).await, Fenced::Stale);
    }
    assert_eq!(bench.release(claim).await, Fenced::Stale);
    assert_eq!(keep(bench, claim, "too late").await, None);
    let now = bench.record(claim.id).await;
    assert_eq!(now, before);
}

/// What is on record of a rewriting after this claim has tried to keep one.
async fn keep(bench: &Bench, claim: &Task, upsampled: &str) -> Option<String> {
    let kept = bench
        .store
        .keep_upsampled_prompt(claim.id, claim.epoch, upsampled.to_owned());
    kept.await.expect("keep_upsampled_prompt")
}

pub(super) async fn the_first_rewriting_of_a_prompt_stays_through_all_attempts(bench: &Bench) {
    let first = bench.running().await;
    assert_eq!(first.upsampled_prompt, None);
    let kept = Some("a red circle at dawn".to_owned());
    assert_eq!(keep(bench, &first, "a red circle at dawn").await, kept);
    assert_eq!(
        keep(bench, &first, "another").await,
        kept,
        "the first stays"
    );
    let history = bench.states_entered(first.id).await;
    assert_eq!(
        history,
        [TaskState::Queued, TaskState::Accepted],
        "no event"
    );
    bench.enter(&first, TaskState::Started, after(1)).await;
    assert_eq!(bench.release(&first).await, Fenced::Applied);

    let second = bench.claim(after(11)).await.remove(0);
    assert_eq!(second.upsampled_prompt, kept);
    assert_eq!(keep(bench, &first, "of a lost claim").await, None);
    assert_eq!(keep(bench, &second, "of the second attempt").await, kept);
    bench.reap(after(1_000)).await;
    let third = bench.claim(after(1_001)).await.remove(0);
    assert_eq!(third.upsampled_prompt, kept);
    bench.complete(&third, success(&third)).await;
    let ended = bench.detail(third.id).await;
    assert_eq!(ended.upsampled_prompt, kept);
    assert_eq!(ended.parameters, first.parameters, "what was asked stays");
    assert_eq!(keep(bench, &third, "after the end").await, None);
}

pub(super) async fn a_task_out_of_attempts_ends_with_a_reason(bench: &Bench) {
    let id = bench.submit().await.id;
    for attempt in 1..=i64::from(MAX_ATTEMPTS) {
        let claimed = bench.claim(after(attempt * 100)).await;
        assert_eq!(claimed[0].epoch, Epoch(attempt));
        assert_eq!(bench.reap(after(attempt * 100 + 50)).await, 1);
    }
    let ended = bench.detail(id).await;
    assert_eq!(ended.state, TaskState::Finished);
    assert_eq!(ended.exit_code, Some(ExitCode::ATTEMPTS));
    assert!(ended.debug_error.contains("3 times"), "{ended:?}");
    assert_eq!(ended.outputs, []);
    assert_eq!(ended.times.postprocess_ended, Some(after(350)));
    assert_eq!(bench.claim(after(400)).await, []);
    assert_eq!(bench.reap(after(1000)).await, 0);
}

pub(super) async fn a_queued_task_out_of_attempts_is_not_given_out_and_ends(bench: &Bench) {
    let task = bench.running().await;
    let reaped = bench.store.reap(2, after(10)).await.expect("reap");
    assert_eq!(
        (reaped, bench.detail(task.id).await.state),
        (1, TaskState::Queued)
    );

    assert_eq!(bench.claim_within(1, after(20)).await, []);
    let reaped = bench.store.reap(1, after(30)).await.expect("reap");
    let ended = bench.detail(task.id).await;
    assert_eq!((reaped, ended.state), (1, TaskState::Finished));
    assert_eq!(ended.exit_code, Some(ExitCode::ATTEMPTS));
}

pub(super) async fn a_release_gives_the_attempt_back(bench: &Bench) {
    let id = bench.submit().await.id;
    for round in 1..=5 {
        let task = bench.claim_within(1, after(round)).await.remove(0);
        assert_eq!((task.id, task.epoch), (id, Epoch(round)));
        assert_eq!(bench.release(&task).await, Fenced::Applied);
        assert_fenced(bench, &task).await;
        assert_eq!(bench.detail(id).await.state, TaskState::Queued);
    }
    assert_eq!(
        bench.reap(after(1000)).await,
        0,
        "a release leaves no lease"
    );
}

pub(super) async fn a_stale_epoch_changes_nothing(bench: &Bench) {
    let task = bench.running().await;
    assert_fenced(bench, &stale(&task)).await;
    let ahead = Task {
        epoch: Epoch(task.epoch.0 + 1),
        ..task.clone()
    };
    assert_fenced(bench, &ahead).await;
    assert_eq!(bench.complete(&task, failure()).await, Fenced::Applied);
    assert_fenced(bench, &task).await;
}

pub(super) async fn an_unknown_task_is_stale(bench: &Bench) {
    let mut task = bench.running().await;
    task.id = TaskId(task.id.0 + 1000);
    assert_eq!(bench.complete(&task, failure()).await, Fenced::Stale);
    assert_eq!(bench.release(&task).await, Fenced::Stale);
    let entered = bench.enter(&task, TaskState::Started, START).await;
    assert_eq!(entered, Fenced::Stale);
}
