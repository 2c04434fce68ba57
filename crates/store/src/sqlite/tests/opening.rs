//! Opening: what is kept, what is taken back, and what is refused.

use tintype_domain::{
    Epoch, Fingerprint, Idempotency, IdempotencyKey, NewTask, TaskRef, TaskState,
};

use super::*;
use crate::conformance::{START, after, new_task, state_of, success};
use crate::sqlite::migrate::CURRENT_VERSION;
use crate::sqlite::owner::OwnerLock;
use crate::{Cancel, Error, Fenced, Standing};

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let place = Place::new();
    let (queued, finished, history) = {
        let bench = bench(&place.open()).await;
        let task = bench.running().await;
        bench.complete(&task, success(&task)).await;
        let history = bench.history(task.id).await;
        (bench.submit().await, bench.detail(task.id).await, history)
    };
    let bench = place.reopen(finished.project);
    assert_eq!(history.len(), 5);
    assert_eq!(bench.history(finished.id).await, history);
    let store = bench.store;
    for task in [queued, finished] {
        let found = store.detail(&TaskRef::Id(task.id), None).await;
        assert_eq!(found.expect("detail"), Some(task));
    }
    let projects = store.projects().await.expect("projects");
    assert_eq!(projects.len(), 1);
}

#[tokio::test]
async fn a_restart_takes_back_what_ran() {
    let place = Place::new();
    let task = bench(&place.open()).await.running().await;
    let bench = place.reopen(task.project);
    assert_eq!(bench.detail(task.id).await.state, TaskState::Queued);
    assert_eq!(bench.complete(&task, success(&task)).await, Fenced::Stale);
    let again = bench.claim(after(1)).await.remove(0);
    assert_eq!((again.id, again.epoch), (task.id, Epoch(2)));
    assert_eq!(query(&place.path(), "SELECT attempts FROM job"), "2");
    let history = bench.history(task.id).await;
    let numbered: Vec<_> = history.iter().map(|e| (e.number, state_of(e))).collect();
    let expected = [
        (1, TaskState::Queued),
        (2, TaskState::Accepted),
        (3, TaskState::Queued),
        (4, TaskState::Accepted),
    ];
    assert_eq!(numbered, expected);
}

