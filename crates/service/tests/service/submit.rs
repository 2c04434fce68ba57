//! What is accepted, and what is recorded of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use serde_json::json;
use tintype_domain::{Task, TaskRef, TaskState, ToolSlug};
use tintype_service::{RawInputs, RawValue, SubmitError};

use crate::bench::{Bench, PUBLIC_URL, draw, edit, part, picture, raw};

async fn refusals(bench: &Bench, tool: &ToolSlug, raw: RawInputs) -> Vec<String> {
    match bench.try_submit(tool, raw).await {
        Err(SubmitError::Invalid(sentences)) => sentences,
        other => panic!("not refused for its inputs: {other:?}"),
    }
}

async fn queued(bench: &Bench) -> u64 {
    let query = tintype_store::TaskQuery {
        project: bench.principal.project,
        tool: None,
        descending: true,
        start: 0,
        limit: 10,
    };
    bench.store.list(query).await.expect("the store answers").1
}

async fn accepted(bench: &Bench, tool: &ToolSlug, raw: RawInputs) -> Task {
    let submitted = bench.try_submit(tool, raw).await.expect("accepted");
    bench.task(submitted.task).await
}

#[tokio::test]
async fn an_accepted_run_is_in_the_store_with_its_effective_parameters() {
    let bench = Bench::new().await;
    let fields =
        json!({ "prompt": "a red circle", "seed": 7, "projectid": "9", "sampler": "euler" });
    let submitted = bench.submit(&draw(), fields).await;
    let task = bench.task(submitted.task).await;
    assert_eq!(task.token, submitted.token);
    assert_eq!(task.token.as_str().len(), 30);
    assert_eq!(task.state, TaskState::Queued);
    assert_eq!(task.project, bench.principal.project);
    let expected = json!({
        "prompt": "a red circle", "promptUpsampling": "false", "safetyTolerance": "2",
        "aspectRatio": "16:9", "seed": "7", "outputFormat": "png",
    });
    assert_eq!(json!(task.parameters), expected);
    assert_eq!((task.callback_url, task.warnings), (None, vec![]));
}

#[tokio::test]
async fn an_unknown_tool_is_told_so() {
    let bench = Bench::new().await;
    let tool = ToolSlug::new("black-forest-labs", "flux-9");
    let error = bench
        .try_submit(&tool, raw(json!({ "prompt": "x" })))
        .await
        .expect_err("refused");
    assert!(matches!(error, SubmitError::UnknownTool));
    assert_eq!(error.to_string(), "slug-owner-project-not-exist");
}

#[tokio::test]
async fn missing_and_absurd_parameters_are_refused_and_nothing_is_queued() {
    let bench = Bench::new().await;
    let absurd = raw(json!({ "seed": "x", "safetyTolerance": 99, "aspectRatio": "0:0" }));
    let sentences = refusals(&bench, &edit(), absurd).await;
    assert_eq!(sentences[0], "Request parameter [prompt] required");
    assert_eq!(
        sentences[1],
        "Request parameter [safetyTolerance] must be between 0 and 6"
    );
    assert!(sentences[2].starts_with("Request parameters are invalid. [aspectRatio] must be one"));
    assert_eq!(
        sentences[3],
        "Request parameter [seed] must be integer or float"
    );
    assert_eq!(queued(&bench).await, 0);
}

#[tokio::test]
async fn a_callback_that_is_no_address_never_fails_a_run() {
    let bench = Bench::new().await;
    for (callback, expected, warned) in [
        (
            json!("https://shop.example/hook?id=1"),
            Some("https://shop.example/hook?id=1"),
            false,
        ),
        (
            json!(["http://shop.example/hook"]),
            Some("http://shop.example/hook"),
            false,
        ),
        (json!(""), None, false),
        (json!(null), None, false),
        (
            json!("You can provide a callback URL; Wiro will send a POST request to it."),
            None,
            true,
        ),
        (json!("/relative"), None, true),
        (json!("ftp://shop.example/hook"), None, true),
        (json!("javascript:alert(1)"), None, true),
        (json!(42), None, true),
        (
            json!(format!("https://shop.example/{}", "x".repeat(9000))),
            None,
            true,
        ),
    ] {
        let fields = json!({ "prompt": "x", "callbackUrl": callback });
        let task = accepted(&bench, &draw(), raw(fields)).await;
        assert_eq!(task.callback_url.as_deref(), expected, "{callback}");
        assert_eq!(!task.warnings.is_empty(), warned, "{callback}");
    }
}

#[tokio::test]
async fn an_empty_seed_is_drawn_and_recorded() {
    let bench = Bench::new().await;
    let seed = async || {
        let fields = raw(json!({ "prompt": "x", "seed": "" }));
        accepted(&bench, &draw(), fields).await.parameters["seed"].clone()
    };
    let (first, second) = (seed().await, seed().await);
    assert_ne!(first, second);
    assert!(
        first.as_str().expect("text").parse::<u32>().is_ok(),
        "{first}"
    );
}

#[tokio::test]
async fn an_uploaded_part_is_kept_and_echoed_by_its_address() {
    let bench = Bench::new().await;
    let bytes = picture(20, 10, ImageFormat::Png);
    let mut fields = raw(json!({ "prompt": "x" }));
    fields.push(part("inputImage", "C:\\my photo.png", bytes.clone()));
    let task = accepted(&bench, &edit(), fields).await;
    let url = task.parameters["inputImageUrl"]
        .as_str()
        .expect("text")
        .to_owned();
    let path = url
        .strip_prefix(PUBLIC_URL)
        .expect("an address of this service");
    let (directory, name) = path[1..].split_once('/').expect("two parts");
    assert_eq!(name, "my_photo.png");
    assert_eq!(directory.len(), 8 * 8 + 7);
    let file = bench
        .service
        .output_file(directory, name)
        .await
        .expect("asked")
        .expect("there");
    assert_eq!(file.content_type, "image/png");
    assert_eq!(file.bytes, bytes);
}

