//! Several models on one device: who is in memory, who goes, what a model that cannot be loaded does to
//! the others, and what happens to those who wait.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use image::RgbImage;
use tintype_engine::native::{
    Budget, DeviceOptions, Host, Isa, Memory, MemoryLimit, MemoryProbe, ModelPlan, ModelSource,
    NativeEngine, WeightFormat,
};
use tintype_engine::{
    Cancellation, Engine, Error, Job, Progress, ProgressSink, Reason, Sampling, Size,
};
use tintype_flux::pipeline::{Residency, Work};

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../flux/tests/golden")
        .join(case)
        .join("model")
}

fn source(case: &str) -> ModelSource {
    ModelSource::Directory(folder(case))
}

fn options(memory: MemoryLimit) -> DeviceOptions {
    DeviceOptions {
        threads: 1,
        memory,
        // Layers this small do not fill a tile: int8 would save nothing.
        isa: Some(Isa::best_in_f32()),
        ..DeviceOptions::default()
    }
}

fn host(memory: MemoryLimit) -> Arc<Host> {
    Host::start(options(memory)).expect("a device")
}

/// A limit that leaves this much for models, after the eighth that is kept free.
fn limit(bytes: u64) -> MemoryLimit {
    MemoryLimit::Bytes(bytes.div_ceil(7) * 8 + 8)
}

fn plan(case: &str) -> ModelPlan {
    let budget = Budget::new(MemoryLimit::Machine);
    ModelPlan::of(&source(case), &options(MemoryLimit::Machine), &budget).expect("a golden model")
}

fn job() -> Job {
    Job {
        size: Size::Exact {
            width: 48,
            height: 32,
        },
        sampling: Sampling {
            steps: Some(2),
            ..Sampling::default()
        },
        ..Job::new("a red circle", 42)
    }
}

fn silent() -> ProgressSink {
    Box::new(|_| ())
}

async fn draw(engine: &NativeEngine) -> RgbImage {
    let picture = engine.run(job(), silent(), Cancellation::new()).await;
    picture.expect("a picture").pictures.remove(0).image
}

