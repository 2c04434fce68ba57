//! The folder without a network: locks, names, removal, what is listed.

use std::sync::Arc;

use tintype_library::pull::{PullOptions, Silent};
use tintype_library::test_support::{Misbehaviour, noise};
use tintype_library::{Condition, Error};

use crate::scene::{REPOSITORY, Scene, manifest, name};

#[tokio::test]
async fn two_pulls_of_a_model_exclude_each_other() {
    let (scene, model) = Scene::with_file(&noise(300_000)).await;
    scene.hub.misbehave(
        REPOSITORY,
        "weights.safetensors",
        &[Misbehaviour::Stall(100_000)],
    );
    let first = scene.pull(&model);
    let second = async {
        while scene
            .hub
            .offsets(REPOSITORY, "weights.safetensors")
            .is_empty()
        {
            tokio::task::yield_now().await;
        }
        let refused = scene.pull(&model).await.expect_err("somebody works on it");
        assert!(matches!(refused, Error::Locked { .. }), "{refused}");
        let refused = scene
            .library
            .remove(&name("m"))
            .expect_err("somebody works on it");
        assert!(
            refused.to_string().contains("wait until it has ended"),
            "{refused}"
        );
    };
    let (first, ()) = tokio::join!(first, second);
    first.expect("a model");
    scene
        .library
        .remove(&name("m"))
        .expect("nobody works on it any more");
}

#[tokio::test]
async fn an_unknown_name_brings_near_ones_and_the_command() {
    let scene = Scene::new().await;
    let refused = |text: &str| scene.library.locate(text).expect_err(text).to_string();
    let unknown = refused("flux-snell");
    assert!(unknown.contains("did you mean flux-schnell"), "{unknown}");
    assert!(unknown.contains("tintype model pull"), "{unknown}");
    let known = refused("flux-dev-q4");
    assert_eq!(
        known,
        "the model flux-dev-q4 is not installed: fetch it with `tintype model pull flux-dev-q4`"
    );
    assert!(refused("/nowhere/at/all").contains("there is no model /nowhere/at/all"));
    assert!(refused("").contains("there is no model"));
    let path = scene.folder.path().display().to_string();
    assert_eq!(
        scene.library.locate(&path).expect("a path"),
        scene.folder.path()
    );
}

#[tokio::test]
async fn the_list_tells_how_far_each_model_is() {
    let scene = Scene::new().await;
    let condition = |model: &str| {
        let listed = scene.library.list().expect("a list").into_iter();
        listed
            .into_iter()
            .find(|listed| listed.name == model)
            .map(|listed| listed.condition)
    };
    assert_eq!(condition("nsfw-vit"), Some(Condition::Available));
    let known = tintype_library::Known::builtin();
    let model = scene.hub.shelve(known.get("nsfw-vit").expect("a model"));
    let broken = Misbehaviour::Status(404, None);
    scene.hub.misbehave(
        "Falconsai/nsfw_image_detection",
        "model.safetensors",
        &[broken],
    );
    scene.pull(&model).await.expect_err("a file is missing");
    assert_eq!(condition("nsfw-vit"), Some(Condition::Unfinished));
    scene.pull(&model).await.expect("a model");
    assert_eq!(condition("nsfw-vit"), Some(Condition::Installed));
    std::fs::create_dir(scene.library.root().join("by-hand")).expect("a folder");
    assert_eq!(condition("by-hand"), Some(Condition::ByHand));
    assert_eq!(condition("manifests"), None);
}

#[tokio::test]
async fn an_unfinished_download_can_be_thrown_away() {
    let (scene, model) = Scene::with_file(&noise(300_000)).await;
    let troubles: Vec<_> = (0..4).map(|_| Misbehaviour::Status(500, None)).collect();
    scene.hub.misbehave(
        REPOSITORY,
        "weights.safetensors",
        &[Misbehaviour::Stall(100_000)],
    );
    scene
        .hub
        .misbehave(REPOSITORY, "weights.safetensors", &troubles);
    scene.pull(&model).await.expect_err("it breaks off");
    let removed = scene.library.remove(&name("m")).expect("thrown away");
    assert!(removed.freed_bytes >= 100_000);
    let refused = scene
        .library
        .remove(&name("m"))
        .expect_err("nothing is left");
    assert!(matches!(refused, Error::Unknown { .. }), "{refused}");
}

#[tokio::test]
async fn a_damaged_record_is_named_and_a_pull_says_what_to_do() {
    let (scene, model) = Scene::with_file(b"x").await;
    scene.pull(&model).await.expect("a model");
    std::fs::write(scene.file("m", ".tintype-library.json"), "{").expect("a file");
    let refused = scene.refusal(&model).await;
    assert!(
        refused.contains("is damaged") && refused.contains("pull it again"),
        "{refused}"
    );
    assert_eq!(scene.library.records(), []);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let scene = Scene::new().await;
    scene.hub.add(REPOSITORY, "a.gguf", "a");
    let file = scene.folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("a file");
    let library = tintype_library::Library::at(file.join("models"));
    let model = manifest("m", &["a.gguf"]);
    let hub = scene.client(None);
    let pulled = library
        .pull(&hub, &model, PullOptions::default(), Arc::new(Silent))
        .await;
    let refused = pulled.expect_err("not a folder").to_string();
    assert!(refused.contains("file/models"), "{refused}");
}
