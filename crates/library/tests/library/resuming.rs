//! Pulls that end early and go on: only what is missing is asked for, and only of the same file.

use tintype_library::test_support::{Misbehaviour, noise};

use crate::scene::{REPOSITORY, Scene, manifest, name};

const FILE: &str = "weights.safetensors";
const BYTES: usize = 1_000_000;

async fn scene(troubles: &[Misbehaviour]) -> (Scene, tintype_library::Manifest) {
    let (scene, model) = Scene::with_file(&noise(BYTES)).await;
    scene.hub.misbehave(REPOSITORY, FILE, troubles);
    (scene, model)
}

#[tokio::test]
async fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let (scene, model) = scene(&[Misbehaviour::Drop(300_000), Misbehaviour::Drop(200_000)]).await;
    let (pulled, seen) = scene.pull_seen(&model).await;
    pulled.expect("a model");
    let offsets = scene.hub.offsets(REPOSITORY, FILE);
    assert_eq!(offsets.len(), 3, "{offsets:?}");
    assert!(offsets.is_sorted() && offsets[1] > 0, "{offsets:?}");
    assert_eq!(seen.bytes(), BYTES as i64, "nothing came twice");
    assert_eq!(seen.waits().len(), 2);
    assert_eq!(scene.read("m", FILE), noise(BYTES));
}

#[tokio::test]
async fn a_host_that_falls_silent_is_asked_again() {
    let (scene, model) = scene(&[Misbehaviour::Stall(400_000)]).await;
    let (pulled, seen) = scene.pull_seen(&model).await;
    pulled.expect("a model");
    assert_eq!(scene.hub.offsets(REPOSITORY, FILE), [0, 400_000]);
    assert_eq!(seen.waits().len(), 1);
}

#[tokio::test]
async fn a_later_pull_goes_on_where_one_gave_up() {
    // A part comes and breaks off; three more attempts bring nothing.
    let nothing = || Misbehaviour::Status(503, None);
    let troubles = [
        Misbehaviour::Stall(400_000),
        nothing(),
        nothing(),
        nothing(),
    ];
    let (scene, model) = scene(&troubles).await;
    let refused = scene.refusal(&model).await;
    assert!(refused.contains("tried 4 times"), "{refused}");
    assert!(refused.contains("the same command goes on"), "{refused}");
    assert!(
        scene.library.locate("m").is_err(),
        "half a model is no model"
    );
    scene.hub.forget();
    let (pulled, seen) = scene.pull_seen(&model).await;
    pulled.expect("a model");
    assert_eq!(seen.planned().arrived_bytes, 400_000);
    assert_eq!(scene.hub.offsets(REPOSITORY, FILE), [400_000]);
    assert_eq!(scene.read("m", FILE), noise(BYTES));
}

#[tokio::test]
async fn a_file_that_was_whole_is_not_fetched_by_a_later_pull() {
    let scene = Scene::new().await;
    scene.hub.add(REPOSITORY, "big.gguf", noise(BYTES));
    scene.hub.add(REPOSITORY, "small.gguf", noise(100));
    scene
        .hub
        .misbehave(REPOSITORY, "small.gguf", &[Misbehaviour::Status(404, None)]);
    let mut model = manifest("m", &["big.gguf", "small.gguf"]);
    // One after the other: the large one first.
    let hub = scene.client(None);
    let options = tintype_library::pull::PullOptions {
        connections: 1,
        offline: false,
    };
    let silent = std::sync::Arc::new(tintype_library::pull::Silent);
    let refused = scene
        .library
        .pull(&hub, &model, options, silent)
        .await
        .expect_err("a file is missing");
    assert!(
        refused
            .to_string()
            .contains("has no owner/model/small.gguf"),
        "{refused}"
    );
    scene.hub.forget();
    model.files.reverse();
    scene.pull(&model).await.expect("a model");
    assert!(
        scene.hub.offsets(REPOSITORY, "big.gguf").is_empty(),
        "{:?}",
        scene.hub.asked()
    );
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_begins_anew() {
    let nothing = || Misbehaviour::Status(500, None);
    let troubles = [
        Misbehaviour::Stall(400_000),
        nothing(),
        nothing(),
        nothing(),
    ];
    let (scene, model) = scene(&troubles).await;
    scene.refusal(&model).await;
    let mut other = noise(BYTES);
    other.reverse();
    scene.hub.add(REPOSITORY, FILE, other.clone());
    scene.hub.forget();
    scene.pull(&model).await.expect("a model");
    assert_eq!(scene.hub.offsets(REPOSITORY, FILE), [0]);
    assert_eq!(scene.read("m", FILE), other);
}

#[tokio::test]
async fn a_host_that_changes_the_file_within_a_pull_is_noticed() {
    let (scene, model) = scene(&[Misbehaviour::Stall(400_000)]).await;
    // The hub goes on saying the old etag; its other host has other bytes under an etag of their own.
    let pull = scene.pull_seen(&model);
    let change = async {
        while scene.hub.offsets(REPOSITORY, FILE).is_empty() {
            tokio::task::yield_now().await;
        }
        let mut other = noise(BYTES);
        other.reverse();
        scene.hub.add(REPOSITORY, FILE, other);
    };
    let ((pulled, _), ()) = tokio::join!(pull, change);
    let refused = pulled.expect_err("other bytes").to_string();
    assert!(
        refused.contains("wrong bytes") && refused.contains("weights.safetensors"),
        "{refused}"
    );
    assert!(scene.library.locate("m").is_err());
}

#[tokio::test]
async fn a_host_that_knows_no_ranges_begins_anew_and_still_ends() {
    let troubles = [Misbehaviour::Stall(400_000), Misbehaviour::IgnoreRange];
    let (scene, model) = scene(&troubles).await;
    let (pulled, seen) = scene.pull_seen(&model).await;
    pulled.expect("a model");
    assert_eq!(scene.hub.offsets(REPOSITORY, FILE), [0, 400_000]);
    assert_eq!(
        seen.bytes(),
        BYTES as i64,
        "what came first was thrown away"
    );
    assert_eq!(scene.read("m", FILE), noise(BYTES));
}

#[tokio::test]
async fn a_host_that_begins_anew_each_time_and_breaks_off_is_given_up() {
    let troubles: Vec<_> = (0..20)
        .map(|_| Misbehaviour::IgnoreRangeAndDrop(300_000))
        .collect();
    let (scene, model) = scene(&troubles).await;
    assert!(scene.refusal(&model).await.contains("could not be fetched"));
    assert!(scene.hub.offsets(REPOSITORY, FILE).len() < 10, "bounded");
}

#[tokio::test]
async fn a_part_that_was_spoilt_on_the_disk_is_fetched_anew_once() {
    let nothing = || Misbehaviour::Status(502, None);
    let troubles = [
        Misbehaviour::Stall(400_000),
        nothing(),
        nothing(),
        nothing(),
    ];
    let (scene, model) = scene(&troubles).await;
    scene.refusal(&model).await;
    let parts = scene.library.root().join(".staging/m/parts");
    let part = std::fs::read_dir(parts)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path());
    let part = part
        .into_iter()
        .find(|path| path.extension().is_some_and(|ending| ending == "part"));
    std::fs::write(part.expect("a part"), vec![7; 400_000]).expect("a file");
    scene.hub.forget();
    scene.pull(&model).await.expect("a model");
    assert_eq!(scene.hub.offsets(REPOSITORY, FILE), [400_000, 0]);
    assert!(
        scene
            .library
            .verify(&name("m"), |_| {})
            .expect("a model")
            .is_empty()
    );
}
