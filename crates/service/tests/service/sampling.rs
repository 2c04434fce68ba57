//! What is asked of the sampler, several pictures a task, and several pictures to work from.

use std::collections::HashMap;

use image::ImageFormat;
use serde_json::json;
use tintype_domain::ExitCode;
use tintype_engine::Sampling;

use crate::bench::{Bench, draw, edit, part, picture, raw};

#[tokio::test]
async fn several_pictures_are_kept_in_their_order() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let fields = json!({ "prompt": "x", "numOutputs": 3, "seed": "250", "aspectRatio": "1:1" });
    let submitted = bench.submit(&draw(), fields).await;
    let task = bench.ended(submitted.task).await;
    assert_eq!(task.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(task.debug_error, "");
    let names: Vec<_> = task
        .outputs
        .iter()
        .map(|output| output.name.as_str())
        .collect();
    assert_eq!(names, ["0.png", "1.png", "2.png"]);
    for (index, output) in (0_u8..).zip(&task.outputs) {
        let bytes = bench.blob(&output.blob_key).await;
        let picture = image::load_from_memory(&bytes).expect("a PNG").into_rgb8();
        assert_eq!(picture.get_pixel(0, 0).0[0], 250 + index);
    }
}

#[tokio::test]
async fn what_is_said_of_the_sampler_reaches_the_engine_beside_the_tool_s_defaults() {
    let bench = Bench::new().await;
    let defaults = Sampling {
        steps: Some(20),
        shift: Some(3.0),
        ..Sampling::default()
    };
    let _worker = bench.worker_with(|config| {
        config.tool_defaults = HashMap::from([(draw(), defaults.clone())]);
    });
    let fields = json!({
        "prompt": "x", "steps": 7, "guidance": "2.5", "negativePrompt": "rain", "trueCfg": 1.5,
    });
    let submitted = bench.submit(&draw(), fields).await;
    bench.ended(submitted.task).await;
    let job = &bench.engine.jobs()[0];
    let asked = Sampling {
        steps: Some(7),
        guidance: Some(2.5),
        shift: None,
        true_cfg: Some(1.5),
        negative_prompt: Some("rain".to_owned()),
    };
    assert_eq!((&job.sampling, &job.defaults), (&asked, &defaults));
}

#[tokio::test]
async fn every_picture_that_comes_with_a_request_is_kept_and_used() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let mut fields = raw(json!({ "prompt": "x" }));
    let file = |side| picture(side, side, ImageFormat::Png);
    fields.push(part("inputImage3", "c.png", file(7)));
    fields.push(part("inputImage", "a.png", file(5)));
    fields.push(part("inputImage2", "b.png", file(6)));
    let submitted = bench.try_submit(&edit(), fields).await.expect("accepted");
    let task = bench.ended(submitted.task).await;
    assert_eq!(
        task.exit_code,
        Some(ExitCode::SUCCESS),
        "{}",
        task.debug_error
    );
    let job = &bench.engine.jobs()[0];
    let widths: Vec<_> = job
        .references
        .iter()
        .map(|picture| picture.width())
        .collect();
    assert_eq!(widths, [5, 6, 7], "in the form's order");
    for id in ["inputImageUrl", "inputImage2", "inputImage3"] {
        let echoed = task.parameters[id].as_str().expect("an address");
        assert!(echoed.starts_with("http"), "{id}: {echoed}");
    }
}

#[tokio::test]
async fn a_text_tool_starts_from_a_picture_of_the_same_ratio() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let mut fields = raw(json!({ "prompt": "x", "strength": 0.4 }));
    let file = picture(9, 6, ImageFormat::Png);
    fields.push(part("inputImage", "a.png", file));
    let submitted = bench.try_submit(&draw(), fields).await.expect("accepted");
    let task = bench.ended(submitted.task).await;
    assert_eq!(
        task.exit_code,
        Some(ExitCode::SUCCESS),
        "{}",
        task.debug_error
    );
    let job = &bench.engine.jobs()[0];
    let start = job.start.as_ref().expect("a picture to start from");
    assert_eq!(
        (start.image.dimensions(), start.strength),
        ((9, 6), Some(0.4))
    );
    assert!(job.references.is_empty());
    assert_eq!(job.size, tintype_engine::Size::MatchReference);
}
