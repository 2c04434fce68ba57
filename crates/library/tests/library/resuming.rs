//! Pulls that end early and go on: only what is missing is asked for, and only of the same file.

use tintype_library::Manifest;
use tintype_library::pull::PullOptions;
use tintype_library::test_support::{Misbehaviour, noise};

use crate::scene::{REPOSITORY, Scene, manifest};

const FILE: &str = "weights.safetensors";
const BYTES: usize = 1_000_000;

/// What came before a pull gave up.
const ARRIVED: usize = 400_000;

async fn scene(troubles: &[Misbehaviour]) -> (Scene, Manifest) {
    let (scene, model) = Scene::with_file(&noise(BYTES)).await;
    scene.hub.misbehave(REPOSITORY, FILE, troubles);
    (scene, model)
}

/// A pull that has given up: a part came and broke off, three more attempts brought nothing but this
/// status. The hub is well again. Its last word comes along.
async fn given_up(status: u16) -> (Scene, Manifest, String) {
    let nothing = || Misbehaviour::Status(status, None);
    let troubles = [
        Misbehaviour::Stall(ARRIVED),
        nothing(),
        nothing(),
        nothing(),
    ];
    let (scene, model) = scene(&troubles).await;
    let refused = scene.refusal(&model).await;
    scene.hub.forget();
    (scene, model, refused)
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
    let (scene, model, refused) = given_up(503).await;
    assert!(refused.contains("tried 4 times"), "{refused}");
    assert!(refused.contains("the same command goes on"), "{refused}");
    assert!(
        scene.library.locate("m").is_err(),
        "half a model is no model"
    );
    let (pulled, seen) = scene.pull_seen(&model).await;
    pulled.expect("a model");
    assert_eq!(seen.planned().arrived_bytes, ARRIVED as u64);
    assert_eq!(scene.hub.offsets(REPOSITORY, FILE), [ARRIVED as u64]);
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
    let options = PullOptions {
        connections: 1,
        offline: false,
    };
    let (pulled, _) = scene.pull_as(&model, options).await;
    let refused = pulled.expect_err("a file is missing").to_string();
    assert!(
        refused.contains("has no owner/model/small.gguf"),
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
    let (scene, model, _) = given_up(500).await;
    let mut other = noise(BYTES);
    other.reverse();
    scene.hub.add(REPOSITORY, FILE, other.clone());
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
    let (scene, model, _) = given_up(502).await;
    let parts = scene.parts("m");
    assert_eq!(parts.len(), 1, "{parts:?}");
    std::fs::write(&parts[0], vec![7; ARRIVED]).expect("a file");
    scene.pull(&model).await.expect("a model");
    assert_eq!(scene.hub.offsets(REPOSITORY, FILE), [ARRIVED as u64, 0]);
    assert_eq!(scene.faults("m"), [""; 0]);
}
