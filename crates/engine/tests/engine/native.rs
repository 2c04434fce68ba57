//! The native engine on tiny models: progress, order, cancellation, refusals, shutdown.

use std::path::Path;
use std::sync::{Arc, Mutex};

use image::RgbImage;
use tintype_engine::native::{DeviceKind, DeviceOptions, ModelSource, NativeEngine};
use tintype_engine::{
    Cancellation, Drawing, Engine, Error, Job, PREVIEW_PIXELS, PreviewWish, Progress, ProgressSink,
    Sampling, Size, StartPicture,
};

fn start(case: &str) -> NativeEngine {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../flux/tests/golden")
        .join(case)
        .join("model");
    let options = DeviceOptions {
        threads: 1,
        ..DeviceOptions::default()
    };
    NativeEngine::start(ModelSource::Directory(folder), options).expect("a golden model")
}

fn job() -> Job {
    Job {
        size: Size::Exact {
            width: 32,
            height: 24,
        },
        sampling: steps(3),
        ..Job::new("a red circle", 42)
    }
}

fn steps(steps: u32) -> Sampling {
    Sampling {
        steps: Some(steps),
        ..Sampling::default()
    }
}

/// The only picture of a drawing.
fn only(drawing: Result<Drawing, Error>) -> RgbImage {
    let pictures = drawing.expect("a picture").pictures;
    let [picture] = pictures.try_into().expect("one picture");
    picture.image
}

fn silent() -> ProgressSink {
    Box::new(|_| ())
}

/// A sink and what it has seen.
fn recorder() -> (ProgressSink, Arc<Mutex<Vec<Progress>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let sink: ProgressSink = Box::new(move |p| sink.lock().expect("not poisoned").push(p));
    (sink, seen)
}

#[tokio::test]
async fn a_job_becomes_a_picture_with_progress_at_every_step() {
    let engine = start("schnell");
    assert_eq!(engine.model_name(), "golden-schnell");
    let (sink, seen) = recorder();
    let picture = engine.run(job(), sink, Cancellation::new()).await;
    let picture = picture.expect("a picture");
    assert_eq!(picture.pictures.len(), 1);
    assert_eq!(picture.pictures[0].image.dimensions(), (32, 24));
    assert_eq!((picture.seed, picture.steps), (42, 3));
    assert!(picture.seconds.denoise > 0.0);
    let step = |step| Progress::Step { step, steps: 3 };
    let expected = [Progress::Started, step(1), step(2), step(3)];
    assert_eq!(*seen.lock().expect("not poisoned"), expected);
    let again = engine.run(job(), silent(), Cancellation::new()).await;
    assert!(only(again) == picture.pictures[0].image);
}

/// Steps that were followed by a preview, and the sides of these.
fn previews_in(seen: &[Progress]) -> Vec<(u32, (u32, u32))> {
    let preview = |progress: &Progress| match progress {
        Progress::Preview { step, image } => Some((*step, image.dimensions())),
        _ => None,
    };
    seen.iter().filter_map(preview).collect()
}

#[tokio::test]
async fn previews_come_when_asked_for_and_change_no_picture() {
    let engine = start("schnell");
    let wish = PreviewWish::new();
    let watched = Job {
        previews: wish.clone(),
        sampling: steps(8),
        ..job()
    };
    let (sink, seen) = recorder();
    let unseen = engine.run(watched.clone(), sink, Cancellation::new()).await;
    let unseen = only(unseen);
    assert_eq!(previews_in(&seen.lock().expect("not poisoned")), []);
    wish.set(true);
    let (sink, seen) = recorder();
    let picture = engine.run(watched, sink, Cancellation::new()).await;
    assert!(only(picture) == unseen);
    let seen = seen.lock().expect("not poisoned");
    let previews = previews_in(&seen);
    // How many the budget allows is a matter of time; the first is always allowed.
    assert_eq!(previews.first(), Some(&(1, (32, 24))), "{seen:?}");
    assert!(previews.iter().all(|&(step, _)| step < 8), "{previews:?}");
    let steps = seen.len() - previews.len();
    assert_eq!(steps, 1 + 8, "every step is reported as well");
}