async fn refused(engine: &NativeEngine) -> tintype_engine::Unavailable {
    match engine.run(job(), silent(), Cancellation::new()).await {
        Err(Error::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_model_that_was_not_used_longest_goes_and_none_is_loaded_twice() {
    let plans = ["dev", "schnell", "kontext"].map(plan);
    let weights = plans.iter().map(|p| p.footprint.weights_bytes(p.residency));
    let work = plans
        .iter()
        .map(|p| p.footprint.work_bytes(&job_work(p)))
        .max();
    // Whatever two of them, never three.
    let all: u64 = weights.clone().sum();
    let host = host(limit(
        all - weights.clone().min().unwrap_or(0) + work.unwrap_or(0),
    ));
    let [dev, schnell, kontext] =
        ["dev", "schnell", "kontext"].map(|case| host.engine(source(case)));
    let loads = || [dev.loads(), schnell.loads(), kontext.loads()];
    assert_eq!(loads(), [0; 3], "nothing is loaded before it is wanted");
    for engine in [&dev, &dev, &schnell, &dev, &schnell] {
        draw(engine).await;
    }
    assert_eq!(loads(), [1, 1, 0], "no load for the next request");
    // dev was used before schnell, so it goes.
    draw(&dev).await;
    draw(&schnell).await;
    draw(&kontext).await;
    draw(&schnell).await;
    assert_eq!(loads(), [1, 1, 1]);
    draw(&dev).await;
    assert_eq!(loads(), [2, 1, 1]);
    draw(&schnell).await;
    assert_eq!(loads(), [2, 1, 1], "kontext went for dev");
}

#[tokio::test]
async fn a_model_that_only_fits_in_parts_draws_the_same_picture() {
    let whole = draw(&host(MemoryLimit::Machine).engine(source("dev"))).await;
    let plan = plan("dev");
    for residency in peaks(&plan, &job_work(&plan)) {
        let engine = host(limit(residency)).engine(source("dev"));
        assert!(draw(&engine).await == whole, "{:?}", engine.plan());
    }
}

/// What it takes to hold the model in each way, for such work.
fn peaks(plan: &ModelPlan, work: &Work) -> [u64; 3] {
    Residency::ALL.map(|residency| plan.footprint.peak_bytes(residency, work))
}

/// What [`job`] is made of.
fn job_work(plan: &ModelPlan) -> Work {
    Work {
        size: tintype_flux::size::Size::new(48, 32),
        steps: 2,
        reference_pixels: 0,
        input_pixels: 0,
        ..plan.work
    }
}

#[tokio::test]
async fn a_model_that_cannot_fit_says_what_it_needs_and_what_would_do() {
    let host = host(MemoryLimit::Bytes(100_000));
    let engine = host.engine(source("dev"));
    let trouble = engine.trouble().expect("it is known before a job comes");
    let why = refused(&engine).await;
    assert_eq!(why.reason, Reason::NoWeights);
    assert!(why.message.starts_with(&trouble), "{}", why.message);
    for part in [
        "does not fit into memory",
        "it needs",
        "may be taken",
        "smaller file",
    ] {
        assert!(why.message.contains(part), "{}", why.message);
    }
    assert_eq!(engine.loads(), 0);
}

#[tokio::test]
async fn int8_is_recommended_where_it_fits() {
    let budget = Budget::new(MemoryLimit::Machine);
    let in_int8 = DeviceOptions {
        weights: WeightFormat::Int8,
        ..options(MemoryLimit::Machine)
    };
    let in_int8 = ModelPlan::of(&source("dev"), &in_int8, &budget).expect("a golden model");
    let least = |plan: &ModelPlan| peaks(plan, &plan.work)[2];
    let (in_int8, exact) = (least(&in_int8), least(&plan("dev")));
    assert!(in_int8 + 100 < exact, "{in_int8}, {exact}");
    let engine = host(limit(exact.midpoint(in_int8))).engine(source("dev"));
    let trouble = engine.trouble().expect("it does not fit");
    assert!(trouble.contains("weights = \"int8\""), "{trouble}");
}

#[tokio::test]
async fn a_broken_model_leaves_the_others_alone_and_is_tried_again_when_it_was_mended() {
    let place = tempfile::tempdir().expect("a folder");
    let broken = place.path().join("model");
    let host = host(MemoryLimit::Machine);
    let (good, bad) = (
        host.engine(source("schnell")),
        host.engine(ModelSource::Directory(broken.clone())),
    );
    assert_eq!(good.trouble(), None);
    let why = refused(&bad).await;
    assert_eq!(why.reason, Reason::NoWeights);
    assert!(why.message.contains("there is no model"), "{}", why.message);
    draw(&good).await;

    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([folder("schnell"), broken.clone()])
        .status();
    assert!(copied.expect("cp").success());
    let weights = broken.join("transformer/diffusion_pytorch_model.safetensors");
    let bytes = std::fs::read(&weights).expect("weights");
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).expect("half of them");
    let why = refused(&bad).await;
    assert!(
        why.message.contains("diffusion_pytorch_model"),
        "{}",
        why.message
    );
    draw(&good).await;

    std::fs::write(&weights, &bytes).expect("all of them");
    draw(&bad).await;
    assert_eq!(bad.trouble(), None);
    assert_eq!((good.loads(), bad.loads()), (1, 1));
}

#[tokio::test]
async fn a_model_waits_for_memory_that_something_else_has() {
    let free = Arc::new(AtomicU64::new(1 << 16));
    let seen = free.clone();
    let probe: MemoryProbe = Arc::new(move || {
        Some(Memory {
            total_bytes: 1 << 34,
            available_bytes: seen.load(Ordering::Relaxed),
        })
    });
    let host = Host::start_with(options(MemoryLimit::Machine), probe).expect("a device");
    let engine = host.engine(source("dev"));
    let why = refused(&engine).await;
    assert_eq!(why.reason, Reason::NoMemory);
    assert!(why.retry_after.is_some());
    assert!(why.message.contains("there is no room"), "{}", why.message);
    free.store(1 << 33, Ordering::Relaxed);
    draw(&engine).await;
    assert_eq!(engine.trouble(), None);
}

/// A host whose loads wait, from the second look at the memory on, until the test lets them go. (The first
/// is for the plan.)
fn gated() -> (Arc<Host>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (reach, reached) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    let (reach, gate) = (Mutex::new(reach), Mutex::new(gate));
    let probe: MemoryProbe = Arc::new(move || {
        if std::thread::current().name() == Some("tintype-device") {
            // The test may have seen enough.
            let _ = reach.lock().expect("not poisoned").send(());
            let _ = gate.lock().expect("not poisoned").recv();
        }
        None
    });
    let host = Host::start_with(options(MemoryLimit::Machine), probe).expect("a device");
    (host, reached, open)
}

#[tokio::test]
async fn a_job_is_cancelled_while_its_model_loads_and_while_it_waits_for_that() {
    let (host, reached, open) = gated();
    let engine = Arc::new(host.engine(source("schnell")));
    let run = |cancellation: Cancellation| {
        let engine = engine.clone();
        tokio::spawn(async move { engine.run(job(), silent(), cancellation).await })
    };
    let [loading, waiting, patient] = [(); 3].map(|()| Cancellation::new());
    let first = run(loading.clone());
    let seen = tokio::task::spawn_blocking(move || {
        reached.recv().expect("the load begins");
        reached
    });
    let _reached = seen.await.expect("no panic");
    let (second, third) = (run(waiting.clone()), run(patient.clone()));
    loading.cancel();
    waiting.cancel();
    drop(open);
    let cancelled = |outcome: Result<_, _>| matches!(outcome, Err(Error::Cancelled));
    assert!(cancelled(first.await.expect("no panic").map(drop)));
    assert!(cancelled(second.await.expect("no panic").map(drop)));
    assert!(third.await.expect("no panic").is_ok());
    assert_eq!(engine.loads(), 1, "the load that was stopped left nothing");
}

/// Brings the thread down that meets it: its own end panics once more.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("and again");
    }
}