#[tokio::test]
async fn a_restart_does_not_run_again_what_was_to_stop() {
    let place = Place::new();
    let task = {
        let bench = bench(&place.open()).await;
        let task = bench.running().await;
        let name = TaskRef::Id(task.id);
        let cancel = bench
            .store
            .cancel(&name, task.project, Standing::Running, after(1));
        assert!(matches!(cancel.await, Ok(Cancel::Flagged(_))));
        task
    };
    let bench = place.reopen(task.project);
    assert_eq!(bench.claim(after(2)).await, []);
    assert_eq!(bench.reap(after(3)).await, 1, "long before its lease");
    let ended = bench.detail(task.id).await;
    assert_eq!(ended.state, TaskState::Cancelled);
    assert_eq!(ended.times.cancelled, Some(after(3)));
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_has_gone() {
    let place = Place::new();
    let first = place.open();
    let refused = SqliteStore::open(&place.path()).expect_err("it is in use");
    let message = refused.to_string();
    let process = format!("in use by process {};", std::process::id());
    assert!(matches!(refused, Error::Unavailable { .. }));
    assert!(message.contains(&process), "{message}");
    drop(first);
    place.open();
}

/// A process that is being started holds copies of all open files for a moment; that once made
/// the model's restarts fail now and then.
#[test]
fn a_copy_of_the_lock_in_a_child_process_does_not_keep_it() {
    let place = Place::new();
    let lock = OwnerLock::try_take(&place.path()).expect("the lock");
    let lock = lock.expect("it is free");
    let _copy = lock.file.try_clone().expect("a copy");
    drop(lock);
    let again = OwnerLock::try_take(&place.path()).expect("the lock");
    assert!(again.is_some(), "it is free again");
}

#[tokio::test]
async fn a_project_can_be_made_beside_a_server() {
    let place = Place::new();
    let server = place.open();
    let running = bench(&server).await.running().await;

    let beside = Arc::new(SqliteStore::open_beside(&place.path()).expect("it opens"));
    let again = crate::NewProject {
        name: "second".to_owned(),
        api_key: "second key".to_owned(),
        sealed_secret: Vec::new(),
        auth: tintype_domain::AuthKind::Key,
        allowed_networks: Vec::new(),
        strict_nonce: false,
    };
    beside.create_project(again, after(1)).await.expect("made");
    drop(beside);

    let found = server.project_by_key("second key").await.expect("by key");
    assert_eq!(found.map(|project| project.id), Some(ProjectId(2)));
    let untouched = server.detail(&TaskRef::Id(running.id), None).await;
    assert_eq!(untouched.expect("detail"), Some(running));
}

#[tokio::test]
async fn a_folder_can_be_prepared_before_the_first_server() {
    let place = Place::new();
    let path = place.folder.path().join("new/data/tasks.db");
    let beside = Arc::new(SqliteStore::open_beside(&path).expect("it opens"));
    let project = bench(&beside).await.project;
    let server = SqliteStore::open(&path).expect("the store opens");
    server
        .submit(new_task(project), after(0))
        .await
        .expect("submit");
}

#[test]
fn a_database_of_a_later_program_is_refused_and_left_alone() {
    let place = Place::new();
    drop(place.open());
    let connection = rusqlite::Connection::open(place.path()).expect("the file opens");
    let later = CURRENT_VERSION + 1;
    connection
        .pragma_update(None, "user_version", later)
        .expect("the version is set");
    drop(connection);
    for open in [SqliteStore::open, SqliteStore::open_beside] {
        let refused = open(&place.path()).expect_err("it is of a later version");
        assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
        let message = refused.to_string();
        assert!(
            message.contains(&format!("schema version {later}")),
            "{message}"
        );
        assert!(message.contains("written by a later program"), "{message}");
    }
    assert_eq!(
        query(&place.path(), "PRAGMA user_version"),
        later.to_string()
    );
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let place = Place::new();
    let text = "A shopping list, and by no means a database.\n".repeat(100);
    std::fs::write(place.path(), &text).expect("the file is written");
    let refused = SqliteStore::open(&place.path()).expect_err("it is no database");
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused:?}");
    let now = std::fs::read_to_string(place.path()).expect("the file is read");
    assert_eq!(now, text);
}

#[test]
fn a_folder_that_cannot_be_made_is_a_clear_error() {
    let place = Place::new();
    let file = place.folder.path().join("file");
    std::fs::write(&file, "").expect("the file is written");
    let refused = SqliteStore::open(&file.join("tasks.db")).expect_err("a file is no folder");
    assert!(matches!(refused, Error::Unavailable { .. }));
    let named = refused.to_string().contains(&file.display().to_string());
    assert!(named, "{refused}");
}

#[cfg(unix)]
#[tokio::test]
async fn others_on_the_machine_cannot_read_the_tokens() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    let store = place.open();
    bench(&store).await.submit().await;
    for name in ["tasks.db", "tasks.db-wal", "tasks.db-shm"] {
        let metadata = std::fs::metadata(place.folder.path().join(name));
        let mode = metadata.expect("the file is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_request_is_still_known_by_its_key_after_a_restart() {
    let place = Place::new();
    let first = bench(&place.open()).await;
    let task = NewTask {
        idempotency: Some(Idempotency {
            key: IdempotencyKey::parse(b"key").expect("a good key"),
            fingerprint: Fingerprint([7; 32]),
            keep_after: START,
        }),
        ..new_task(first.project)
    };
    let submitted = first.store.submit(task.clone(), START).await;
    let submitted = submitted.expect("submit");
    let project = first.project;
    drop(first);
    let second = place.reopen(project);
    let again = second.store.submit(task, START).await.expect("submit");
    assert_eq!(again, submitted);
    assert_eq!(second.account().await.active, 1);
}
