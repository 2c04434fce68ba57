//! One budget for everything in memory: models that draw, their LoRAs, the language model; and room that is
//! planned for what a job asks for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use image::RgbImage;
use tintype_engine::native::{
    Budget, DeviceOptions, Host, LanguageOptions, LanguageUpsampler, MemoryLimit, ModelPlan,
    ModelSource, NativeEngine,
};
use tintype_engine::upsampling::{Purpose, SystemPrompts, Upsampler, Wish};
use tintype_engine::{Cancellation, Engine, Error, Job, LoraWish, Sampling, Size};
use tintype_flux::pipeline::{Residency, Work};

fn golden(inside: &str) -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    crates.join(inside)
}

fn source() -> ModelSource {
    ModelSource::Directory(golden("flux/tests/golden/dev/model"))
}

fn options() -> DeviceOptions {
    DeviceOptions {
        threads: 1,
        lora_folder: Some(golden("flux/tests/golden/lora/dev")),
        ..DeviceOptions::default()
    }
}

/// A budget that leaves this much, after the eighth that is kept free.
fn budget(bytes: u64) -> Arc<Budget> {
    Budget::new(MemoryLimit::Bytes(bytes.div_ceil(7) * 8 + 8))
}

fn engine(budget: &Arc<Budget>) -> NativeEngine {
    let host = Host::start_within(options(), budget.clone()).expect("a device");
    host.engine(source())
}

fn plan() -> ModelPlan {
    let all = Budget::new(MemoryLimit::Bytes(1 << 40));
    ModelPlan::of(&source(), &options(), &all).expect("a golden model")
}

const SMALL: (u32, u32) = (48, 32);
const LARGE: (u32, u32) = (192, 160);

fn job((width, height): (u32, u32)) -> Job {
    Job {
        size: Size::Exact { width, height },
        sampling: Sampling {
            steps: Some(2),
            ..Sampling::default()
        },
        ..Job::new("a red circle", 42)
    }
}

/// What such a job takes at most with the model held like this.
fn peak((width, height): (u32, u32), residency: Residency) -> u64 {
    let plan = plan();
    let work = Work {
        size: tintype_flux::size::Size::new(width, height),
        steps: 2,
        ..plan.work
    };
    plan.footprint.peak_bytes(residency, &work)
}

async fn run(engine: &NativeEngine, job: Job) -> Result<RgbImage, Error> {
    let drawn = engine.run(job, Box::new(|_| ()), Cancellation::new()).await;
    Ok(drawn?.pictures.remove(0).image)
}

async fn draw(engine: &NativeEngine, job: Job) -> RgbImage {
    run(engine, job).await.expect("a picture")
}

