//! Listing and stopping tasks: whose, and which end they come to.

use std::time::Duration;

use object_store::ObjectStoreExt;
use serde_json::json;
use tintype_domain::{ExitCode, TaskId, TaskRef, TaskState};
use tintype_service::{DeleteError, Page, Principal, ServiceError, StopError};

use crate::bench::{Bench, draw};

async fn submitted(bench: &Bench) -> TaskId {
    bench.submit(&draw(), json!({ "prompt": "x" })).await.task
}

fn named(task: TaskId) -> TaskRef {
    TaskRef::Id(task)
}

/// A bench whose worker beats once, and is patient with kills: only the hint is in time.
async fn bench_without_beats() -> (Bench, tintype_service::worker::WorkerHandle) {
    let bench = Bench::with(|config| config.kill_patience = Duration::from_secs(60)).await;
    let worker = bench.worker_with(|config| config.beat = Duration::from_secs(3600));
    (bench, worker)
}

#[tokio::test]
async fn a_kill_does_not_wait_for_a_heartbeat() {
    let (bench, _worker) = bench_without_beats().await;
    for _ in 0..10 {
        let hold = bench.engine.then_hold();
        let task = submitted(&bench).await;
        hold.reached().await;
        let killed = bench.service.kill(&bench.principal, &named(task)).await;
        let killed = killed.expect("killed");
        assert_eq!(
            (killed.state, killed.exit_code),
            (TaskState::Cancelled, None)
        );
        assert_eq!(killed, bench.task(task).await);
    }
}

#[tokio::test]
async fn a_kill_in_the_moment_of_the_claim_is_heard() {
    let (bench, _worker) = bench_without_beats().await;
    for _ in 0..20 {
        let task = submitted(&bench).await;
        bench
            .until(task, |task| task.state != TaskState::Queued)
            .await;
        let killed = bench.service.kill(&bench.principal, &named(task)).await;
        let ended = bench.ended(task).await;
        match killed {
            Ok(task) => assert_eq!(task.state, TaskState::Cancelled),
            Err(StopError::NotRunning(_)) => assert_eq!(ended.state, TaskState::Finished),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Cancel, kill and completion at the same time: one end, and both answers are true of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_stops_and_completions_come_to_one_end() {
    let (bench, _worker) = bench_without_beats().await;
    for round in 0..40 {
        let hold = (round % 2 == 0).then(|| bench.engine.then_hold());
        let task = submitted(&bench).await;
        let name = named(task);
        if let Some(hold) = hold {
            hold.reached().await;
            hold.open();
        }
        let (cancelled, killed) = tokio::join!(
            bench.service.cancel(&bench.principal, &name),
            bench.service.kill(&bench.principal, &name),
        );
        let ended = bench.ended(task).await;
        let stopped = cancelled.is_ok() || killed.is_ok();
        assert_eq!(
            stopped,
            ended.state == TaskState::Cancelled,
            "{cancelled:?} {killed:?}"
        );
        assert!(!(cancelled.is_ok() && killed.is_ok()), "one of them did it");
        let finals = bench.states(task).await;
        assert_eq!(finals.iter().filter(|state| state.is_final()).count(), 1);
        assert_eq!(ended.outputs.len(), usize::from(!stopped));
    }
}

#[tokio::test]
async fn a_task_that_ends_before_its_kill_is_heard_keeps_its_end() {
    let bench = Bench::with(|config| config.kill_patience = Duration::from_secs(60)).await;
    let task = submitted(&bench).await;
    let claimed = bench.claim().await;
    let principal = bench.principal.clone();
    let service = bench.service.clone();
    let kill = tokio::spawn(async move { service.kill(&principal, &named(task)).await });
    bench.until(task, |task| task.cancel_requested).await;
    let failed = tintype_domain::Outcome::Failed {
        exit_code: ExitCode::ENGINE,
        debug_error: "no memory".to_owned(),
    };
    let now = claimed.times.latest();
    let ended = bench.store.complete(task, claimed.epoch, failed, now).await;
    ended.expect("the store answers");
    let answer = kill
        .await
        .expect("no panic")
        .expect_err("it ended otherwise");
    assert_eq!(answer.to_string(), "it came to its end first");
    assert_eq!(bench.task(task).await.exit_code, Some(ExitCode::ENGINE));
}

#[tokio::test]
async fn a_store_in_trouble_says_that_nothing_was_changed() {
    let bench = Bench::new().await;
    let task = submitted(&bench).await;
    for _ in 0..2 {
        bench.faults.fail("cancel", 1);
        let answer = bench.service.cancel(&bench.principal, &named(task)).await;
        assert!(matches!(
            answer,
            Err(StopError::Service(ServiceError::Store(_)))
        ));
        assert_eq!(bench.task(task).await.state, TaskState::Queued);
    }
    bench.faults.fail("cancel", 1);
    let answer = bench.service.kill(&bench.principal, &named(task)).await;
    assert!(matches!(
        answer,
        Err(StopError::Service(ServiceError::Store(_)))
    ));
}

#[tokio::test]
async fn other_projects_tasks_are_unknown_and_unlisted() {
    let bench = Bench::new().await;
    let queued = submitted(&bench).await;
    let stranger = Principal {
        project: tintype_domain::ProjectId(99),
        name: "stranger".to_owned(),
    };
    let name = named(queued);
    let cancelled = bench.service.cancel(&stranger, &name).await;
    assert!(matches!(cancelled, Err(StopError::UnknownTask)));
    bench.claim().await;
    let killed = bench.service.kill(&stranger, &name).await;
    assert!(matches!(killed, Err(StopError::UnknownTask)));
    assert!(!bench.task(queued).await.cancel_requested);
    let page = Page {
        model: None,
        descending: true,
        start: 0,
        limit: 10,
    };
    let listed = bench.service.list(&stranger, page).await.expect("listed");
    assert_eq!(listed, (vec![], 0));
}

#[tokio::test]
async fn a_deletion_that_was_cut_short_is_finished_by_the_next() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let task = submitted(&bench).await;
    let output = bench.ended(task).await.outputs.remove(0);
    let name = named(task);
    bench.faults.fail("delete_outputs", 1);
    let failed = bench.service.delete_files(&bench.principal, &name).await;
    assert!(matches!(failed, Err(DeleteError::Service(_))));
    assert_eq!(bench.task(task).await.outputs.len(), 1);

    // As if the power had gone between the two stores.
    let deleted = bench.store.delete_outputs(&name, bench.principal.project);
    deleted.await.expect("the store answers");
    bench.blob(&output.blob_key).await;
    let done = bench.service.delete_files(&bench.principal, &name).await;
    done.expect("deleted");
    let left = bench.blobs.head(&output.blob_key.as_str().into()).await;
    assert!(matches!(left, Err(object_store::Error::NotFound { .. })));
}
