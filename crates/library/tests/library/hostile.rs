//! Hubs that lie, refuse, lead astray, or are overrun.

use std::time::Duration;

use serde_json::json;
use tintype_library::pull::{PullOptions, Remote, Silent};
use tintype_library::test_support::{Misbehaviour, StandInHub, noise};
use tintype_library::{Error, Manifest};

use crate::scene::{REPOSITORY, Scene, manifest, name, parse};

const FILE: &str = "weights.safetensors";

fn is_empty(scene: &Scene) -> bool {
    let bytes = |part: &std::path::PathBuf| part.metadata().expect("a file").len();
    scene.parts("m").iter().all(|part| bytes(part) == 0)
}

#[tokio::test]
async fn wrong_bytes_are_thrown_away_and_the_file_is_named() {
    let (scene, model) = Scene::with_file(&noise(50_000)).await;
    scene
        .hub
        .misbehave(REPOSITORY, FILE, &[Misbehaviour::WrongBytes]);
    let refused = scene.refusal(&model).await;
    assert!(
        refused.contains("owner/model/weights.safetensors arrived with wrong bytes"),
        "{refused}"
    );
    assert!(is_empty(&scene), "nothing of it is kept");
    scene.pull(&model).await.expect("the next time it is right");
}

#[tokio::test]
async fn two_lengths_that_differ_are_both_named() {
    for claim in [40_000, 60_000] {
        let (scene, model) = Scene::with_file(&noise(50_000)).await;
        scene
            .hub
            .misbehave(REPOSITORY, FILE, &[Misbehaviour::Claim(claim)]);
        let refused = scene.refusal(&model).await;
        let both =
            refused.contains("says 50000 bytes") && refused.contains(&format!("sends {claim}"));
        assert!(both, "{refused}");
        assert!(is_empty(&scene));
    }
    for claim in [40_000, 60_000] {
        let (scene, model) = Scene::with_file(&noise(50_000)).await;
        scene.hub.claim_length(REPOSITORY, FILE, claim);
        let refused = scene.refusal(&model).await;
        assert!(
            refused.contains(&format!("says {claim} bytes")),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn more_than_was_promised_is_not_written() {
    let (scene, model) = Scene::with_file(&noise(50_000)).await;
    scene
        .hub
        .misbehave(REPOSITORY, FILE, &[Misbehaviour::TooMuch]);
    let refused = scene.refusal(&model).await;
    assert!(refused.contains("sends 50008"), "{refused}");
    assert!(is_empty(&scene));
}

#[tokio::test]
async fn a_file_that_is_not_the_known_one_is_not_even_fetched() {
    let (scene, _) = Scene::with_file(&noise(50_000)).await;
    let known = "0".repeat(64);
    for (about, complaint) in [
        (
            format!("sha256 = \"{known}\""),
            "another file than this program knows: its SHA-256",
        ),
        ("size = 49999".to_owned(), "it has 50000 bytes, not 49999"),
    ] {
        let model = parse("m", &format!("[[file]]\npath = \"{FILE}\"\n{about}\n"));
        let refused = scene.refusal(&model).await;
        assert!(refused.contains(complaint), "{refused}");
    }
    assert!(scene.hub.offsets(REPOSITORY, FILE).is_empty());
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_nowhere_else() {
    let (scene, model) = Scene::with_file(&noise(50_000)).await;
    scene.hub.add_small(REPOSITORY, "config.json", "{}");
    scene.hub.gate(REPOSITORY, "hf_secret");
    let model = Manifest {
        files: manifest("m", &[FILE, "config.json"]).files,
        ..model
    };
    let hub = scene.client(Some("hf_secret"));
    let pulled = scene.library.pull(
        &hub,
        &model,
        PullOptions::default(),
        std::sync::Arc::new(Silent),
    );
    pulled.await.expect("a model");
    let asked = scene.hub.asked();
    assert!(asked.iter().any(|asked| asked.elsewhere));
    for asked in asked {
        let shown = asked.authorization.as_deref();
        let expected = (!asked.elsewhere).then_some("Bearer hf_secret");
        assert_eq!(shown, expected, "{asked:?}");
    }
}

#[tokio::test]
async fn a_gated_repository_says_where_to_ask_and_how_to_show_it() {
    let (scene, model) = Scene::with_file(b"x").await;
    scene.hub.gate(REPOSITORY, "hf_right");
    let refused = scene.refusal(&model).await;
    let page = format!("{}/owner/model", scene.hub.url);
    assert!(
        refused.contains(&page) && refused.contains("HF_TOKEN"),
        "{refused}"
    );
    let wrong = scene.client(Some("hf_wrong"));
    let pull = scene.library.pull(
        &wrong,
        &model,
        PullOptions::default(),
        std::sync::Arc::new(Silent),
    );
    let refused = pull.await.expect_err("a wrong token").to_string();
    assert!(
        refused.contains("status 403") && refused.contains("same account"),
        "{refused}"
    );
    assert!(!refused.contains("hf_wrong"));
}

#[tokio::test]
async fn what_is_not_there_is_named_and_not_tried_again() {
    let scene = Scene::new().await;
    let refused = scene.refusal(&manifest("m", &["nothing.gguf"])).await;
    assert!(
        refused.contains("has no owner/model/nothing.gguf"),
        "{refused}"
    );
    assert_eq!(scene.hub.asked().len(), 1);
}

#[tokio::test]
async fn passing_troubles_are_waited_out_as_long_as_the_hub_asks_and_no_longer() {
    let (scene, model) = Scene::with_file(&noise(1_000)).await;
    scene.hub.answer_questions(&[500, 429, 503]);
    let busy = Misbehaviour::Status(429, Some("3600"));
    scene.hub.misbehave(
        REPOSITORY,
        FILE,
        &[
            busy,
            Misbehaviour::Status(500, None),
            Misbehaviour::Status(403, None),
        ],
    );
    let (pulled, seen) = scene.pull_seen(&model).await;
    pulled.expect("a model");
    let waits = seen.waits();
    assert_eq!(waits.len(), 3, "{waits:?}");
    assert!(waits[0].0.contains("429"), "{waits:?}");
    assert_eq!(waits[0].1, Duration::from_millis(5), "an hour is too long");
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_given_up() {
    let (scene, model) = Scene::with_file(b"x").await;
    let hub = scene.client(None);
    let Scene {
        hub: stand_in,
        library,
        folder,
    } = scene;
    drop(stand_in);
    tokio::task::yield_now().await;
    let pulled = library
        .pull(
            &hub,
            &model,
            PullOptions::default(),
            std::sync::Arc::new(Silent),
        )
        .await;
    let refused = pulled.expect_err("nobody is there");
    assert!(
        matches!(refused, Error::GaveUp { attempts: 4, .. }),
        "{refused}"
    );
    drop(folder);
}

#[tokio::test]
async fn redirects_end() {
    let (scene, model) = Scene::with_file(b"x").await;
    scene.hub.send_in_circles(REPOSITORY);
    let refused = scene.refusal(&model).await;
    assert!(
        refused.contains("leads from one address to the next"),
        "{refused}"
    );
    assert!(scene.hub.asked().len() < 12);
    let (scene, model) = Scene::with_file(b"x").await;
    scene.hub.lead_astray();
    let refused = scene.refusal(&model).await;
    assert!(refused.contains("neither http nor https"), "{refused}");
}

#[tokio::test]
async fn a_repository_that_was_renamed_is_found() {
    let (scene, _) = Scene::with_file(&noise(1_000)).await;
    scene.hub.rename("old/name", REPOSITORY);
    let model = parse(
        "m",
        &format!("[[file]]\nrepository = \"old/name\"\npath = \"{FILE}\"\n"),
    );
    scene.pull(&model).await.expect("a model");
    let record = scene
        .library
        .record(&name("m"))
        .expect("a record")
        .expect("one");
    let origin = record.files[0].origin.clone().expect("an origin");
    assert!(origin.commit.is_some(), "the new name's commit");
}

async fn listing_refused(scene: &Scene) -> String {
    let remote: Remote = REPOSITORY.parse().expect("a repository");
    let listed = remote.manifest(&scene.client(None), name("m")).await;
    listed.expect_err("not to be trusted").to_string()
}

#[tokio::test]
async fn lists_that_lead_out_of_the_folder_or_have_no_end_are_refused() {
    let scene = Scene::new().await;
    let file = |path: &str| json!({ "rfilename": path, "size": 3 });
    for path in ["../../.bashrc.json", "/etc/passwd.json", "a/../../b.json"] {
        scene.hub.list(
            REPOSITORY,
            json!({ "siblings": [file("config.json"), file(path)] }),
        );
        let refused = listing_refused(&scene).await;
        assert!(refused.contains("not a path inside"), "{refused}");
    }
    let many: Vec<_> = (0..5_001).map(|n| file(&format!("{n}.json"))).collect();
    scene.hub.list(REPOSITORY, json!({ "siblings": many }));
    assert!(
        listing_refused(&scene)
            .await
            .contains("more than 5000 files")
    );
    let padding = "x".repeat(17 << 20);
    scene.hub.list(
        REPOSITORY,
        json!({ "siblings": [file("config.json")], "padding": padding }),
    );
    assert!(listing_refused(&scene).await.contains("longer than"));
    scene.hub.list(REPOSITORY, json!([1, 2]));
    assert!(listing_refused(&scene).await.contains("cannot be used"));
    scene
        .hub
        .list(REPOSITORY, json!({ "siblings": [file("README.md")] }));
    assert!(listing_refused(&scene).await.contains("names no file"));
    scene.hub.list(
        REPOSITORY,
        json!({ "siblings": [file("a.json"), file("a.json")] }),
    );
    assert!(listing_refused(&scene).await.contains("twice"));
}

#[tokio::test]
async fn a_size_that_no_disk_has_is_refused_before_anything_is_fetched() {
    let (scene, model) = Scene::with_file(b"x").await;
    scene.hub.claim_length(REPOSITORY, FILE, 1 << 60);
    let refused = scene.refusal(&model).await;
    assert!(
        refused.contains("lacks room") && refused.contains("free some"),
        "{refused}"
    );
    assert!(scene.hub.offsets(REPOSITORY, FILE).is_empty());
}

#[tokio::test]
async fn the_stand_in_forgets_no_request() {
    let hub = StandInHub::start().await;
    assert_eq!(hub.asked(), []);
}