#[tokio::test]
async fn a_picture_written_into_the_field_is_kept_as_a_file() {
    let bench = Bench::new().await;
    let base64 = STANDARD.encode(picture(20, 10, ImageFormat::Jpeg));
    for inline in [base64.clone(), format!("data:image/png;base64,{base64}")] {
        let fields = raw(json!({ "prompt": "x", "inputImageUrl": [inline] }));
        let task = accepted(&bench, &edit(), fields).await;
        let url = task.parameters["inputImageUrl"].as_str().expect("text");
        assert!(
            url.starts_with(PUBLIC_URL) && url.ends_with("/inputImageUrl.jpg"),
            "{url}"
        );
    }
}

#[tokio::test]
async fn pictures_that_cannot_be_read_from_the_field_are_refused() {
    let bench = Bench::new().await;
    let long_text = "not base64 at all!".repeat(100);
    for (inline, reason) in [
        (
            "data:image/png;base64,???",
            "is a data: URI whose base64 is damaged",
        ),
        (
            "data:image/svg+xml,<svg/>",
            "is a data: URI that is not in base64",
        ),
        (
            &long_text,
            "is neither an address, nor a file name, nor base64",
        ),
    ] {
        let fields = raw(json!({ "prompt": "x", "inputImageUrl": inline }));
        let sentence = format!("Request parameters are invalid. [inputImageUrl] {reason}");
        assert_eq!(refusals(&bench, &edit(), fields).await, [sentence]);
    }
    let mut fields = raw(json!({ "prompt": "x" }));
    fields.push(part(
        "inputImageUrl",
        "large.png",
        vec![0; 20 * 1024 * 1024 + 1],
    ));
    let sentence = "Request parameters are invalid. [inputImageUrl] is larger than 20 MB";
    assert_eq!(refusals(&bench, &edit(), fields).await, [sentence]);
    assert_eq!(queued(&bench).await, 0);
}

#[tokio::test]
async fn an_empty_part_is_a_field_left_alone() {
    let bench = Bench::new().await;
    let mut fields = raw(json!({ "prompt": "x", "inputImageUrl": "https://shop.example/a.png" }));
    fields.push(part("inputImage", "", &b""[..]));
    let task = accepted(&bench, &edit(), fields).await;
    assert_eq!(
        task.parameters["inputImageUrl"],
        "https://shop.example/a.png"
    );
}

#[tokio::test]
async fn a_picture_without_bytes_is_refused_and_not_passed_over() {
    let bench = Bench::new().await;
    let mut fields = raw(json!({ "prompt": "x" }));
    fields.push(part("inputImage", "cat.png", &b""[..]));
    let sentence =
        "Request parameters are invalid. [inputImageUrl] is an empty file: it has 0 bytes";
    assert_eq!(refusals(&bench, &edit(), fields).await, [sentence]);
    assert_eq!(queued(&bench).await, 0);
}

#[tokio::test]
async fn a_text_that_comes_as_a_file_is_a_text() {
    let bench = Bench::new().await;
    let fields = vec![part("prompt", "prompt.txt", "a red circle")];
    assert_eq!(
        accepted(&bench, &draw(), fields).await.parameters["prompt"],
        "a red circle"
    );
    let surplus: RawInputs = vec![
        ("prompt".into(), RawValue::Json(json!("x"))),
        part("inputImage2", "a.png", picture(2, 2, ImageFormat::Png)),
    ];
    let task = accepted(&bench, &draw(), surplus).await;
    assert!(
        !task.parameters.contains_key("inputImage2"),
        "this tool takes no second picture"
    );
}

#[tokio::test]
async fn a_full_disk_accepts_nothing_and_the_same_call_works_later() {
    let bench = Bench::new().await;
    for operation in ["put", "submit"] {
        let run = || {
            let mut fields = raw(json!({ "prompt": "x" }));
            fields.push(part("inputImage", "a.png", picture(2, 2, ImageFormat::Png)));
            bench.try_submit_edit(fields)
        };
        let before = queued(&bench).await;
        bench.faults.fail(operation, 1);
        let error = run().await.expect_err("refused");
        assert!(
            matches!(error, SubmitError::Service(_)),
            "{operation}: {error}"
        );
        assert_eq!(queued(&bench).await, before, "{operation}");
        assert!(run().await.is_ok(), "{operation}");
    }
}

#[tokio::test]
async fn a_task_is_shown_to_its_own_project_only() {
    let bench = Bench::new().await;
    let submitted = bench.submit(&draw(), json!({ "prompt": "x" })).await;
    let mut stranger = bench.principal.clone();
    stranger.project.0 += 1;
    for reference in [TaskRef::Id(submitted.task), TaskRef::Token(submitted.token)] {
        let own = bench
            .service
            .detail(&bench.principal, &reference)
            .await
            .expect("asked");
        assert_eq!(own.map(|task| task.id), Some(submitted.task));
        assert_eq!(
            bench
                .service
                .detail(&stranger, &reference)
                .await
                .expect("asked"),
            None
        );
    }
}
