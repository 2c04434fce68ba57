//! Stopping a task, a worker, and workers that were overtaken.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tintype_domain::{Epoch, ExitCode, Outcome, TaskId, TaskRef, TaskState};
use tintype_engine::Engine;
use tintype_service::test_support::{Behaviour, FakeEngine};
use tintype_store::{Cancel, Fenced, Standing};
use tokio::net::TcpListener;

use crate::bench::{Bench, LEASE, draw, edit};

async fn submitted(bench: &Bench) -> TaskId {
    bench.submit(&draw(), json!({ "prompt": "x" })).await.task
}

async fn cancel(bench: &Bench, task: TaskId) -> Cancel {
    let now = bench.task(task).await.times.latest();
    let project = bench.principal.project;
    bench
        .store
        .cancel(&TaskRef::Id(task), project, Standing::Running, now)
        .await
        .expect("the store answers")
}

#[tokio::test]
async fn a_running_task_is_cancelled_within_a_step() {
    let bench = Bench::new().await;
    let hold = bench.engine.then_hold();
    let _worker = bench.worker();
    let task = submitted(&bench).await;
    hold.reached().await;
    assert!(matches!(cancel(&bench, task).await, Cancel::Flagged(_)));
    let ended = bench.ended(task).await;
    assert_eq!((ended.state, ended.exit_code), (TaskState::Cancelled, None));
    assert!(ended.outputs.is_empty());
    assert_eq!(bench.engine.jobs().len(), 1);
}

#[tokio::test]
async fn a_fetch_does_not_hold_up_a_cancellation() {
    let bench = Bench::with(|config| config.guard.danger_allow_private_addresses = true).await;
    let _worker = bench.worker();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "http://{}/a.png",
        listener.local_addr().expect("an address")
    );
    let task = bench
        .submit(&edit(), json!({ "prompt": "x", "inputImageUrl": url }))
        .await
        .task;
    let connection = listener.accept().await.expect("a connection");
    assert!(matches!(cancel(&bench, task).await, Cancel::Flagged(_)));
    assert_eq!(bench.ended(task).await.state, TaskState::Cancelled);
    drop(connection);
    assert!(bench.engine.jobs().is_empty());
}

#[tokio::test]
async fn a_drain_gives_the_running_picture_back_and_another_worker_draws_it() {
    let bench = Bench::new().await;
    let hold = bench.engine.then_hold();
    let worker = bench.worker();
    let task = submitted(&bench).await;
    hold.reached().await;
    worker.drain().await;
    assert_eq!(bench.task(task).await.state, TaskState::Queued);

    let _next = bench.worker();
    let ended = bench.ended(task).await;
    assert_eq!(ended.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(bench.engine.jobs().len(), 2);
}

#[tokio::test]
async fn a_drained_worker_claims_nothing_more() {
    let bench = Bench::new().await;
    bench.worker().drain().await;
    let task = submitted(&bench).await;
    assert_eq!(bench.task(task).await.state, TaskState::Queued);
    assert!(bench.engine.jobs().is_empty());
}

#[tokio::test]
async fn a_step_that_takes_too_long_is_abandoned_and_its_task_given_back() {
    let bench = Bench::new().await;
    let engine: Arc<dyn Engine> = Arc::new(DeafEngine(tokio::sync::Notify::new()));
    let worker = bench.worker_for([(draw(), engine)].into(), |config| {
        config.drain_timeout = Duration::from_millis(20);
    });
    let task = submitted(&bench).await;
    bench
        .until(task, |task| task.state == TaskState::Started)
        .await;
    worker.drain().await;
    assert_eq!(bench.task(task).await.state, TaskState::Queued);
}

/// An engine whose steps never end.
struct DeafEngine(tokio::sync::Notify);

#[async_trait::async_trait]
impl Engine for DeafEngine {
    fn model_name(&self) -> &str {
        "deaf"
    }

    async fn run(
        &self,
        _job: tintype_engine::Job,
        progress: tintype_engine::ProgressSink,
        _cancellation: tintype_engine::Cancellation,
    ) -> Result<tintype_engine::Drawing, tintype_engine::Error> {
        progress(tintype_engine::Progress::Started);
        self.0.notified().await;
        Err(tintype_engine::Error::Cancelled)
    }
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_changes_nothing_any_more() {
    let bench = Bench::new().await;
    let hold = bench.engine.then_hold();
    // It does not beat again in this test: it has lost touch.
    let slow = bench.worker_with(|config| config.beat = Duration::from_secs(3600));
    let task = submitted(&bench).await;
    hold.reached().await;
    bench.clock.advance(LEASE * 2);

    let second = FakeEngine::new();
    let engine: Arc<dyn Engine> = second.clone();
    let _quick = bench.worker_for([(draw(), engine)].into(), |_| {});
    let ended = bench.ended(task).await;
    assert_eq!(
        (ended.epoch, ended.exit_code),
        (Epoch(2), Some(ExitCode::SUCCESS))
    );

    hold.open();
    slow.drain().await;
    assert_eq!(bench.task(task).await, ended);
    assert_eq!(
        bench
            .states(task)
            .await
            .iter()
            .filter(|state| state.is_final())
            .count(),
        1
    );
    let stale = Outcome::Failed {
        exit_code: ExitCode::ENGINE,
        debug_error: String::new(),
    };
    let now = ended.times.latest();
    let fenced = bench
        .store
        .complete(task, Epoch(1), stale, now)
        .await
        .expect("answers");
    assert_eq!(fenced, Fenced::Stale);
}

#[tokio::test]
async fn an_engine_that_goes_away_costs_no_task() {
    let bench = Bench::new().await;
    bench.engine.then(Behaviour::Unavailable);
    let _worker = bench.worker();
    let task = submitted(&bench).await;
    assert_eq!(bench.ended(task).await.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(bench.engine.jobs().len(), 2);
}
