//! Prompts that are rewritten before they are drawn: what is drawn from, what is on record, and
//! what happens when it does not work.

use std::sync::Arc;

use image::ImageFormat;
use serde_json::{Value, json};
use tintype_domain::{ExitCode, Task, TaskState};
use tintype_engine::upsampling::{NotUpsampled, Purpose, Upsampler};
use tintype_moderation::{Category, Unjudged};
use tintype_service::moderation::{Mode, Moderation, OnFailure};
use tintype_service::test_support::{StandInJudge, StandInUpsampler};
use tintype_service::upsampling::{ToolUpsampling, Upsampling};

use crate::bench::{Bench, LEASE, draw, edit, part, picture};

/// This upsampler for both tools.
pub fn upsampled_by(upsampler: &Arc<impl Upsampler>, required: bool) -> Upsampling {
    let of_tool = |tool| {
        let upsampler: Arc<dyn Upsampler> = upsampler.clone();
        let upsampler = Some(upsampler);
        (
            tool,
            ToolUpsampling {
                upsampler,
                required,
            },
        )
    };
    [draw(), edit()].map(of_tool).into_iter().collect()
}

async fn bench(upsampler: &Arc<StandInUpsampler>, required: bool) -> Bench {
    Bench::with(|config| config.upsampling = upsampled_by(upsampler, required)).await
}

async fn moderated(
    upsampler: &Arc<StandInUpsampler>,
    required: bool,
) -> (Bench, Arc<StandInJudge>) {
    let judge = StandInJudge::new();
    let moderation = Moderation {
        mode: Mode::On,
        on_failure: OnFailure::FailClosed,
        texts: vec![judge.clone()],
        ..Moderation::off()
    };
    let bench = Bench::with(|config| {
        config.upsampling = upsampled_by(upsampler, required);
        config.moderation = moderation;
    });
    (bench.await, judge)
}

fn wished(prompt: &str) -> Value {
    json!({ "prompt": prompt, "seed": 7, "promptUpsampling": "true" })
}

pub async fn run(bench: &Bench, fields: Value) -> Task {
    let submitted = bench.submit(&draw(), fields).await;
    bench.ended(submitted.task).await
}

fn drawn_from(bench: &Bench) -> Vec<String> {
    let jobs = bench.engine.jobs().into_iter();
    jobs.map(|job| job.prompt).collect()
}

