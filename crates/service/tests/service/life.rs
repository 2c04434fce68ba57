//! The whole life of a task that goes well.

use std::time::Duration;

use image::ImageFormat;
use serde_json::json;
use tintype_domain::{Event, EventKind, ExitCode, TaskState};
use tintype_engine::{Size, SizeTable};

use crate::bench::{Bench, draw, edit};

#[tokio::test]
async fn the_documented_edit_runs_to_its_end() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let fields = json!({
        "inputImageUrl": "input-depth-to-image-4.jpg",
        "prompt": "Enhance the cookie package with clean lighting and a white background.",
        "promptUpsampling": "false", "safetyTolerance": "2", "aspectRatio": "", "seed": "42",
        "outputFormat": "jpeg",
        "callbackUrl": "You can provide a callback URL; Wiro will send a POST request to it.",
    });
    let submitted = bench.submit(&edit(), fields).await;
    let task = bench.ended(submitted.task).await;

    assert_eq!(task.state, TaskState::Finished);
    assert_eq!(task.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(
        (task.debug_output.as_str(), task.debug_error.as_str()),
        ("", "")
    );
    let job = &bench.engine.jobs()[0];
    assert_eq!(job.seed, 42);
    assert_eq!(
        (job.size, job.size_table),
        (Size::MatchReference, SizeTable::Kontext)
    );
    assert_eq!(
        job.references.first().map(|picture| picture.dimensions()),
        Some((1024, 768))
    );
    assert!(job.resize_reference);

    let [output] = task.outputs.as_slice() else {
        panic!("one output")
    };
    assert_eq!(
        (output.name.as_str(), output.content_type.as_str()),
        ("0.jpeg", "image/jpeg")
    );
    assert_eq!(output.parent_id, task.output_folder);
    assert_eq!(
        output.blob_key,
        format!("tasks/{}/{}/0", task.id, task.epoch)
    );
    let groups: Vec<_> = output.directory.split('-').collect();
    assert!(groups.len() == 8 && groups.iter().all(|group| group.len() == 8));
    let bytes = bench.blob(&output.blob_key).await;
    assert_eq!(bytes.len() as u64, output.size_bytes);
    let decoded = image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg).expect("a JPEG");
    assert_eq!((decoded.width(), decoded.height()), (1024, 768));
}

#[tokio::test]
async fn every_state_is_entered_once_and_every_time_is_set() {
    let bench = Bench::new().await;
    let submitted = bench.submit(&draw(), json!({ "prompt": "x" })).await;
    let _worker = bench.worker();
    let task = bench.ended(submitted.task).await;
    let expected: Vec<_> = TaskState::ALL
        .into_iter()
        .filter(|state| *state != TaskState::Cancelled)
        .collect();
    assert_eq!(bench.states(task.id).await, expected);
    let times = task.times;
    let in_order = [
        Some(times.created),
        times.accepted,
        times.preprocess_started,
        times.preprocess_ended,
        times.assigned,
        times.started,
        times.ended,
        times.postprocess_started,
        times.postprocess_ended,
    ];
    assert!(
        in_order.iter().all(Option::is_some) && in_order.is_sorted(),
        "{in_order:?}"
    );
}

#[tokio::test]
async fn steps_are_heard_in_their_place_with_the_time_since_the_first_report() {
    let bench = Bench::new().await;
    let mut follower = bench.store.follow();
    let hold = bench.engine.then_hold();
    let _worker = bench.worker();
    let submitted = bench.submit(&draw(), json!({ "prompt": "x" })).await;
    hold.reached().await;
    bench.clock.advance(Duration::from_millis(1_500));
    hold.open();
    bench.ended(submitted.task).await;

    let mut heard = Vec::new();
    while !heard.last().is_some_and(is_end) {
        heard.extend_from_slice(&follower.next().await.expect("it keeps up"));
    }
    let first = heard
        .iter()
        .position(|event| event.kind == entered(TaskState::Output));
    let first = first.expect("the engine reports steps");
    let step = |step, elapsed_millis| EventKind::Progress {
        step,
        steps: 3,
        elapsed_millis,
    };
    let kinds: Vec<_> = heard[first..]
        .iter()
        .map(|event| event.kind.clone())
        .collect();
    let expected = [
        entered(TaskState::Output),
        step(1, 0),
        step(2, 1_500),
        step(3, 1_500),
        entered(TaskState::OutputFull),
    ];
    assert_eq!(kinds[..5], expected);
    let numbers: Vec<_> = heard[first..].iter().map(|event| event.number).collect();
    assert_eq!(numbers[..5], [7, 7, 7, 7, 8]);
}

fn entered(state: TaskState) -> EventKind {
    EventKind::Entered { state }
}

fn is_end(event: &Event) -> bool {
    event.kind == entered(TaskState::Finished)
}

#[tokio::test]
async fn parameters_reach_the_engine() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let fields = json!({
        "prompt": "a red circle", "seed": u64::MAX, "aspectRatio": "21:9", "outputFormat": "png",
    });
    let submitted = bench.submit(&draw(), fields).await;
    let task = bench.ended(submitted.task).await;
    let job = &bench.engine.jobs()[0];
    assert_eq!((job.prompt.as_str(), job.seed), ("a red circle", u64::MAX));
    assert_eq!(
        job.size,
        Size::Ratio {
            width: 21,
            height: 9
        }
    );
    assert_eq!(job.size_table, SizeTable::Pro);
    assert!(job.references.is_empty());
    let bytes = bench.blob(&task.outputs[0].blob_key).await;
    let decoded = image::load_from_memory_with_format(&bytes, ImageFormat::Png).expect("a PNG");
    assert_eq!(
        decoded.into_rgb8().get_pixel(0, 0).0,
        [255, 255, 255],
        "drawn from the seed"
    );
}

#[tokio::test]
async fn a_wish_for_upsampling_is_answered_honestly() {
    let bench = Bench::new().await;
    let _worker = bench.worker();
    let submitted = bench
        .submit(&draw(), json!({ "prompt": "x", "promptUpsampling": true }))
        .await;
    let task = bench.ended(submitted.task).await;
    assert_eq!(task.exit_code, Some(ExitCode::SUCCESS));
    assert_eq!(
        task.debug_error,
        "The prompt was not rewritten: no upsampler is set up for this tool. The picture was drawn from \
         the prompt as it was sent."
    );
    let job = &bench.engine.jobs()[0];
    assert_eq!((job.prompt.as_str(), job.prompt_upsampling), ("x", true));
    assert_eq!(task.upsampled_prompt, None);
}

#[tokio::test]
async fn a_worker_is_woken_by_a_submission() {
    let bench = Bench::new().await;
    // It would look into the queue by itself long after the test has timed out.
    let _worker = bench.worker_with(|config| config.poll = std::time::Duration::from_secs(3600));
    for _ in 0..3 {
        let submitted = bench.submit(&draw(), json!({ "prompt": "x" })).await;
        assert_eq!(
            bench.ended(submitted.task).await.exit_code,
            Some(ExitCode::SUCCESS)
        );
    }
}
