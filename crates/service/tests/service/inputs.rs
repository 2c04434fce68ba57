//! Pictures to work from: found, refused, and why.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageFormat;
use serde_json::{Value, json};
use tintype_domain::{ExitCode, Task, TaskState};
use tokio::net::TcpListener;

use crate::bench::{Bench, PUBLIC_URL, draw, edit, part, picture, raw};

async fn run_edit(bench: &Bench, image: Value) -> Task {
    let fields = raw(json!({ "prompt": "x", "inputImageUrl": image }));
    let submitted = bench.try_submit(&edit(), fields).await.expect("accepted");
    bench.ended(submitted.task).await
}

async fn run_upload(bench: &Bench, name: &str, bytes: Vec<u8>) -> Task {
    let mut fields = raw(json!({ "prompt": "x" }));
    fields.push(part("inputImage", name, bytes));
    let submitted = bench.try_submit(&edit(), fields).await.expect("accepted");
    bench.ended(submitted.task).await
}

/// The sides of the picture that the engine was given last.
fn seen(bench: &Bench) -> Option<(u32, u32)> {
    let job = bench.engine.jobs().pop()?;
    job.references.first().map(|picture| picture.dimensions())
}

fn assert_failed(task: &Task, reason: &str) {
    assert_eq!(task.state, TaskState::Finished);
    assert_eq!(task.exit_code, Some(ExitCode::INPUT));
    assert_eq!(task.debug_error, reason);
    assert!(task.outputs.is_empty());
}

#[tokio::test]
async fn a_picture_is_found_however_it_is_named() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    run_upload(&bench, "wide.png", picture(30, 10, ImageFormat::Png)).await;
    assert_eq!(seen(&bench), Some((30, 10)), "an upload");
    run_edit(&bench, json!("wide.png")).await;
    assert_eq!(
        seen(&bench),
        Some((30, 10)),
        "the name of an earlier upload"
    );
    let base64 = STANDARD.encode(picture(10, 30, ImageFormat::WebP));
    run_edit(&bench, json!(base64)).await;
    assert_eq!(seen(&bench), Some((10, 30)), "base64");
    run_edit(&bench, json!(format!("data:image/webp;base64,{base64}"))).await;
    assert_eq!(seen(&bench), Some((10, 30)), "a data: URI");
    run_edit(&bench, json!("")).await;
    assert_eq!(seen(&bench), None, "none at all");
}

#[tokio::test]
async fn an_earlier_result_is_taken_without_a_detour_through_the_network() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let fields = json!({ "prompt": "x", "aspectRatio": "2:1" });
    let first = bench.submit(&draw(), fields).await;
    let output = bench.ended(first.task).await.outputs.remove(0);
    let url = bench.service.file_url(&output.directory, &output.name);
    assert!(
        url.starts_with(PUBLIC_URL),
        "a host that no test could reach: {url}"
    );
    run_edit(&bench, json!(url)).await;
    assert_eq!(seen(&bench), Some((32, 16)));
    let nothing = run_edit(&bench, json!(format!("{PUBLIC_URL}/nowhere/0.png"))).await;
    let reason = "The input image is an address of this service, but no file is there.";
    assert_failed(&nothing, reason);
}

#[tokio::test]
async fn a_name_that_nobody_uploaded_is_told() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    assert_failed(
        &run_edit(&bench, json!("holiday.jpg")).await,
        "The input image \"holiday.jpg\" was not found. Send an http(s) address, an uploaded file, \
         base64, or the name of a file that this project uploaded before.",
    );
}

#[tokio::test]
async fn a_file_of_another_project_is_not_found_by_its_name() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    run_upload(&bench, "mine.png", picture(4, 4, ImageFormat::Png)).await;
    let request = tintype_service::NewProjectRequest {
        name: "stranger".into(),
        auth: tintype_domain::AuthKind::Key,
        allowed_networks: Vec::new(),
        strict_nonce: false,
    };
    let keys = bench.service.create_project(request).await.expect("made");
    let credentials = crate::bench::credentials(Some(&keys.api_key), None, None);
    let stranger = bench
        .service
        .authenticate(&credentials)
        .await
        .expect("let in");
    let fields = raw(json!({ "prompt": "x", "inputImageUrl": "mine.png" }));
    let submitted = bench
        .submit_as(&stranger, &edit(), fields)
        .await
        .expect("accepted");
    let task = bench.ended(submitted.task).await;
    assert!(
        task.debug_error.contains("\"mine.png\" was not found"),
        "{}",
        task.debug_error
    );
}

#[tokio::test]
async fn what_is_no_picture_fails_with_a_reason() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let no_picture = "The input image cannot be used: it is not a JPEG, PNG or WebP picture.";
    assert_failed(
        &run_upload(&bench, "a.png", b"hello".to_vec()).await,
        no_picture,
    );
    let html = STANDARD.encode("<html>not found</html>".repeat(20));
    assert_failed(&run_edit(&bench, json!(html)).await, no_picture);

    let mut cut = picture(64, 64, ImageFormat::Jpeg);
    cut.truncate(cut.len() / 2);
    let truncated = "The input image cannot be used: its file ends too early. Upload it again.";
    assert_failed(&run_upload(&bench, "a.jpg", cut).await, truncated);
}

#[tokio::test]
async fn a_pixel_bomb_is_refused_before_it_goes_off() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    // A hundred bytes that claim 30,000 x 30,000 pixels.
    let bomb = include_bytes!("../data/bomb.png");
    assert_failed(
        &run_upload(&bench, "bomb.png", bomb.to_vec()).await,
        "The input image cannot be used: it has 30000 x 30000 pixels, and at most 64 million are \
         accepted. Make it smaller.",
    );
}

#[tokio::test]
async fn private_addresses_are_refused() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    for (url, host) in [
        ("http://127.0.0.1:9/a.png", "127.0.0.1"),
        ("http://localhost:9/a.png", "localhost"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254"),
    ] {
        let reason = format!(
            "The input image could not be fetched: {host} is a private address, and this service \
             connects only to public ones, unless its operator allows others."
        );
        assert_failed(&run_edit(&bench, json!(url)).await, &reason);
    }
}

#[tokio::test]
async fn an_address_that_never_answers_is_given_up() {
    let bench = Bench::with(|config| {
        config.guard.danger_allow_private_addresses = true;
        config.fetch_timeout = std::time::Duration::from_millis(50);
    })
    .await;
    let _worker = bench.worker();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "http://{}/a.png",
        listener.local_addr().expect("an address")
    );
    assert_failed(
        &run_edit(&bench, json!(url)).await,
        "The input image could not be fetched: 127.0.0.1 did not answer in full within 50ms.",
    );
}

#[tokio::test]
async fn an_address_that_is_none_fails_with_a_reason() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    assert_failed(
        &run_edit(&bench, json!("http://")).await,
        "The input image could not be fetched: its address is not a valid http or https address.",
    );
}
