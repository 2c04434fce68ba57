//! Prompts rewritten by a language model of this machine: a tiny one with random weights.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use tempfile::TempDir;

use tintype_engine::native::{DeviceOptions, LanguageOptions, LanguageUpsampler, NanoUpsampler};
use tintype_engine::upsampling::{NotUpsampled, Purpose, SystemPrompts, Upsampler, Wish};

const SEEDS: u64 = 24;

/// Any word of a random model is as likely as another: so many of them end an answer that most end.
const GENERATION: &str = r#"{"do_sample": true, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
    "eos_token_id": [416, 417, 11, 26, 41, 56, 71, 86, 101, 116, 131, 146, 161, 176, 191, 206, 221, 236, 251, 266, 281, 296, 311, 326, 341, 356, 371, 386, 401]}"#;

/// The model, for all tests of this process.
static MODEL: LazyLock<TempDir> = LazyLock::new(|| {
    let golden = "../language/tests/golden/tied/model";
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
    let folder = tempfile::tempdir().expect("a folder");
    for file in [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "chat_template.jinja",
    ] {
        fs::copy(golden.join(file), folder.path().join(file)).expect("copied");
    }
    fs::write(folder.path().join("generation_config.json"), GENERATION).expect("written");
    folder
});

fn options() -> LanguageOptions {
    LanguageOptions {
        name: "tiny".to_owned(),
        folder: MODEL.path().to_owned(),
        device: DeviceOptions {
            threads: 1,
            ..DeviceOptions::default()
        },
        system_prompts: SystemPrompts {
            picture: "Make it vivid.".to_owned(),
            edit: "Make it clear.".to_owned(),
        },
        temperature: Some(1.0),
        max_tokens: 60,
        timeout: Duration::from_secs(120),
        idle: Duration::from_secs(600),
    }
}

fn wish(seed: u64) -> Wish {
    Wish {
        prompt: "a cat".to_owned(),
        purpose: Purpose::Picture,
        seed,
    }
}

async fn all(upsampler: &LanguageUpsampler) -> Vec<Result<String, NotUpsampled>> {
    let mut all = Vec::new();
    for seed in 0..SEEDS {
        all.push(upsampler.rewrite(&wish(seed)).await);
    }
    all
}

#[tokio::test]
async fn the_same_seed_gives_the_same_rewriting() {
    let upsampler = LanguageUpsampler::start(options()).expect("a thread");
    assert_eq!(
        upsampler.loads(),
        0,
        "nothing is loaded before it is needed"
    );
    let first = all(&upsampler).await;
    let mut texts: Vec<_> = first.iter().flatten().collect();
    assert!(texts.len() > 1, "{first:?}");
    texts.dedup();
    assert!(texts.len() > 1, "the seed decides: {texts:?}");
    for failure in first.iter().filter_map(|text| text.as_ref().err()) {
        assert!(matches!(failure, NotUpsampled::Unusable(_)), "{failure}");
    }
    let mut other_threads = options();
    other_threads.device.threads = 2;
    let again = LanguageUpsampler::start(other_threads).expect("a thread");
    assert_eq!(all(&again).await, first);
    assert_eq!(
        (upsampler.loads(), upsampler.drops()),
        (1, 0),
        "loaded once for all"
    );
}

#[tokio::test]
async fn a_model_that_nobody_uses_goes_and_comes_back() {
    let upsampler = LanguageUpsampler::start(LanguageOptions {
        idle: Duration::from_millis(1),
        ..options()
    });
    let upsampler = upsampler.expect("a thread");
    let first = upsampler.rewrite(&wish(3)).await;
    while upsampler.drops() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(upsampler.rewrite(&wish(3)).await, first);
    assert_eq!(upsampler.loads(), 2);
}

#[tokio::test]
async fn its_time_is_bounded() {
    let timeout = Duration::ZERO;
    let hurried = LanguageOptions {
        timeout,
        ..options()
    };
    let upsampler = LanguageUpsampler::start(hurried).expect("a thread");
    let late = upsampler.rewrite(&wish(1)).await;
    assert_eq!(late, Err(NotUpsampled::TimedOut(timeout)));
}

#[tokio::test]
async fn what_nobody_waits_for_is_given_up_and_the_next_is_served() {
    let endless = LanguageOptions {
        max_tokens: 4_000,
        ..options()
    };
    let upsampler = LanguageUpsampler::start(endless).expect("a thread");
    for seed in 0..5 {
        let wish = wish(seed);
        let given_up = tokio::time::timeout(Duration::from_millis(1), upsampler.rewrite(&wish));
        drop(given_up.await);
    }
    // Dropping it joins the thread: it must not finish what nobody waits for.
    drop(upsampler);
}

#[tokio::test]
async fn too_many_at_once_are_refused() {
    let upsampler = LanguageUpsampler::start(options()).expect("a thread");
    let wishes: Vec<_> = (0..100).map(wish).collect();
    let asked = wishes.iter().map(|wish| upsampler.rewrite(wish));
    let answers = all_at_once(asked.collect()).await;
    let busy = answers
        .iter()
        .filter(|answer| **answer == Err(NotUpsampled::Busy));
    assert!(busy.count() > 0);
}

/// All of them at once.
async fn all_at_once<T>(
    mut waiting: Vec<std::pin::Pin<Box<dyn Future<Output = T> + Send + '_>>>,
) -> Vec<T> {
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                done.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        match waiting.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done
}

#[tokio::test]
async fn a_model_that_cannot_be_opened_is_a_failure_and_no_panic() {
    let missing = LanguageOptions {
        folder: PathBuf::from("/nowhere"),
        ..options()
    };
    let upsampler = LanguageUpsampler::start(missing).expect("a thread");
    assert_eq!(upsampler.rewrite(&wish(1)).await, Err(NotUpsampled::Failed));
    assert_eq!(upsampler.rewrite(&wish(1)).await, Err(NotUpsampled::Failed));
}

#[tokio::test]
async fn the_bundled_model_has_an_upsampler_of_its_own() {
    let rewrite = async |prompt: &str, purpose| {
        let wish = Wish {
            prompt: prompt.to_owned(),
            purpose,
            seed: 7,
        };
        NanoUpsampler.rewrite(&wish).await
    };
    let circle = rewrite("a circle", Purpose::Picture).await;
    assert_eq!(
        circle.as_deref(),
        Ok("a large pink circle in the top on a gray background")
    );
    let edit = "make the circle green";
    assert_eq!(rewrite(edit, Purpose::Edit).await.as_deref(), Ok(edit));
    assert_eq!(
        rewrite("a cat", Purpose::Picture).await,
        Err(NotUpsampled::Foreign)
    );
}
