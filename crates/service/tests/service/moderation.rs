//! Moderation as clients and operators see it: what ends, what is told, what is never kept.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use serde_json::{Value, json};
use tintype_domain::{ExitCode, Task, TaskState};
use tintype_moderation::{Category, RuleSet, Thresholds, Unjudged};
use tintype_service::moderation::{Endpoint, EndpointConfig, Mode, Moderation, OnFailure};
use tintype_service::test_support::{Answer, Receiver, StandInJudge};
use tintype_service::watch::{News, Watch, Watcher};
use tintype_service::{ServiceConfig, SubmitError};

use crate::bench::{Bench, draw, edit, picture, raw};

/// What the fake engine draws with this seed begins with this pixel.
const SEED: u64 = 0x0030_2010;
const COLOUR: [u8; 3] = [0x10, 0x20, 0x30];

/// A prompt that the built-in rules stop at the usual tolerance.
const STOPPED: &str = "a nude woman";

fn words_only() -> Moderation {
    Moderation {
        mode: Mode::On,
        texts: vec![Arc::new(RuleSet::builtin())],
        ..Moderation::off()
    }
}

fn with_pictures(judge: &Arc<StandInJudge>) -> Moderation {
    Moderation {
        pictures: vec![judge.clone()],
        ..words_only()
    }
}

async fn bench(moderation: Moderation) -> Bench {
    Bench::with(|config: &mut ServiceConfig| config.moderation = moderation).await
}

async fn run(bench: &Bench, fields: Value) -> Task {
    let submitted = bench.submit(&draw(), fields).await;
    bench.ended(submitted.task).await
}

fn assert_moderated(task: &Task, reason: &str) {
    assert_eq!(
        (task.state, task.exit_code, task.debug_error.as_str()),
        (TaskState::Finished, Some(ExitCode::MODERATED), reason)
    );
    assert!(task.outputs.is_empty());
    assert_eq!(task.cost_micros, 0);
}

/// The bytes of pictures that stand in the blob store.
async fn pictures_kept(bench: &Bench) -> usize {
    use futures::TryStreamExt;
    let prefix = object_store::path::Path::from("tasks");
    let kept: Vec<_> = bench
        .blobs
        .list(Some(&prefix))
        .try_collect()
        .await
        .expect("a list");
    kept.len()
}

#[tokio::test]
async fn a_moderated_prompt_ends_before_anything_is_done_for_it() {
    let bench = bench(words_only()).await;
    let _worker = bench.worker();
    let fields = json!({ "prompt": STOPPED, "inputImageUrl": "nobody-uploaded-this.png" });
    let submitted = bench.submit(&edit(), fields).await;
    let task = bench.ended(submitted.task).await;
    assert_moderated(&task, "Request moderated: sexual");
    assert!(bench.engine.jobs().is_empty(), "nothing was drawn");
    let states = bench.states(task.id).await;
    let tail = [
        TaskState::Ended,
        TaskState::PostprocessStarted,
        TaskState::Finished,
    ];
    assert!(states.ends_with(&tail), "{states:?}");
    assert!(!states.contains(&TaskState::Started), "{states:?}");
    let spoken = format!("{} {}", task.debug_error, task.debug_output);
    assert!(!spoken.contains("nude"), "{spoken}");
}

#[tokio::test]
async fn the_task_s_tolerance_decides() {
    let bench = bench(words_only()).await;
    let _worker = bench.worker();
    for (level, expected) in [("0", 5), ("2", 5), ("3", 0), ("6", 0)] {
        let task = run(
            &bench,
            json!({ "prompt": STOPPED, "safetyTolerance": level }),
        )
        .await;
        assert_eq!(task.exit_code, Some(ExitCode(expected)), "at {level}");
    }
    let minors = json!({ "prompt": "a naked child", "safetyTolerance": "6" });
    assert_moderated(
        &run(&bench, minors).await,
        "Request moderated: sexual/minors",
    );
}

#[tokio::test]
async fn a_moderated_input_picture_reaches_no_engine() {
    let judge = StandInJudge::new();
    judge.sees([0, 0, 0], Category::ViolenceGraphic, 0.5);
    let bench = bench(with_pictures(&judge)).await;
    let _worker = bench.worker();
    let image = STANDARD.encode(picture(8, 8, ImageFormat::Png));
    let fields = json!({ "prompt": "x", "inputImage": image, "seed": 1 });
    let submitted = bench.submit(&edit(), fields).await;
    let task = bench.ended(submitted.task).await;
    assert_moderated(&task, "Request moderated: violence/graphic");
    assert!(bench.engine.jobs().is_empty());
}

