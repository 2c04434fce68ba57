//! Runs that fail: with a reason, and alone.

use serde_json::json;
use tintype_domain::{ExitCode, Maker, Task, TaskState};
use tintype_engine::{Error, FileType, Moderated, PictureFile, Reason, Stage, Unavailable};
use tintype_service::test_support::Behaviour;

use crate::bench::{Bench, draw, edit};

async fn run(bench: &Bench) -> Task {
    let submitted = bench.submit(&draw(), json!({ "prompt": "x" })).await;
    bench.ended(submitted.task).await
}

fn assert_failed(task: &Task, exit_code: ExitCode, reason: &str) {
    assert_eq!(
        (task.state, task.exit_code),
        (TaskState::Finished, Some(exit_code))
    );
    assert!(task.debug_error.contains(reason), "{}", task.debug_error);
    assert!(task.outputs.is_empty());
}

#[tokio::test]
async fn what_an_engine_says_reaches_the_person_who_asked() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    bench
        .engine
        .then(Behaviour::Reject("This model draws no letters.".into()));
    assert_failed(
        &run(&bench).await,
        ExitCode::INPUT,
        "This model draws no letters.",
    );
    bench
        .engine
        .then(Behaviour::Fail("a tensor is not finite".into()));
    let failed = run(&bench).await;
    assert_failed(&failed, ExitCode::ENGINE, "a tensor is not finite");
    let tail = [
        TaskState::Ended,
        TaskState::PostprocessStarted,
        TaskState::Finished,
    ];
    assert!(bench.states(failed.id).await.ends_with(&tail));
}

#[tokio::test]
async fn a_moderated_task_names_the_category_and_costs_nothing() {
    for (stage, reason) in [
        (Stage::Request, "Request moderated: violence"),
        (Stage::Content, "Content moderated: violence"),
    ] {
        let bench = Bench::new().await;
        let _worker = bench.worker();
        bench
            .engine
            .then(Behaviour::Refuse(Error::Moderated(Moderated {
                stage,
                category: Some("violence".to_owned()),
            })));
        let task = run(&bench).await;
        assert_failed(&task, ExitCode::MODERATED, reason);
        assert_eq!(task.debug_error, reason);
        assert_eq!((task.cost_micros, task.maker), (0, None));
    }
}

fn refuse(reason: Reason, message: &str) -> Behaviour {
    Behaviour::Refuse(Unavailable::new(reason, message).into())
}

#[tokio::test]
async fn an_engine_that_is_down_for_a_moment_is_waited_for() {
    let bench = Bench::new().await;
    let engine: std::sync::Arc<dyn tintype_engine::Engine> = bench.engine.clone();
    let _worker = bench.worker_for([(draw(), engine)].into(), |config| {
        config.poll = std::time::Duration::from_millis(1);
    });
    bench
        .engine
        .then(refuse(Reason::Down, "it does not answer"));
    bench
        .engine
        .then(refuse(Reason::OverLimits, "it has too much to do"));
    let task = run(&bench).await;
    assert_eq!(task.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(bench.engine.jobs().len(), 3);
    let maker = Maker {
        engine: "fake".to_owned(),
        model: "fake".to_owned(),
    };
    assert_eq!(task.maker, Some(maker));
    let accepted = bench.states(task.id).await;
    let accepted = accepted
        .iter()
        .filter(|&&state| state == TaskState::Accepted);
    assert_eq!(accepted.count(), 1, "it was not given back");
}

#[tokio::test]
async fn patience_with_an_engine_that_stays_down_ends_with_its_words() {
    let bench = Bench::new().await;
    let engine: std::sync::Arc<dyn tintype_engine::Engine> = bench.engine.clone();
    let _worker = bench.worker_for([(draw(), engine)].into(), |config| {
        config.patience = std::time::Duration::ZERO;
    });
    bench
        .engine
        .then(refuse(Reason::Down, "it does not answer"));
    assert_failed(&run(&bench).await, ExitCode::ENGINE, "it does not answer");
}

#[tokio::test]
async fn what_only_an_operator_can_mend_fails_at_once() {
    for reason in [Reason::NoWeights, Reason::OutOfCredit] {
        let bench = Bench::new().await;
        let _worker = bench.worker();
        bench.engine.then(refuse(reason, "tell the operator"));
        assert_failed(&run(&bench).await, ExitCode::ENGINE, "tell the operator");
        assert_eq!(bench.engine.jobs().len(), 1);
    }
}

#[tokio::test]
async fn a_delivered_file_is_kept_as_it_is_if_it_is_of_the_type_asked_for() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let deliver = |file_type| {
        Behaviour::Deliver(PictureFile {
            file_type,
            bytes: "a file".into(),
        })
    };
    bench.engine.then(deliver(FileType::Png));
    let kept = run(&bench).await;
    assert_eq!(bench.blob(&kept.outputs[0].blob_key).await, "a file");
    bench.engine.then(deliver(FileType::Jpeg));
    let encoded = run(&bench).await;
    let bytes = bench.blob(&encoded.outputs[0].blob_key).await;
    assert_eq!(&bytes[1..4], b"PNG", "the pixels were encoded");
}

