//! Power cuts between any two writes: nothing accepted is lost, and everything ends exactly once.

use std::time::Duration;

use serde_json::json;
use tintype_domain::{ExitCode, TaskId, TaskState};

use crate::bench::{Bench, LEASE, draw};
use crate::faults::Moment;

/// More writes than a life has: the loop below ends by itself when no crash happens any more.
const MANY: u32 = 50;

async fn assert_ended_once(bench: &Bench, task: TaskId) {
    let ended = bench.ended(task).await;
    assert_eq!(
        (ended.state, ended.exit_code),
        (TaskState::Finished, Some(ExitCode::SUCCESS))
    );
    let finals = bench
        .states(task)
        .await
        .into_iter()
        .filter(|state| state.is_final());
    assert_eq!(finals.count(), 1);
    let [output] = ended.outputs.as_slice() else {
        panic!("one output")
    };
    assert_eq!(
        bench.blob(&output.blob_key).await.len() as u64,
        output.size_bytes
    );
}

/// Runs a task whose worker dies at one of its writes; `false` if it has fewer.
async fn survives_a_crash(write: u32, moment: Moment) -> bool {
    let bench = Bench::new().await;
    bench.faults.crash_at(write, moment);
    // Without heartbeats, so that the writes are the same in every run.
    let worker = bench.worker_with(|config| config.beat = Duration::from_secs(3600));
    let task = bench.submit(&draw(), json!({ "prompt": "x" })).await.task;
    // Whichever is seen first: after the last write the task has ended and the worker is gone.
    let crashed = tokio::select! {
        biased;
        () = bench.faults.crashed() => true,
        _ = bench.ended(task) => bench.faults.has_crashed(),
    };
    drop(worker);
    bench.faults.none();
    bench.clock.advance(LEASE * 2);
    let _next = bench.worker();
    assert_ended_once(&bench, task).await;
    crashed
}

#[tokio::test]
async fn a_crash_before_or_after_any_write_leaves_the_task_to_end_exactly_once() {
    for moment in [Moment::Before, Moment::After] {
        let mut crashes = 0;
        for write in 0..MANY {
            if !survives_a_crash(write, moment).await {
                break;
            }
            crashes += 1;
        }
        assert!(
            (6..MANY).contains(&crashes),
            "a life has several writes: {crashes}"
        );
    }
}

#[tokio::test]
async fn a_killed_server_loses_nothing() {
    let bench = Bench::new().await;
    let hold = bench.engine.then_hold();
    let worker = bench.worker();
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(bench.submit(&draw(), json!({ "prompt": "x" })).await.task);
    }
    hold.reached().await;
    let bench = bench.restart(worker).await;
    let _worker = bench.worker();
    for task in tasks {
        assert_ended_once(&bench, task).await;
    }
}

#[tokio::test]
async fn a_task_that_takes_every_worker_down_is_not_given_out_for_ever() {
    let bench = Bench::new().await;
    let task = bench.submit(&draw(), json!({ "prompt": "x" })).await.task;
    for _ in 0..3 {
        bench.faults.crash_at(0, Moment::Before);
        let worker = bench.worker();
        bench.faults.crashed().await;
        drop(worker);
        bench.clock.advance(LEASE * 2);
    }
    bench.faults.none();
    let _worker = bench.worker();
    let ended = bench.ended(task).await;
    assert_eq!(ended.exit_code, Some(ExitCode::ATTEMPTS));
    assert!(!ended.debug_error.is_empty());
}