#[tokio::test]
async fn a_moderated_output_is_never_kept() {
    let judge = StandInJudge::new();
    judge.sees(COLOUR, Category::Hate, 0.5);
    let bench = bench(with_pictures(&judge)).await;
    let _worker = bench.worker();
    let fields = |level: u8| json!({ "prompt": "x", "seed": SEED, "safetyTolerance": level });
    let task = run(&bench, fields(2)).await;
    assert_moderated(&task, "Content moderated: hate");
    assert_eq!(bench.engine.jobs().len(), 1);
    assert_eq!(pictures_kept(&bench).await, 0, "no byte was written");
    assert_eq!(task.maker, None);
    let task = run(&bench, fields(4)).await;
    assert_eq!(
        (task.exit_code, task.debug_error.as_str()),
        (Some(ExitCode::SUCCESS), "")
    );
    assert_eq!(
        pictures_kept(&bench).await,
        1,
        "at a higher tolerance it is"
    );
}

#[tokio::test]
async fn previews_are_withheld_where_pictures_are_judged() {
    for (moderation, wanted) in [
        (words_only(), true),
        (with_pictures(&StandInJudge::new()), false),
    ] {
        let bench = bench(moderation).await;
        let hold = bench.engine.then_hold();
        let submitted = bench.submit(&draw(), json!({ "prompt": "x" })).await;
        let mut watcher = bench.service.watcher();
        let how = Watch {
            after: None,
            preview: true,
        };
        let watched = watcher.watch(submitted.token, how).await;
        watched.expect("somebody watches from the beginning");
        let _worker = bench.worker();
        hold.reached().await;
        assert_eq!(bench.engine.jobs()[0].previews.is_raised(), wanted);
        if wanted {
            while !shows_preview(&mut watcher).await {}
            hold.open();
        } else {
            hold.open();
            bench.ended(submitted.task).await;
            assert!(!shows_preview(&mut watcher).await);
        }
    }
}

async fn shows_preview(watcher: &mut Watcher) -> bool {
    watcher.ready().await;
    let notices = watcher.take().await.expect("notices");
    notices
        .iter()
        .any(|notice| matches!(notice.news, News::Preview(_)))
}

#[tokio::test]
async fn a_judge_that_fails_closes_or_opens_as_the_operator_says() {
    for (mode, on_failure, expected) in [
        (Mode::On, OnFailure::FailClosed, ExitCode::ENGINE),
        (Mode::On, OnFailure::FailOpen, ExitCode::SUCCESS),
        (Mode::Required, OnFailure::FailOpen, ExitCode::ENGINE),
        (Mode::Off, OnFailure::FailClosed, ExitCode::SUCCESS),
    ] {
        let judge = StandInJudge::new();
        judge.fails(Unjudged::Unreachable);
        let moderation = Moderation {
            mode,
            on_failure,
            texts: vec![judge.clone()],
            pictures: vec![StandInJudge::new()],
            ..Moderation::off()
        };
        let bench = bench(moderation).await;
        let _worker = bench.worker();
        let task = run(&bench, json!({ "prompt": "x" })).await;
        assert_eq!(task.exit_code, Some(expected), "{mode:?} {on_failure:?}");
        let remark = match (mode, expected) {
            (Mode::Off, _) => "",
            (_, ExitCode::SUCCESS) => {
                "The prompt was not judged by every moderator: the moderator cannot be reached."
            }
            _ => {
                "The prompt could not be moderated: the moderator cannot be reached. Please submit \
                 it again later."
            }
        };
        assert_eq!(task.debug_error, remark);
    }
}

#[tokio::test]
async fn what_one_judge_stops_passes_no_failure_of_another() {
    let failing = StandInJudge::new();
    failing.fails(Unjudged::Failed);
    let moderation = Moderation {
        on_failure: OnFailure::FailOpen,
        texts: vec![failing, Arc::new(RuleSet::builtin())],
        ..words_only()
    };
    let bench = bench(moderation).await;
    let _worker = bench.worker();
    let task = run(&bench, json!({ "prompt": STOPPED })).await;
    assert_moderated(&task, "Request moderated: sexual");
}

#[tokio::test]
async fn required_moderation_without_a_judge_of_pictures_refuses_runs() {
    let required = Moderation {
        mode: Mode::Required,
        ..words_only()
    };
    let reason = "This service runs only what it can moderate, and pictures are not moderated. Its \
                  operator has to set a moderator up.";
    let bench = bench(words_only()).await;
    let before = bench.submit(&draw(), json!({ "prompt": "x" })).await;
    let bench = bench
        .restart_with((), |config| config.moderation = required)
        .await;
    let refused = bench
        .try_submit(&draw(), raw(json!({ "prompt": "x" })))
        .await;
    assert!(
        matches!(&refused, Err(SubmitError::NotModerated(said)) if said == reason),
        "{refused:?}"
    );
    let _worker = bench.worker();
    let task = bench.ended(before.task).await;
    assert_eq!(
        (task.exit_code, task.debug_error.as_str()),
        (Some(ExitCode::ENGINE), reason)
    );
    assert!(bench.engine.jobs().is_empty());
}

