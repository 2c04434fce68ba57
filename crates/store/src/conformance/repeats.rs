//! Requests that are repeated under an idempotency key.

use tintype_domain::{FileRecord, Fingerprint, Idempotency, IdempotencyKey, Refusal};

use super::*;
use crate::AccountChange;

/// How long the keys of the checks are kept.
const KEPT_MS: i64 = 86_400_000;

fn idempotency(key: &str, request: u8, now: UnixMillis) -> Idempotency {
    Idempotency {
        key: IdempotencyKey::parse(key.as_bytes()).expect("a good key"),
        fingerprint: Fingerprint([request; 32]),
        keep_after: now.plus_millis(-KEPT_MS),
    }
}

/// Submits what the request `request` asks for, under a key.
async fn submit(bench: &Bench, key: &str, request: u8, now: UnixMillis) -> Result<Task, Error> {
    let task = NewTask {
        idempotency: Some(idempotency(key, request, now)),
        ..new_task(bench.project)
    };
    bench.store.submit(task, now).await
}

fn assert_reused<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let reused = matches!(answer, Err(Error::Refused(Refusal::KeyReused)));
    assert!(reused, "{answer:?}");
}

pub(super) async fn a_repeated_request_gives_the_first_task(bench: &Bench) {
    let first = submit(bench, "key", 1, START).await.expect("submit");
    let again = submit(bench, "key", 1, after(5)).await.expect("submit");
    assert_eq!(again, first);
    assert_reused(submit(bench, "key", 2, after(5)).await);
    let ask = async |key, request| {
        let idempotency = idempotency(key, request, after(5));
        bench.store.repeated(bench.project, &idempotency).await
    };
    assert_eq!(ask("key", 1).await.expect("asked"), Some(first.clone()));
    assert_eq!(ask("another", 1).await.expect("asked"), None);
    assert_reused(ask("key", 2).await);

    let claimed = bench.claim(after(6)).await;
    assert_eq!(claimed.len(), 1, "it is queued once");
    let later = submit(bench, "key", 1, after(7)).await.expect("submit");
    assert_eq!(later, claimed[0], "as it stands now");
}

pub(super) async fn a_key_is_its_project_s_own(bench: &Bench) {
    let first = submit(bench, "key", 1, START).await.expect("submit");
    let task = NewTask {
        idempotency: Some(idempotency("key", 2, START)),
        ..new_task(bench.project("second").await)
    };
    let other = bench.store.submit(task, START).await.expect("submit");
    assert_ne!(other.id, first.id);
}

pub(super) async fn keys_are_forgotten_after_a_day(bench: &Bench) {
    let first = submit(bench, "key", 1, START).await.expect("submit");
    let kept = START.plus_millis(KEPT_MS);
    let again = submit(bench, "key", 1, kept).await.expect("submit");
    assert_eq!(again.id, first.id);
    let forgotten = kept.plus_millis(1);
    let second = submit(bench, "key", 2, forgotten).await.expect("submit");
    assert_ne!(second.id, first.id);
    let again = submit(bench, "key", 2, forgotten).await.expect("submit");
    assert_eq!(again.id, second.id);
}

pub(super) async fn duplicates_at_the_same_time_give_one_task(bench: &Bench) {
    let submit = |number: usize| {
        let store = Arc::clone(&bench.store);
        let task = NewTask {
            idempotency: Some(idempotency(
                &format!("key {}", number % 3).replace(' ', "-"),
                1,
                START,
            )),
            ..new_task(bench.project)
        };
        tokio::spawn(async move { store.submit(task, START).await })
    };
    let mut tasks = Vec::new();
    for submitted in (0..30).map(submit).collect::<Vec<_>>() {
        let submitted = submitted.await.expect("the submitter is well");
        tasks.push(submitted.expect("submit").id);
    }
    tasks.sort();
    tasks.dedup();
    assert_eq!(tasks.len(), 3);
    assert_eq!(bench.account().await.active, 3);
}

pub(super) async fn a_refused_request_uses_up_no_key(bench: &Bench) {
    let limit = |concurrency| AccountChange {
        concurrency: Some(concurrency),
        ..AccountChange::default()
    };
    bench.change(limit(Some(0))).await;
    let refused = submit(bench, "key", 1, START).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    bench.change(limit(None)).await;
    submit(bench, "key", 2, START).await.expect("submit");
    // A repetition is an answer, not a task: no limit forbids it.
    bench.change(limit(Some(1))).await;
    submit(bench, "key", 2, START).await.expect("the first");
}

pub(super) async fn the_file_of_a_request_is_recorded_with_its_task(bench: &Bench) {
    let file = |name: &str| FileRecord {
        id: FileId(name.to_owned()),
        project: bench.project,
        folder: None,
        name: "a.png".to_owned(),
        content_type: "image/png".to_owned(),
        size_bytes: 3,
        added_at: START,
        access_key: AccessKey(name.to_owned()),
        directory: name.to_owned(),
        blob_key: format!("files/{name}"),
    };
    let submit = async |name| {
        let task = NewTask {
            uploads: vec![file(name)],
            idempotency: Some(idempotency("key", 1, START)),
            ..new_task(bench.project)
        };
        bench.store.submit(task, START).await.expect("submit")
    };
    let found = async |name| bench.store.file_at(name, "a.png").await.expect("file_at");
    let first = submit("first").await;
    assert_eq!(found("first").await, Some(file("first")));
    assert_eq!(submit("second").await.id, first.id);
    assert_eq!(found("second").await, None);
}