async fn rejected(engine: &NativeEngine, job: Job) -> String {
    match run(engine, job).await {
        Err(Error::Rejected(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

/// An engine with as much as it wants.
fn unbounded() -> NativeEngine {
    engine(&Budget::new(MemoryLimit::Bytes(1 << 40)))
}

#[tokio::test]
async fn a_larger_picture_is_drawn_with_a_leaner_model_and_the_next_small_one_as_before() {
    let budget = budget(peak(LARGE, Residency::TextApart));
    let room = peak(LARGE, Residency::TextApart) + 16;
    assert!(
        peak(LARGE, Residency::Resident) > room,
        "it cannot be whole"
    );
    assert!(peak(SMALL, Residency::Resident) <= room, "for this it can");
    let (engine, unbounded) = (engine(&budget), unbounded());
    for size in [SMALL, LARGE, SMALL] {
        assert!(draw(&engine, job(size)).await == draw(&unbounded, job(size)).await);
        assert!(budget.claimed_bytes() <= room);
    }
    assert_eq!(engine.loads(), 1, "the model itself stays");
}

#[tokio::test]
async fn what_cannot_fit_is_refused_before_anything_is_loaded() {
    let usual = {
        let plan = plan();
        plan.footprint.peak_bytes(Residency::OneByOne, &plan.work)
    };
    let budget = budget(usual);
    let engine = engine(&budget);
    assert_eq!(engine.trouble(), None, "its own size fits");
    let huge = (2048, 2048);
    let reason = rejected(&engine, job(huge)).await;
    for part in [
        "a picture of 2048×2048 is more than there is memory for",
        "may be taken",
        "Ask for a smaller picture",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    let many = Job {
        pictures: 4,
        ..job((1024, 1024))
    };
    let reason = rejected(&engine, many).await;
    assert!(
        reason.contains("4 pictures of 1024×1024 at once"),
        "{reason}"
    );
    assert_eq!(engine.loads(), 0);
    assert_eq!(engine.trouble(), None, "the model is not to blame");
    draw(&engine, job(SMALL)).await;
}

#[tokio::test]
async fn loras_are_counted_with_their_job_and_go_when_others_need_the_room() {
    let whole = peak(SMALL, Residency::Resident);
    let with = |name: &str| Job {
        loras: Some(vec![LoraWish::named(name, 1.0)]),
        ..job(SMALL)
    };
    let unbounded = unbounded();
    // Exactly the model: with a LoRA it is held in parts.
    let tight = budget(whole);
    let engine = engine(&tight);
    for job in [job(SMALL), with("kohya"), with("peft"), job(SMALL)] {
        let expected = draw(&unbounded, job.clone()).await;
        assert!(draw(&engine, job).await == expected);
        assert!(tight.claimed_bytes() <= whole + 16);
    }
    // No room at all beside the leanest.
    let least = peak(SMALL, Residency::OneByOne);
    let leanest = self::engine(&budget(least));
    match run(&leanest, with("kohya")).await {
        Err(Error::Unavailable(why)) => assert!(why.message.contains("memory"), "{}", why.message),
        Err(Error::Rejected(reason)) => assert!(reason.contains("with LoRAs of"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(leanest.loads(), 0);
    draw(&leanest, job(SMALL)).await;
}

fn language() -> LanguageOptions {
    LanguageOptions {
        name: "tiny".to_owned(),
        folder: golden("language/tests/golden/tied/model"),
        device: options(),
        system_prompts: SystemPrompts {
            picture: "Make it vivid.".to_owned(),
            edit: "Make it clear.".to_owned(),
        },
        temperature: Some(1.0),
        max_tokens: 20,
        timeout: Duration::from_secs(120),
        idle: Duration::from_secs(600),
    }
}

#[tokio::test]
async fn the_language_model_has_its_room_and_models_are_placed_in_the_rest() {
    let all = Budget::new(MemoryLimit::Bytes(1 << 40));
    let _measured = LanguageUpsampler::start_within(language(), &all).expect("fits");
    let [(what, bytes)] = &all.aside()[..] else {
        panic!("one thing: {:?}", all.aside());
    };
    assert_eq!(what, "the language model tiny");
    // Together they fit only with the drawing model in parts.
    let room = peak(SMALL, Residency::TextApart) + bytes;
    assert!(peak(SMALL, Residency::Resident) + bytes > room + 16);
    let budget = budget(room);
    let upsampler = LanguageUpsampler::start_within(language(), &budget).expect("fits");
    let engine = engine(&budget);
    let expected = draw(&unbounded(), job(SMALL)).await;
    let wish = Wish {
        prompt: "a cat".to_owned(),
        purpose: Purpose::Picture,
        seed: 3,
    };
    for _ in 0..2 {
        // What it says is of no matter: it is a random model.
        drop(upsampler.rewrite(&wish).await);
        assert!(draw(&engine, job(SMALL)).await == expected);
        assert!(budget.claimed_bytes() <= room + 16);
    }
    assert_eq!(
        (upsampler.loads(), engine.loads()),
        (1, 1),
        "neither went for the other"
    );
    drop(upsampler);
    assert!(budget.aside().is_empty(), "its room is given back");
}

#[tokio::test]
async fn a_language_model_for_which_there_is_no_room_is_refused_with_the_setting_to_change() {
    let refused = LanguageUpsampler::start_within(language(), &budget(1_000)).map(drop);
    let refused = refused.expect_err("no room").to_string();
    for part in [
        "no room for the language model tiny",
        "memory_gb under [compute]",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
}
