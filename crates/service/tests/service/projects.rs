//! Projects and the key that seals their secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tintype_domain::AuthKind;
use tintype_service::{KEY_FILE_NAME, NewProjectRequest, ProjectError, SealingError, SealingKey};

use crate::bench::{Bench, open};

fn request(name: &str) -> NewProjectRequest {
    NewProjectRequest {
        name: name.to_owned(),
        auth: AuthKind::Signature,
        allowed_networks: Vec::new(),
        strict_nonce: false,
    }
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let bench = Bench::new().await;
    let keys = bench
        .service
        .create_project(request("shop"))
        .await
        .expect("made");
    assert_eq!(keys.name, "shop");
    assert_ne!(keys.api_key, keys.api_secret);
    let again = bench.service.create_project(request("shop")).await;
    assert!(matches!(again, Err(ProjectError::Exists(name)) if name == "shop"));
}

#[tokio::test]
async fn useless_names_and_networks_are_refused() {
    let bench = Bench::new().await;
    for name in ["", "  ", "two\nlines", &"x".repeat(101)] {
        let error = bench.service.create_project(request(name)).await;
        assert!(matches!(error, Err(ProjectError::Name { .. })), "{name}");
    }
    let mut nowhere = request("nowhere");
    nowhere.allowed_networks = vec!["10.0.0.0/8".into(), "10.0.0.0/99".into()];
    let error = bench.service.create_project(nowhere).await;
    assert!(matches!(error, Err(ProjectError::Network(entry)) if entry == "10.0.0.0/99"));
}

#[tokio::test]
async fn secrets_do_not_lie_in_the_store() {
    let bench = Bench::new().await;
    let keys = bench
        .service
        .create_project(request("shop"))
        .await
        .expect("made");
    let stored = bench
        .store
        .project_by_key(&keys.api_key)
        .await
        .expect("asked")
        .expect("there");
    let secret = keys.api_secret.as_bytes();
    assert!(
        !stored
            .sealed_secret
            .windows(secret.len())
            .any(|window| window == secret)
    );
}

#[tokio::test]
async fn a_default_project_is_made_when_there_is_none() {
    let bench = Bench::new().await;
    let made = bench.service.ensure_default_project().await.expect("asked");
    assert_eq!(made, None, "the bench has one already");
}

#[tokio::test]
async fn a_fresh_folder_gets_a_key_that_only_its_owner_can_read() {
    let bench = Bench::new().await;
    let path = bench.folder.path().join(KEY_FILE_NAME);
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(bench.folder.path())
        .expect("the folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .filter(|name| name.starts_with("secret"))
        .collect();
    assert_eq!(names, [KEY_FILE_NAME], "no drafts are left behind");
}

#[tokio::test]
async fn a_key_is_never_silently_replaced() {
    let bench = Bench::new().await;
    let path = bench.folder.path().join(KEY_FILE_NAME);
    let mut rng = StdRng::seed_from_u64(8);
    let key = fs::read(&path).expect("the key");

    fs::remove_file(&path).expect("removed");
    let missing = SealingKey::of_data_folder(bench.folder.path(), &*bench.store, &mut rng).await;
    assert!(matches!(missing, Err(SealingError::Missing(_))));
    assert!(!path.exists());

    fs::write(&path, "f".repeat(64)).expect("written");
    let wrong = SealingKey::of_data_folder(bench.folder.path(), &*bench.store, &mut rng).await;
    assert!(matches!(wrong, Err(SealingError::WrongKey(_))));

    fs::write(&path, "not a key").expect("written");
    let malformed = SealingKey::of_data_folder(bench.folder.path(), &*bench.store, &mut rng).await;
    assert!(matches!(malformed, Err(SealingError::Malformed(_))));

    fs::write(&path, key).expect("written");
    assert!(
        SealingKey::of_data_folder(bench.folder.path(), &*bench.store, &mut rng)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_sealed_secret_opens_only_for_its_project_and_unchanged() {
    let mut rng = StdRng::seed_from_u64(9);
    let key = SealingKey::ephemeral(&mut rng);
    let sealed = key.seal("shop", "the secret", &mut rng);
    assert!(key.open("shop", &sealed).is_ok());
    assert!(key.open("other", &sealed).is_err());
    assert!(
        SealingKey::ephemeral(&mut rng)
            .open("shop", &sealed)
            .is_err()
    );
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        assert!(key.open("shop", &changed).is_err(), "byte {index}");
        assert!(
            key.open("shop", &sealed[..index]).is_err(),
            "cut at {index}"
        );
    }
}

#[tokio::test]
async fn the_first_start_makes_a_project_whose_keys_are_shown_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder);
    let mut rng = StdRng::seed_from_u64(10);
    let sealing_key = SealingKey::of_data_folder(folder.path(), &*store, &mut rng).await;
    let parts = tintype_service::Parts {
        store,
        blobs: std::sync::Arc::new(object_store::memory::InMemory::new()),
        catalog: tintype_catalog::Catalog::builtin(),
        sealing_key: sealing_key.expect("a key"),
        clock: tintype_service::test_support::ManualClock::new(),
        rng,
    };
    let config = tintype_service::ServiceConfig::new("http://127.0.0.1:1");
    let service = tintype_service::Service::new(config, parts);
    let keys = service
        .ensure_default_project()
        .await
        .expect("made")
        .expect("keys");
    assert_eq!(keys.name, "default");
    assert_eq!(service.ensure_default_project().await.expect("asked"), None);
}