#[tokio::test]
async fn a_panic_is_the_failure_of_one_task() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    bench.engine.then(Behaviour::Panic);
    assert_failed(
        &run(&bench).await,
        ExitCode::ENGINE,
        "An internal error stopped this task.",
    );
    assert_eq!(
        run(&bench).await.exit_code,
        Some(ExitCode::SUCCESS),
        "the next one is drawn"
    );
}

#[tokio::test]
async fn a_tool_without_a_model_is_told() {
    let bench = Bench::new().await;
    let engine: std::sync::Arc<dyn tintype_engine::Engine> = bench.engine.clone();
    let _worker = bench.worker_for([(edit(), engine)].into(), |_| {});
    let reason = "No model is bound to the tool black-forest-labs/flux-pro-1.1";
    assert_failed(&run(&bench).await, ExitCode::ENGINE, reason);
}

#[tokio::test]
async fn a_full_disk_under_the_pictures_fails_with_what_to_do() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    bench.faults.fail("put", u32::MAX);
    let reason = "The picture was drawn but could not be stored: the file store cannot be used \
                  right now: no space left on device. Free space on the server's disk";
    assert_failed(&run(&bench).await, ExitCode::STORAGE, reason);
    bench.faults.none();
    assert_eq!(run(&bench).await.exit_code, Some(ExitCode::SUCCESS));
}

#[tokio::test]
async fn a_hiccup_of_the_blob_store_is_not_noticed() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    bench.faults.fail("put", 1);
    let task = run(&bench).await;
    assert_eq!(task.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(bench.faults.left("put"), 0, "it was hit");
}

#[tokio::test]
async fn a_store_that_cannot_write_the_end_is_waited_for_and_the_picture_kept() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    bench.faults.fail("complete", 3);
    let task = run(&bench).await;
    assert_eq!(task.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(bench.faults.left("complete"), 0, "it was hit");
    assert_eq!(bench.engine.jobs().len(), 1, "drawn once");
    assert_eq!(
        bench.blob(&task.outputs[0].blob_key).await.len() as u64,
        task.outputs[0].size_bytes
    );
}

#[tokio::test]
async fn a_store_that_is_busy_in_between_costs_no_task() {
    let bench = Bench::new().await;
    bench.faults.fail("claim", 3);
    bench.faults.fail("record", 2);
    bench.faults.fail("heartbeat", 3);
    bench.faults.fail("reap", 3);
    let _worker = bench.worker();
    assert_eq!(run(&bench).await.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(
        (bench.faults.left("claim"), bench.faults.left("record")),
        (0, 0)
    );
}

#[tokio::test]
async fn a_file_store_in_trouble_is_not_blamed_on_the_input() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let bytes = crate::bench::picture(4, 4, image::ImageFormat::Png);
    let upload = vec![
        (
            "prompt".to_owned(),
            tintype_service::RawValue::Json(json!("x")),
        ),
        crate::bench::part("inputImage", "a.png", bytes),
    ];
    bench.faults.fail("get", 1);
    let submitted = bench.try_submit_edit(upload).await.expect("accepted");
    let task = bench.ended(submitted.task).await;
    assert_failed(
        &task,
        ExitCode::STORAGE,
        "could not be read from the file store",
    );
}
