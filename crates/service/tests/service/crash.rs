//! Servers that die, and tasks that take them down: nothing accepted is lost, and everything ends
//! exactly once. (Power cuts at each single write: `stepping`.)

use serde_json::json;
use tintype_domain::{ExitCode, TaskId, TaskState};

use crate::bench::{Bench, LEASE, draw};
use crate::faults::Moment;

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