#[tokio::test]
async fn a_watcher_who_comes_late_sees_previews_from_then_on() {
    let engine = start("schnell");
    let wish = PreviewWish::new();
    let (raise, seen) = (wish.clone(), Arc::new(Mutex::new(Vec::new())));
    let sink: ProgressSink = {
        let seen = seen.clone();
        Box::new(move |progress| {
            raise.set(matches!(progress, Progress::Step { step: 2, .. }));
            seen.lock().expect("not poisoned").push(progress);
        })
    };
    let job = Job {
        previews: wish,
        sampling: steps(4),
        ..job()
    };
    let outcome = engine.run(job, sink, Cancellation::new()).await;
    assert!(outcome.is_ok());
    let seen = seen.lock().expect("not poisoned");
    assert_eq!(previews_in(&seen), [(2, (32, 24))]);
}

#[tokio::test]
async fn a_preview_of_a_large_picture_is_small() {
    let engine = start("schnell");
    let (sink, seen) = recorder();
    let job = Job {
        previews: PreviewWish::new(),
        size: Size::Exact {
            width: 1024,
            height: 96,
        },
        sampling: steps(2),
        ..job()
    };
    job.previews.set(true);
    let outcome = engine.run(job, sink, Cancellation::new()).await;
    assert!(outcome.is_ok());
    let previews = previews_in(&seen.lock().expect("not poisoned"));
    assert_eq!(previews, [(1, (PREVIEW_PIXELS, 24))]);
}

#[tokio::test]
async fn both_devices_draw_almost_the_same() {
    let options = DeviceOptions {
        device: DeviceKind::Reference,
        ..DeviceOptions::default()
    };
    let folder = "../flux/tests/golden/schnell/model";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let reference = NativeEngine::start(ModelSource::Directory(folder), options);
    let reference = reference.expect("a golden model");
    let mut pictures = Vec::new();
    for engine in [&reference, &start("schnell")] {
        let picture = engine.run(job(), silent(), Cancellation::new()).await;
        pictures.push(only(picture));
    }
    let pairs = pictures[0].iter().zip(pictures[1].iter());
    assert!(pairs.map(|(a, b)| a.abs_diff(*b)).max() <= Some(1));
}

#[tokio::test]
async fn a_raised_flag_stops_a_running_job_at_its_next_step() {
    let engine = start("schnell");
    let cancellation = Cancellation::new();
    let raise = cancellation.clone();
    let seen = Arc::new(Mutex::new(0));
    let count = seen.clone();
    let sink: ProgressSink = Box::new(move |progress| {
        if matches!(progress, Progress::Step { .. }) {
            *count.lock().expect("not poisoned") += 1;
            raise.cancel();
        }
    });
    let outcome = engine.run(job(), sink, cancellation).await;
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert_eq!(*seen.lock().expect("not poisoned"), 1);
    let next = engine.run(job(), silent(), Cancellation::new()).await;
    assert!(next.is_ok());
}