fn endpoint(receiver: &Receiver, timeout: Duration) -> Arc<Endpoint> {
    let base = receiver.url.trim_end_matches("/hook");
    let config = EndpointConfig {
        url: base.parse().expect("an address"),
        model: Some("guard-1".to_owned()),
        key: Some("hush".to_owned().into()),
        timeout,
        categories: [("S9".to_owned(), Category::Illicit)].into(),
    };
    Arc::new(Endpoint::new(config).expect("an endpoint"))
}

fn says(category: &str, score: f32) -> Answer {
    let answer =
        json!({ "results": [{ "flagged": false, "category_scores": { category: score } }] });
    Answer::Says(200, answer.to_string())
}

const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_endpoint_is_asked_for_prompts_and_pictures() {
    let receiver = Receiver::start(|number| match number {
        0 => says("sexual", 0.01),
        1 => says("violence", 0.01),
        _ => says("S9", 0.99),
    })
    .await;
    let endpoint = endpoint(&receiver, PATIENT);
    let moderation = Moderation {
        texts: vec![endpoint.clone()],
        pictures: vec![endpoint],
        ..words_only()
    };
    let bench = bench(moderation).await;
    let _worker = bench.worker();
    let image = STANDARD.encode(picture(8, 8, ImageFormat::Png));
    let fields = json!({ "prompt": "a cookie", "inputImage": image });
    let submitted = bench.submit(&edit(), fields).await;
    let task = bench.ended(submitted.task).await;
    assert_moderated(&task, "Content moderated: illicit");
    let calls = receiver.called(3).await;
    assert_eq!(calls[0].header("authorization"), "Bearer hush");
    assert_eq!(
        calls[0].json(),
        json!({ "input": "a cookie", "model": "guard-1" })
    );
    for call in &calls[1..] {
        let input = &call.json()["input"][0];
        assert_eq!(input["type"], "image_url");
        let url = input["image_url"]["url"].as_str().expect("a picture");
        assert!(url.starts_with("data:image/jpeg;base64,"), "{url}");
    }
}

#[tokio::test]
async fn an_endpoint_that_misbehaves_is_not_taken_for_a_good_word() {
    let long = || Answer::Says(200, " ".repeat(300 * 1024));
    for (answer, reason) in [
        (
            Answer::Status(500),
            "the moderator answered with status 500",
        ),
        (
            Answer::Status(401),
            "the moderator answered with status 401",
        ),
        (
            Answer::Status(302),
            "the moderator answered with status 302",
        ),
        (
            Answer::Says(200, "{".into()),
            "the moderator's answer cannot be used: it is no JSON",
        ),
        (
            Answer::Says(200, "{}".into()),
            "the moderator's answer cannot be used: it has no results",
        ),
        (
            says("astrology", 0.1),
            "the moderator's answer cannot be used: it names no category that is known",
        ),
        (
            says("sexual", 7.0),
            "the moderator's answer cannot be used: a score is not between 0 and 1",
        ),
        (
            long(),
            "the moderator's answer cannot be used: it is too long",
        ),
        (
            Answer::BreaksOff,
            "the moderator's answer cannot be used: it broke off",
        ),
    ] {
        let receiver = Receiver::start(move |_| answer.clone()).await;
        let moderation = Moderation {
            texts: vec![endpoint(&receiver, PATIENT)],
            ..words_only()
        };
        let bench = bench(moderation).await;
        let _worker = bench.worker();
        let task = run(&bench, json!({ "prompt": "x" })).await;
        let expected =
            format!("The prompt could not be moderated: {reason}. Please submit it again later.");
        assert_eq!(
            (task.exit_code, task.debug_error),
            (Some(ExitCode::ENGINE), expected)
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_is_given_up_and_then_left_alone() {
    let receiver = Receiver::start(|_| Answer::Silence).await;
    let moderation = Moderation {
        texts: vec![endpoint(&receiver, Duration::from_millis(20))],
        thresholds: Thresholds::default(),
        ..words_only()
    };
    let bench = bench(moderation).await;
    let _worker = bench.worker();
    let mut reasons = Vec::new();
    for _ in 0..7 {
        reasons.push(run(&bench, json!({ "prompt": "x" })).await.debug_error);
    }
    assert!(
        reasons[0].contains("did not answer within 20ms"),
        "{reasons:?}"
    );
    assert!(
        reasons[6].contains("is not asked for a while"),
        "{reasons:?}"
    );
    assert!(receiver.calls().len() <= 5, "it was left alone");
}

#[tokio::test]
async fn a_task_that_is_killed_does_not_wait_for_a_judge() {
    let receiver = Receiver::start(|_| Answer::Silence).await;
    let moderation = Moderation {
        texts: vec![endpoint(&receiver, PATIENT)],
        ..words_only()
    };
    let bench = bench(moderation).await;
    let _worker = bench.worker();
    let submitted = bench.submit(&draw(), json!({ "prompt": "x" })).await;
    receiver.called(1).await;
    let task = tintype_domain::TaskRef::Id(submitted.task);
    bench
        .service
        .kill(&bench.principal, &task)
        .await
        .expect("killed");
    assert_eq!(
        bench.ended(submitted.task).await.state,
        TaskState::Cancelled
    );
}
