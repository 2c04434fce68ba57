//! What a pull does on a good day, and what it leaves behind.

use std::os::unix::fs::MetadataExt;

use tintype_library::digest::FileDigest;
use tintype_library::pull::{PullOptions, Remote};
use tintype_library::test_support::noise;
use tintype_library::{Condition, Error, Known};

use crate::scene::{REPOSITORY, Scene, manifest, name, parse};

#[tokio::test]
async fn a_model_appears_whole_with_a_record_of_where_it_came_from() {
    let scene = Scene::new().await;
    let bytes = noise(300_000);
    scene
        .hub
        .add(REPOSITORY, "transformer/weights.safetensors", bytes.clone());
    scene.hub.add_small(REPOSITORY, "config.json", "{}");
    let model = manifest("m", &["transformer/weights.safetensors", "config.json"]);
    let (pulled, seen) = scene.pull_seen(&model).await;
    let pulled = pulled.expect("a model");
    assert!(!pulled.was_whole);
    assert_eq!(pulled.bytes, 300_002);
    assert_eq!(seen.bytes(), 300_002);
    assert_eq!(scene.read("m", "transformer/weights.safetensors"), bytes);
    assert_eq!(scene.read("m", "config.json"), b"{}");
    let record = scene
        .library
        .record(&name("m"))
        .expect("a record")
        .expect("one");
    let origin = record.files[1].origin.clone().expect("an origin");
    assert_eq!(origin.revision.as_str(), "main");
    assert!(origin.commit.is_some_and(|commit| commit.is_commit()));
    assert_eq!(record.files[1].sha256, FileDigest::of(&bytes));
    assert_eq!(scene.faults("m"), [""; 0]);
    assert_eq!(
        scene.library.locate("m").expect("a folder"),
        scene.library.root().join("m")
    );
    let left: Vec<_> = std::fs::read_dir(scene.library.root().join(".staging"))
        .expect("a folder")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_model_that_is_whole_is_not_fetched_again_and_a_spoilt_one_is_mended() {
    let scene = Scene::new().await;
    scene.hub.add(REPOSITORY, "a.gguf", noise(5_000));
    scene.hub.add(REPOSITORY, "b.gguf", noise(6_000));
    let model = manifest("m", &["a.gguf", "b.gguf"]);
    scene.pull(&model).await.expect("a model");
    scene.hub.forget();
    assert!(scene.pull(&model).await.expect("a model").was_whole);
    assert_eq!(scene.hub.asked(), [], "nothing is asked for");
    let path = scene.file("m", "b.gguf");
    let mut spoilt = noise(6_000);
    spoilt[17] ^= 1;
    std::fs::write(&path, spoilt).expect("a file");
    let wrong = scene.faults("m");
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(
        wrong[0].starts_with("b.gguf: ") && wrong[0].contains("other bytes"),
        "{wrong:?}"
    );
    std::fs::remove_file(scene.file("m", "a.gguf")).expect("a file");
    assert_eq!(scene.faults("m").len(), 2);
    std::fs::write(scene.file("m", "a.gguf"), noise(5_000)).expect("a file");
    scene.pull(&model).await.expect("a model");
    assert_eq!(scene.read("m", "b.gguf"), noise(6_000));
    assert_eq!(
        scene.hub.offsets(REPOSITORY, "a.gguf"),
        [0; 0],
        "it was right"
    );
    assert_eq!(scene.faults("m"), [""; 0]);
}

#[tokio::test]
async fn what_two_models_share_is_stored_once_and_stays_while_one_needs_it() {
    let scene = Scene::new().await;
    scene
        .hub
        .add(REPOSITORY, "shared.safetensors", noise(9_000));
    scene.hub.add(REPOSITORY, "one.gguf", "one");
    scene.hub.add(REPOSITORY, "two.gguf", "two");
    scene
        .pull(&manifest("one", &["shared.safetensors", "one.gguf"]))
        .await
        .expect("a model");
    let (pulled, seen) = scene
        .pull_seen(&manifest("two", &["shared.safetensors", "two.gguf"]))
        .await;
    pulled.expect("a model");
    assert_eq!(
        (seen.planned().shared_files, seen.planned().shared_bytes),
        (1, 9_000)
    );
    assert_eq!(
        scene.hub.offsets(REPOSITORY, "shared.safetensors"),
        [0],
        "fetched once"
    );
    let inode = |model| {
        std::fs::metadata(scene.file(model, "shared.safetensors"))
            .expect("a file")
            .ino()
    };
    assert_eq!(inode("one"), inode("two"));
    let removed = scene.library.remove(&name("one")).expect("removed");
    assert_eq!(removed.shared_bytes, 9_000);
    assert!(scene.library.locate("one").is_err());
    assert_eq!(scene.faults("two"), [""; 0]);
    let removed = scene.library.remove(&name("two")).expect("removed");
    assert_eq!(removed.shared_bytes, 0);
    assert!(removed.freed_bytes > 9_000);
}

#[tokio::test]
async fn a_spoilt_file_is_not_shared() {
    let scene = Scene::new().await;
    scene
        .hub
        .add(REPOSITORY, "shared.safetensors", noise(9_000));
    scene
        .pull(&manifest("one", &["shared.safetensors"]))
        .await
        .expect("a model");
    std::fs::write(scene.file("one", "shared.safetensors"), vec![0; 9_000]).expect("a file");
    scene
        .pull(&manifest("two", &["shared.safetensors"]))
        .await
        .expect("a model");
    assert_eq!(scene.read("two", "shared.safetensors"), noise(9_000));
    assert_eq!(
        scene.read("one", "shared.safetensors"),
        [0; 9_000],
        "it is left alone"
    );
}

#[tokio::test]
async fn settings_of_the_manifest_stand_in_the_folder() {
    let scene = Scene::new().await;
    scene.hub.add(REPOSITORY, "a.gguf", "a");
    let files = "[[file]]\npath = \"a.gguf\"\n[tintype]\nkind = \"kontext\"\n";
    scene.pull(&parse("m", files)).await.expect("a model");
    let text = scene.read("m", "tintype.json");
    let settings: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(settings["kind"], "kontext");
    assert!(
        scene
            .pull(&parse("m", files))
            .await
            .expect("a model")
            .was_whole
    );
    let other = files.replace("kontext", "text");
    assert!(
        !scene
            .pull(&parse("m", &other))
            .await
            .expect("a model")
            .was_whole
    );
    assert!(
        scene
            .read("m", "tintype.json")
            .windows(4)
            .any(|part| part == b"text")
    );
}

#[tokio::test]
async fn a_repository_that_nobody_knows_is_pulled_by_its_list() {
    let scene = Scene::new().await;
    scene
        .hub
        .add("Some/Other-Model", "model.safetensors", noise(4_000));
    scene.hub.add_small("Some/Other-Model", "config.json", "{}");
    scene
        .hub
        .add_small("Some/Other-Model", "README.md", "# Read me");
    scene
        .hub
        .add("Some/Other-Model", "pytorch_model.bin", "pickle");
    scene.hub.license("Some/Other-Model", "apache-2.0");
    let remote: Remote = "Some/Other-Model".parse().expect("a repository");
    let hub = scene.client(None);
    let model = remote
        .manifest(&hub, remote.name().expect("a name"))
        .await
        .expect("a manifest");
    assert_eq!(
        (model.licence.name.as_str(), model.licence.acknowledge),
        ("apache-2.0", false)
    );
    assert_eq!(model.bytes(), 4_002);
    scene.pull(&model).await.expect("a model");
    assert_eq!(scene.read("other-model", "model.safetensors"), noise(4_000));
    assert!(!scene.file("other-model", "README.md").exists());
    assert!(!scene.file("other-model", "pytorch_model.bin").exists());
    let some: Remote = "Some/Other-Model@main:config.json".parse().expect("a file");
    let some = some.manifest(&hub, name("part")).await.expect("a manifest");
    assert_eq!(some.files.len(), 1);
    let none: Remote = "Some/Other-Model:nothing.gguf".parse().expect("a file");
    let refused = none
        .manifest(&hub, name("part"))
        .await
        .expect_err("no such file");
    assert!(
        refused.to_string().contains("no file nothing.gguf"),
        "{refused}"
    );
}

#[tokio::test]
async fn every_known_model_can_be_pulled_from_a_hub_that_has_its_files() {
    let scene = Scene::new().await;
    for model in Known::builtin().iter() {
        let stand_in = scene.hub.shelve(model);
        let pulled = scene.pull(&stand_in).await;
        let folder = pulled
            .unwrap_or_else(|error| panic!("{}: {error}", model.name))
            .folder;
        for file in &model.files {
            assert!(folder.join(file.path.as_str()).is_file(), "{}", file.path);
        }
        assert_eq!(scene.faults(model.name.as_str()), [""; 0]);
    }
    let listed = scene.library.list().expect("a list");
    assert!(
        listed
            .iter()
            .all(|model| model.condition == Condition::Installed)
    );
}

#[tokio::test]
async fn offline_nothing_is_asked_and_what_is_whole_is_there() {
    let (scene, model) = Scene::with_file(b"bytes").await;
    let options = PullOptions {
        offline: true,
        ..PullOptions::default()
    };
    let (pulled, _) = scene.pull_as(&model, options).await;
    let refused = pulled.expect_err("it is not there");
    assert!(matches!(refused, Error::Offline { .. }), "{refused}");
    assert_eq!(scene.hub.asked(), []);
    scene.pull(&model).await.expect("a model");
    let (pulled, _) = scene.pull_as(&model, options).await;
    assert!(pulled.expect("it is there").was_whole);
}

#[tokio::test]
async fn a_folder_put_there_by_hand_is_used_and_left_alone() {
    let (scene, model) = Scene::with_file(b"bytes").await;
    let folder = scene.library.root().join("m");
    std::fs::create_dir_all(&folder).expect("a folder");
    assert_eq!(scene.library.locate("m").expect("a folder"), folder);
    assert!(scene.refusal(&model).await.contains("was not fetched by"));
    assert!(scene.library.remove(&name("m")).is_err());
    assert!(scene.library.verify(&name("m"), |_| {}).is_err());
    assert!(folder.is_dir());
}
