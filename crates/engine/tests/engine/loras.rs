//! LoRAs of jobs: by name, by file, as a tool's default; what is unknown or does not fit is refused.

use std::path::{Path, PathBuf};

use tintype_engine::native::{DeviceOptions, ModelSource, NativeEngine};
use tintype_engine::{Cancellation, Engine, Error, Job, LoraSource, LoraWish, Sampling, Size};

fn golden(inside: &str) -> PathBuf {
    let flux = Path::new(env!("CARGO_MANIFEST_DIR")).join("../flux");
    flux.join("tests/golden").join(inside)
}

fn start(model: ModelSource, lora_folder: Option<PathBuf>) -> NativeEngine {
    let options = DeviceOptions {
        threads: 1,
        lora_folder,
        ..DeviceOptions::default()
    };
    NativeEngine::start(model, options).expect("a model")
}

fn schnell(lora_folder: Option<PathBuf>) -> NativeEngine {
    start(ModelSource::Directory(golden("schnell/model")), lora_folder)
}

fn job() -> Job {
    Job {
        size: Size::Exact {
            width: 32,
            height: 32,
        },
        sampling: Sampling {
            steps: Some(2),
            ..Sampling::default()
        },
        ..Job::new("a red circle", 42)
    }
}

fn with(loras: &[(&str, f32)]) -> Job {
    let wishes = loras.iter().map(|(name, w)| LoraWish::named(*name, *w));
    Job {
        loras: Some(wishes.collect()),
        ..job()
    }
}

async fn draw(engine: &NativeEngine, job: Job) -> Result<Vec<u8>, Error> {
    let drawn = engine.run(job, Box::new(|_| ()), Cancellation::new()).await;
    let mut pictures = drawn?.pictures;
    Ok(pictures.remove(0).image.into_raw())
}

#[tokio::test]
async fn each_job_has_the_loras_that_it_asks_for() {
    let engine = schnell(Some(golden("lora/schnell")));
    let draw = async |job| draw(&engine, job).await.expect("a picture");
    let plain = draw(job()).await;
    let style = draw(with(&[("kohya", 1.0)])).await;
    assert!(style != plain, "it shows");
    assert!(
        draw(job()).await == plain,
        "and only where it was asked for"
    );
    assert!(draw(with(&[("kohya", 0.0)])).await == plain);
    let two = draw(with(&[("kohya", 1.0), ("xlabs", -0.5)])).await;
    assert!(two != style && two != plain);
    let file = LoraWish {
        source: LoraSource::File(golden("lora/schnell/kohya.safetensors")),
        weight: 1.0,
    };
    let by_file = Job {
        loras: Some(vec![file]),
        ..job()
    };
    assert!(draw(by_file).await == style);
}

#[tokio::test]
async fn a_tools_loras_are_used_unless_a_job_says_otherwise() {
    let engine = schnell(Some(golden("lora/schnell")));
    let defaults = |job: Job| Job {
        default_loras: vec![LoraWish::named("kohya", 1.0)],
        ..job
    };
    let draw = async |job| draw(&engine, job).await.expect("a picture");
    let style = draw(with(&[("kohya", 1.0)])).await;
    assert!(draw(defaults(job())).await == style);
    assert!(draw(defaults(with(&[]))).await == draw(job()).await);
}

#[tokio::test]
async fn a_file_that_was_replaced_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("style.safetensors");
    let put = |name: &str| {
        let from = golden(&format!("lora/schnell/{name}.safetensors"));
        std::fs::copy(from, &place).expect("a file");
    };
    let engine = schnell(Some(folder.path().to_owned()));
    let draw = async || {
        draw(&engine, with(&[("style", 1.0)]))
            .await
            .expect("a picture")
    };
    put("kohya");
    let first = draw().await;
    assert!(draw().await == first);
    put("xlabs");
    assert!(draw().await != first);
}

#[tokio::test]
async fn what_is_unknown_or_does_not_fit_is_refused_with_a_reason() {
    let folder = golden("lora/schnell");
    let reason = async |engine: &NativeEngine, name: &str| {
        let refused = draw(engine, with(&[(name, 1.0)])).await;
        match refused.expect_err("no such LoRA") {
            Error::Rejected(reason) => reason,
            other => panic!("{other:?}"),
        }
    };
    let engine = schnell(Some(folder.clone()));
    let unknown = reason(&engine, "Kohia").await;
    let expected = "there is no LoRA Kohia; near it are kohya";
    assert!(unknown.starts_with(expected), "{unknown}");
    // Not a LoRA, in the folder all the same.
    let odd = reason(&engine, "run_kohya").await;
    let expected =
        "the LoRA run_kohya cannot be applied to golden-schnell: run_kohya.safetensors: `";
    assert!(odd.starts_with(expected), "{odd}");
    let nano = start(ModelSource::Nano, Some(folder));
    let other = reason(&nano, "peft").await;
    assert!(other.contains("made for another model"), "{other}");
    assert!(!other.contains("golden/lora"), "no path: {other}");
    let without = schnell(None);
    let none = reason(&without, "kohya").await;
    assert!(none.contains("no folder of LoRAs is set"), "{none}");
}