fn assert_drawn_as_sent(bench: &Bench, task: &Task, why: &str) {
    assert_eq!(task.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(task.upsampled_prompt, None);
    let expected = format!(
        "The prompt was not rewritten: {why}. The picture was drawn from the prompt as it was sent."
    );
    assert_eq!(task.debug_error, expected);
    assert_eq!(drawn_from(bench).last().map(String::as_str), Some("x"));
}

fn assert_refused(bench: &Bench, task: &Task, why: &str) {
    assert_eq!(task.exit_code, Some(ExitCode::ENGINE));
    assert_eq!(task.upsampled_prompt, None);
    let expected = format!(
        "The prompt could not be rewritten, which this tool requires: {why}. Submit it again later, \
         or without promptUpsampling."
    );
    assert_eq!(task.debug_error, expected);
    assert!(bench.engine.jobs().is_empty() && task.outputs.is_empty());
    assert_eq!(task.cost_micros, 0);
}

#[tokio::test]
async fn a_picture_is_drawn_from_the_rewriting_and_the_record_has_both() {
    let upsampler = StandInUpsampler::new();
    let bench = bench(&upsampler, false).await;
    let _worker = bench.worker();
    let task = run(&bench, wished("x")).await;
    assert_eq!(task.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(task.upsampled_prompt.as_deref(), Some("x, rewritten 7"));
    assert_eq!(task.parameters["prompt"], "x", "what was asked stays");
    assert_eq!(task.debug_error, "");
    let job = &bench.engine.jobs()[0];
    assert_eq!((job.prompt.as_str(), job.seed), ("x, rewritten 7", 7));
    assert!(!job.prompt_upsampling, "no engine rewrites it again");
    assert_eq!(
        run(&bench, wished("x")).await.upsampled_prompt,
        task.upsampled_prompt
    );
}

#[tokio::test]
async fn nobody_is_asked_without_a_wish() {
    let upsampler = StandInUpsampler::new();
    let bench = bench(&upsampler, true).await;
    let _worker = bench.worker();
    let task = run(&bench, json!({ "prompt": "x" })).await;
    assert_eq!(
        (task.upsampled_prompt, task.debug_error.as_str()),
        (None, "")
    );
    assert_eq!(upsampler.wishes(), []);
}

#[tokio::test]
async fn a_task_without_a_seed_is_rewritten_with_the_one_that_was_drawn_for_it() {
    let upsampler = StandInUpsampler::new();
    let bench = bench(&upsampler, false).await;
    let _worker = bench.worker();
    let fields = json!({ "prompt": "x", "seed": "", "promptUpsampling": true });
    let task = run(&bench, fields).await;
    let seed = task.parameters["seed"].as_str().expect("a recorded seed");
    assert_eq!(task.upsampled_prompt, Some(format!("x, rewritten {seed}")));
}

#[tokio::test]
async fn an_instruction_is_rewritten_as_one_once_its_picture_is_there() {
    let upsampler = StandInUpsampler::new();
    let bench = bench(&upsampler, false).await;
    let _worker = bench.worker();
    let mut upload = crate::bench::raw(wished("x"));
    upload.push(part("inputImage", "a.png", picture(8, 8, ImageFormat::Png)));
    let submitted = bench.try_submit_edit(upload).await.expect("accepted");
    bench.ended(submitted.task).await;
    let submitted = bench.submit(&edit(), wished("x")).await;
    bench.ended(submitted.task).await;
    let missing = json!({ "prompt": "x", "promptUpsampling": true, "inputImageUrl": "gone.png" });
    let submitted = bench.submit(&edit(), missing).await;
    assert_eq!(
        bench.ended(submitted.task).await.exit_code,
        Some(ExitCode::INPUT)
    );
    let purposes: Vec<_> = upsampler.wishes().iter().map(|wish| wish.purpose).collect();
    assert_eq!(purposes, [Purpose::Edit, Purpose::Picture]);
}

#[tokio::test]
async fn one_retry_is_made_where_it_may_help() {
    let upsampler = StandInUpsampler::new();
    let bench = bench(&upsampler, false).await;
    let _worker = bench.worker();
    for (failure, seeds) in [
        (NotUpsampled::Status(503), [7, 7]),
        (NotUpsampled::Unusable("it is empty"), [7, 8]),
        (NotUpsampled::Declined, [7, 8]),
    ] {
        let before = upsampler.wishes().len();
        upsampler.then(Err(failure));
        upsampler.then(Ok("better"));
        let task = run(&bench, wished("x")).await;
        assert_eq!(task.upsampled_prompt.as_deref(), Some("better"));
        let asked: Vec<_> = upsampler.wishes()[before..]
            .iter()
            .map(|wish| wish.seed)
            .collect();
        assert_eq!(
            asked, seeds,
            "what cannot be used comes with the same seed again"
        );
    }
}

#[tokio::test]
async fn after_the_retry_the_picture_is_drawn_from_the_prompt_as_it_was_sent() {
    let upsampler = StandInUpsampler::new();
    let bench = bench(&upsampler, false).await;
    let _worker = bench.worker();
    for _ in 0..2 {
        upsampler.then(Err(NotUpsampled::Unusable("it is empty")));
    }
    let task = run(&bench, wished("x")).await;
    let why = "the upsampler gave an answer that cannot be used: it is empty";
    assert_drawn_as_sent(&bench, &task, why);
    assert!(
        bench.engine.jobs()[0].prompt_upsampling,
        "an engine may do it still"
    );
    assert_eq!(upsampler.wishes().len(), 2);
    upsampler.then(Err(NotUpsampled::Foreign));
    let task = run(&bench, wished("x")).await;
    let why = "the upsampler knows the bundled model's own language alone";
    assert_drawn_as_sent(&bench, &task, why);
    assert_eq!(upsampler.wishes().len(), 3, "a retry would not help");
}

#[tokio::test]
async fn where_it_is_required_the_task_fails_with_the_reason() {
    let upsampler = StandInUpsampler::new();
    let bench = bench(&upsampler, true).await;
    let _worker = bench.worker();
    for _ in 0..2 {
        upsampler.then(Err(NotUpsampled::Unreachable));
    }
    let task = run(&bench, wished("x")).await;
    assert_refused(&bench, &task, "the upsampler cannot be reached");
}

#[tokio::test]
async fn a_prompt_that_is_long_already_is_not_rewritten() {
    let upsampler = StandInUpsampler::new();
    let bench = bench(&upsampler, true).await;
    let _worker = bench.worker();
    let task = run(&bench, wished(&"x".repeat(2_001))).await;
    assert_refused(
        &bench,
        &task,
        "the upsampler takes prompts of at most 2000 characters",
    );
    assert_eq!(upsampler.wishes(), []);
    let task = run(&bench, wished(&"x".repeat(2_000))).await;
    assert_eq!(task.exit_code, Some(ExitCode::SUCCESS));
}

#[tokio::test]
async fn a_rewriting_that_is_moderated_is_shown_to_nobody() {
    let why = "moderation did not let the rewriting through";
    for required in [false, true] {
        let upsampler = StandInUpsampler::new();
        let (bench, judge) = moderated(&upsampler, required).await;
        judge.reads("marmalade", Category::Hate, 1.0);
        upsampler.then(Ok("x with marmalade"));
        let _worker = bench.worker();
        let task = run(&bench, wished("x")).await;
        if required {
            assert_refused(&bench, &task, why);
        } else {
            assert_drawn_as_sent(&bench, &task, why);
        }
        assert_eq!(judge.asked(), 2, "the prompt and the rewriting");
        assert!(!format!("{task:?}").contains("marmalade"));
        let clean = run(&bench, wished("y")).await;
        assert_eq!(clean.upsampled_prompt.as_deref(), Some("y, rewritten 7"));
    }
}

#[tokio::test]
async fn a_rewriting_that_cannot_be_moderated_is_not_drawn() {
    let upsampler = StandInUpsampler::new();
    let (bench, judge) = moderated(&upsampler, false).await;
    upsampler.hold(true);
    let _worker = bench.worker();
    let submitted = bench.submit(&draw(), wished("x")).await;
    upsampler.asked(1).await;
    judge.fails(Unjudged::Unreachable);
    upsampler.hold(false);
    let task = bench.ended(submitted.task).await;
    assert_drawn_as_sent(&bench, &task, "the rewriting could not be moderated");
}

#[tokio::test]
async fn a_kill_does_not_wait_for_an_upsampler() {
    let upsampler = StandInUpsampler::new();
    upsampler.hold(true);
    let bench = bench(&upsampler, false).await;
    let _worker = bench.worker();
    let submitted = bench.submit(&draw(), wished("x")).await;
    upsampler.asked(1).await;
    let task = tintype_domain::TaskRef::Id(submitted.task);
    bench
        .service
        .kill(&bench.principal, &task)
        .await
        .expect("killed");
    let task = bench.ended(submitted.task).await;
    assert_eq!(
        (task.state, task.upsampled_prompt),
        (TaskState::Cancelled, None)
    );
    assert_eq!(upsampler.waiting(), 0, "the call was given up");
    assert!(bench.engine.jobs().is_empty());
}

#[tokio::test]
async fn a_drain_does_not_wait_for_an_upsampler_and_the_next_worker_asks_again() {
    let upsampler = StandInUpsampler::new();
    upsampler.hold(true);
    let bench = bench(&upsampler, false).await;
    let worker = bench.worker();
    let submitted = bench.submit(&draw(), wished("x")).await;
    upsampler.asked(1).await;
    worker.drain().await;
    assert_eq!(bench.task(submitted.task).await.state, TaskState::Queued);
    assert_eq!(upsampler.waiting(), 0);
    upsampler.hold(false);
    let _next = bench.worker();
    let task = bench.ended(submitted.task).await;
    assert_eq!(task.upsampled_prompt.as_deref(), Some("x, rewritten 7"));
}

#[tokio::test]
async fn a_task_that_is_attempted_again_keeps_its_rewriting() {
    let upsampler = StandInUpsampler::new();
    upsampler.then(Ok("first"));
    upsampler.then(Ok("second"));
    let bench = bench(&upsampler, false).await;
    let hold = bench.engine.then_hold();
    let worker = bench.worker();
    let submitted = bench.submit(&draw(), wished("x")).await;
    hold.reached().await;
    let during = bench.task(submitted.task).await;
    assert_eq!(
        during.upsampled_prompt.as_deref(),
        Some("first"),
        "shown while it is drawn"
    );
    // As if the power went.
    drop(worker);
    bench.clock.advance(LEASE * 2);
    let _next = bench.worker();
    hold.open();
    let task = bench.ended(submitted.task).await;
    assert_eq!(task.upsampled_prompt.as_deref(), Some("first"));
    assert_eq!(drawn_from(&bench), ["first", "first"]);
    assert_eq!(upsampler.wishes().len(), 1, "nobody was asked again");
}

#[tokio::test]
async fn a_store_that_cannot_write_for_a_moment_is_waited_for() {
    let upsampler = StandInUpsampler::new();
    let bench = bench(&upsampler, false).await;
    bench.faults.fail("keep_upsampled_prompt", 2);
    let _worker = bench.worker();
    let task = run(&bench, wished("x")).await;
    assert_eq!(task.upsampled_prompt.as_deref(), Some("x, rewritten 7"));
    assert_eq!(bench.faults.left("keep_upsampled_prompt"), 0);
}