#[tokio::test]
async fn a_thread_that_died_fails_its_job_and_is_started_again() {
    let engine = host(MemoryLimit::Machine).engine(source("schnell"));
    let sink: ProgressSink = Box::new(|progress| {
        if matches!(progress, Progress::Step { .. }) {
            std::panic::panic_any(Bomb);
        }
    });
    match engine.run(job(), sink, Cancellation::new()).await {
        Err(Error::Failed(reason)) => assert!(reason.contains("ended unexpectedly"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // It may still be on its way out: then it says that it is worth coming again.
    loop {
        match engine.run(job(), silent(), Cancellation::new()).await {
            Ok(_) => break,
            Err(Error::Unavailable(why)) => assert_eq!(why.reason, Reason::Down),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(engine.loads(), 2, "models went with the thread");
}

#[tokio::test]
async fn loading_ahead_pushes_nobody_out() {
    let (dev, schnell) = (plan("dev"), plan("schnell"));
    let held = |p: &ModelPlan| p.footprint.weights_bytes(p.residency);
    let work = [&dev, &schnell].map(|p| p.footprint.work_bytes(&p.work));
    let room = held(&dev).max(held(&schnell)) + work[0].max(work[1]);
    let host = host(limit(room));
    let [first, second] = ["dev", "schnell"].map(|case| host.engine(source(case)));
    first.preload().expect("it is ordered");
    second.preload().expect("it is ordered");
    draw(&first).await;
    assert_eq!((first.loads(), second.loads()), (1, 0));
    draw(&second).await;
    assert_eq!((first.loads(), second.loads()), (1, 1));
}