#[tokio::test]
async fn a_waiting_job_that_is_cancelled_is_answered_before_the_running_one_ends() {
    let engine = Arc::new(start("schnell"));
    let cancelled = Cancellation::new();
    let waiting = tokio::spawn({
        let (engine, cancelled) = (engine.clone(), cancelled.clone());
        // Starts only once the long job runs: the long one is queued first, below.
        async move { engine.run(job(), silent(), cancelled).await }
    });
    let (first_step, reached) = std::sync::mpsc::channel();
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let long = Job {
        sampling: steps(5),
        ..job()
    };
    // The sink holds the device thread at its first step until the test lets it go.
    let sink: ProgressSink = Box::new(move |progress| {
        if progress == (Progress::Step { step: 1, steps: 5 }) {
            first_step.send(()).expect("the test waits");
            gate.lock().expect("not poisoned").recv().expect("the test");
        }
    });
    let long = {
        let engine = engine.clone();
        tokio::spawn(async move { engine.run(long, sink, Cancellation::new()).await })
    };
    tokio::task::spawn_blocking(move || reached.recv().expect("the long job runs"))
        .await
        .expect("no panic");
    let other = Cancellation::new();
    let behind = tokio::spawn({
        let (engine, other) = (engine.clone(), other.clone());
        async move { engine.run(job(), silent(), other).await }
    });
    tokio::task::yield_now().await;
    other.cancel();
    go_on.send(()).expect("the sink waits");
    let outcome = behind.await.expect("no panic");
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    assert!(long.await.expect("no panic").is_ok());
    assert!(waiting.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn a_panic_fails_its_job_and_no_other() {
    let engine = start("schnell");
    let sink: ProgressSink = Box::new(|_| panic!("the sink is broken"));
    let outcome = engine.run(job(), sink, Cancellation::new()).await;
    let Err(Error::Failed(reason)) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(reason.contains("the sink is broken"), "{reason}");
    assert!(
        engine
            .run(job(), silent(), Cancellation::new())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_job_that_nobody_waits_for_any_more_is_stopped() {
    let engine = Arc::new(start("schnell"));
    let steps_seen = Arc::new(Mutex::new(0));
    let count = steps_seen.clone();
    let (first_step, reached) = std::sync::mpsc::channel();
    let (go_on, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let sink: ProgressSink = Box::new(move |progress| {
        if matches!(progress, Progress::Step { .. }) {
            *count.lock().expect("not poisoned") += 1;
            first_step.send(()).expect("the test waits");
            gate.lock().expect("not poisoned").recv().expect("the test");
        }
    });
    let task = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run(job(), sink, Cancellation::new()).await }
    });
    tokio::task::spawn_blocking(move || reached.recv().expect("the job runs"))
        .await
        .expect("no panic");
    task.abort();
    assert!(task.await.expect_err("aborted").is_cancelled());
    go_on.send(()).expect("the sink waits");
    let next = engine.run(job(), silent(), Cancellation::new()).await;
    assert!(next.is_ok());
    assert_eq!(*steps_seen.lock().expect("not poisoned"), 1);
}

async fn refusal(engine: &NativeEngine, change: impl FnOnce(&mut Job)) -> String {
    let mut job = job();
    change(&mut job);
    match engine.run(job, silent(), Cancellation::new()).await {
        Err(Error::Rejected(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn absurd_jobs_are_refused_with_a_sentence() {
    let engine = start("schnell");
    let exact = |width, height| Size::Exact { width, height };
    let cases = [
        (
            refusal(&engine, |j| j.size = exact(7, 100)).await,
            "7×100 is too small: the model golden-schnell draws from 8×8 pixels on",
        ),
        (
            refusal(&engine, |j| j.size = exact(u32::MAX, u32::MAX)).await,
            "is too large",
        ),
        (
            refusal(&engine, |j| {
                j.size = Size::Ratio {
                    width: 0,
                    height: 1,
                }
            })
            .await,
            "the aspect ratio 0:1 has an empty side",
        ),
        (
            refusal(&engine, |j| j.sampling.steps = Some(0)).await,
            "steps must be between 1 and 200",
        ),
        (
            refusal(&engine, |j| j.prompt = "x".repeat(100_000)).await,
            "the prompt is too long",
        ),
        (
            refusal(&engine, |j| j.references = vec![RgbImage::new(9, 9)]).await,
            "draws from text only; editing needs a Kontext model",
        ),
    ];
    for (reason, expected) in cases {
        assert!(reason.contains(expected), "{reason}");
    }
}

#[tokio::test]
async fn sizes_follow_the_reference_or_the_ratio() {
    let engine = start("kontext");
    // Native area 48², multiple 4.
    let reference = RgbImage::from_pixel(90, 40, image::Rgb([200, 20, 20]));
    let ratio = Size::Ratio {
        width: 16,
        height: 9,
    };
    let cases = [
        (Size::MatchReference, Some(reference), (72, 32)),
        (Size::MatchReference, None, (48, 48)),
        (ratio, None, (64, 36)),
        (
            Size::Exact {
                width: 31,
                height: 18,
            },
            None,
            (28, 16),
        ),
    ];
    for (size, reference, expected) in cases {
        let job = Job {
            size,
            references: reference.into_iter().collect(),
            sampling: steps(1),
            ..job()
        };
        let picture = engine.run(job, silent(), Cancellation::new()).await;
        assert_eq!(only(picture).dimensions(), expected);
    }
}

#[tokio::test]
async fn the_first_of_several_pictures_is_what_one_alone_would_be() {
    let engine = start("schnell");
    let several = Job {
        pictures: 3,
        ..job()
    };
    let drawing = engine.run(several, silent(), Cancellation::new()).await;
    let pictures = drawing.expect("pictures").pictures;
    let alone = only(engine.run(job(), silent(), Cancellation::new()).await);
    assert_eq!(pictures.len(), 3);
    assert!(pictures[0].image == alone);
    assert!(pictures[1].image != alone && pictures[1].image != pictures[2].image);
}

#[tokio::test]
async fn what_is_asked_for_wins_over_the_tool_and_the_tool_over_the_model() {
    let engine = start("schnell");
    for (asked, tool, expected) in [(Some(3), Some(2), 3), (None, Some(2), 2), (None, None, 4)] {
        let sampling = |steps| Sampling {
            steps,
            ..Sampling::default()
        };
        let job = Job {
            sampling: sampling(asked),
            defaults: sampling(tool),
            ..job()
        };
        let drawing = engine.run(job, silent(), Cancellation::new()).await;
        assert_eq!(drawing.expect("a picture").steps, expected);
    }
}

/// The middle of the picture counts: a wide one is cut, not squeezed.
#[tokio::test]
async fn a_picture_to_start_from_is_cut_to_the_ratio_and_decides_the_size() {
    let engine = start("schnell");
    let middle = RgbImage::from_fn(40, 40, |x, y| image::Rgb([6 * x as u8, 6 * y as u8, 90]));
    let mut wide = RgbImage::from_pixel(80, 40, image::Rgb([255, 0, 255]));
    image::imageops::replace(&mut wide, &middle, 20, 0);
    let from = |image: RgbImage, size, strength| {
        let start = StartPicture {
            image,
            strength: Some(strength),
        };
        let job = Job {
            start: Some(start),
            size,
            sampling: steps(4),
            ..job()
        };
        engine.run(job, silent(), Cancellation::new())
    };
    let square = Size::Exact {
        width: 32,
        height: 32,
    };
    let cut = from(wide.clone(), square, 0.5).await;
    assert_eq!(cut.as_ref().expect("a picture").steps, 2, "half of them");
    assert!(only(cut) == only(from(middle.clone(), square, 0.5).await));
    let matched = only(from(wide, Size::MatchReference, 0.5).await);
    assert!(matched.width() > matched.height());
    let far = only(from(middle.clone(), square, 1.0).await);
    assert!(far != only(from(middle, square, 0.25).await));
}

#[tokio::test]
async fn a_strength_that_leaves_no_step_is_refused() {
    let engine = start("schnell");
    let start = |strength| {
        refusal(&engine, move |j| {
            j.start = Some(StartPicture {
                image: RgbImage::new(9, 9),
                strength: Some(strength),
            });
        })
    };
    let reason = start(1e-17).await;
    assert!(reason.contains("leaves none of 3 steps"), "{reason}");
    for strength in [0.0, 1.5, f64::NAN] {
        let reason = start(strength).await;
        assert!(reason.contains("strength must be above 0"), "{reason}");
    }
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let start = |name: &str| {
        let source: ModelSource = name.parse().expect("any name");
        NativeEngine::start(source, DeviceOptions::default())
            .map(drop)
            .expect_err("no such model")
            .to_string()
    };
    let message = start("flux-pro-9");
    assert!(
        message.contains("there is no model flux-pro-9"),
        "{message}"
    );
    let empty = tempfile::tempdir().expect("a folder");
    let message = start(empty.path().to_str().expect("UTF-8"));
    assert!(message.contains("holds no model_index.json"), "{message}");
}
