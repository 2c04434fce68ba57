//! A disk that is full or fails: refused with a reason, nothing half-written, and no need to
//! restart afterwards.

use super::writing::in_one_batch;
use super::*;
use crate::conformance::{START, after, new_task, success};
use crate::{Error, Fenced};

/// Bounds the size of the database, which fails like a full disk does.
async fn allow_pages(store: &SqliteStore, pages: i64) {
    let bounded = store.writer.run(move |connection| {
        let now: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        let bound = now.saturating_add(pages).min(i64::from(u32::MAX) - 1);
        Ok(connection.query_row(&format!("PRAGMA max_page_count = {bound}"), (), |_| Ok(()))?)
    });
    bounded.await.expect("the bound is set");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_survived() {
    let place = Place::new();
    let store = place.open();
    let bench = bench(&store).await;
    let running = bench.running().await;
    let mut wide = new_task(bench.project);
    let padding = "x".repeat(1 << 20);
    wide.parameters.insert("padding".to_owned(), padding.into());

    allow_pages(&store, 0).await;
    let history = bench.history(running.id).await;
    let mut follower = store.follow();
    let refused = store.submit(wide.clone(), START).await;
    let Err(Error::Unavailable { reason }) = refused else {
        panic!("the disk is full, yet {refused:?}")
    };
    assert!(reason.contains("full"), "{reason}");
    assert!(reason.contains("free some space"), "{reason}");
    assert_eq!(bench.detail(running.id).await, running);
    assert_eq!(bench.history(running.id).await, history);
    assert_eq!(query(&place.path(), "PRAGMA integrity_check"), "ok");

    allow_pages(&store, i64::MAX).await;
    assert_eq!(
        bench.complete(&running, success(&running)).await,
        Fenced::Applied
    );
    let submitted = store.submit(wide, after(1)).await.expect("submit");
    assert_eq!(submitted.id.0, running.id.0 + 1, "no number was used up");
    let first = follower.next().await.expect("it keeps up");
    assert_eq!(first[0].number, 3, "what was refused was not heard");
    assert_eq!(first[0].task, running.id);
}

#[tokio::test]
async fn a_full_disk_fails_the_batch_that_meets_it_as_a_whole() {
    let place = Place::new();
    let store = place.open();
    let project = bench(&store).await.project;
    let wide = || {
        let mut task = new_task(project);
        let padding = "x".repeat(1 << 16);
        task.parameters.insert("padding".to_owned(), padding.into());
        store.submit(task, START)
    };
    allow_pages(&store, 40).await;
    let answers = in_one_batch(&store, async {
        let (first, second, third, fourth) = tokio::join!(wide(), wide(), wide(), wide());
        [first, second, third, fourth]
    })
    .await;
    assert!(
        answers.iter().any(Result::is_err),
        "there is no room for four"
    );
    let accepted: Vec<_> = answers.into_iter().flatten().map(|task| task.id).collect();
    let stored = query(&place.path(), "SELECT count(*) FROM task");
    assert_eq!(stored, accepted.len().to_string());
}

#[tokio::test]
async fn a_database_locked_by_another_program_is_a_reason_to_try_later() {
    let place = Place::new();
    let store = place.open();
    let project = bench(&store).await.project;
    let shorter = store
        .writer
        .run(|connection| Ok(connection.busy_timeout(std::time::Duration::ZERO)?));
    shorter.await.expect("the wait is set");

    let other = rusqlite::Connection::open(place.path()).expect("the file opens");
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("the lock is free");
    let refused = store.submit(new_task(project), START).await;
    let message = refused.expect_err("it is locked").to_string();
    assert!(message.contains("another process is writing"), "{message}");
    let refused = store.check().await;
    assert!(
        matches!(refused, Err(Error::Unavailable { .. })),
        "{refused:?}"
    );

    other
        .execute_batch("COMMIT")
        .expect("the lock is given back");
    store.check().await.expect("it is free again");
    store
        .submit(new_task(project), START)
        .await
        .expect("submit");
}

#[tokio::test]
async fn unreadable_data_is_an_error_that_names_the_column() {
    let place = Place::new();
    let store = place.open();
    let task = bench(&store).await.submit().await;
    let connection = rusqlite::Connection::open(place.path()).expect("the file opens");
    connection
        .execute("UPDATE job SET state = 'dreaming'", ())
        .expect("the row is damaged");
    let read = store
        .detail(&tintype_domain::TaskRef::Id(task.id), None)
        .await;
    let Err(Error::Corrupt { reason }) = read else {
        panic!("the state is no state, yet {read:?}")
    };
    assert!(
        reason.contains("state") && reason.contains("dreaming"),
        "{reason}"
    );
}
