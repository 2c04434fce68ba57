//! The writer thread's batches, and the statements that must stay cheap.

use std::sync::mpsc;

use tokio::sync::oneshot;

use super::*;
use crate::Error;
use crate::conformance::{START, new_task, success};
use crate::sqlite::{outbox, queue};

/// Lets the calls send their requests while the writer is held up: they end in one batch, their own.
pub(super) async fn in_one_batch<T>(store: &SqliteStore, calls: impl Future<Output = T>) -> T {
    let (begin, begun) = oneshot::channel();
    let (release, until) = mpsc::channel();
    let held = store.writer.run(move |_| {
        begin.send(()).expect("the test waits for it");
        until.recv().expect("the test says when");
        Ok(())
    });
    let calls = async {
        begun.await.expect("the writer takes the request");
        // Asked in this order: what the calls send is on its way when the writer goes on.
        tokio::join!(calls, async {
            release.send(()).expect("the writer waits");
        })
    };
    let (held, (answers, ())) = tokio::join!(held, calls);
    held.expect("it only waited");
    answers
}

#[tokio::test]
async fn a_refused_request_does_not_disturb_its_batch() {
    let place = Place::new();
    let store = place.open();
    let project = bench(&store).await.project;
    let good = || store.submit(new_task(project), START);
    let bad = || store.submit(new_task(tintype_domain::ProjectId(99)), START);
    let mut follower = store.follow();
    let (first, refused, second) =
        in_one_batch(&store, async { tokio::join!(good(), bad(), good()) }).await;
    assert!(
        matches!(refused, Err(Error::Rejected { .. })),
        "{refused:?}"
    );
    assert_eq!(first.expect("submit").id.0, 1);
    assert_eq!(second.expect("submit").id.0, 2);
    let heard = follower.next().await.expect("it keeps up");
    let tasks: Vec<_> = heard.iter().map(|event| event.task.0).collect();
    assert_eq!(tasks, [1, 2]);
}

/// One that fails half-way makes the whole batch run again: each of the others counts once.
#[tokio::test]
async fn a_batch_that_is_run_again_counts_once() {
    let place = Place::new();
    let store = place.open();
    let bench = bench(&store).await;
    let [lucky, twin] = [bench.running().await, bench.running().await];
    let outcome = success(&lucky);
    bench.complete(&lucky, outcome.clone()).await;
    let before = bench.history(twin.id).await;

    let mut follower = store.follow();
    let submit = || store.submit(new_task(bench.project), START);
    let same_address = store.complete(twin.id, twin.epoch, outcome, START);
    let (first, refused, second) = in_one_batch(&store, async {
        tokio::join!(submit(), same_address, submit())
    })
    .await;
    assert!(
        matches!(refused, Err(Error::Rejected { .. })),
        "{refused:?}"
    );
    assert_eq!(
        [first.expect("submit").id.0, second.expect("submit").id.0],
        [3, 4]
    );
    assert_eq!(bench.history(twin.id).await, before);
    let heard = follower.next().await.expect("it keeps up");
    let tasks: Vec<_> = heard.iter().map(|event| event.task.0).collect();
    assert_eq!(tasks, [3, 4]);

    let (_, stats) = store.tool_stats().await.expect("stats").remove(0);
    assert_eq!((stats.runs, stats.successes, stats.failures), (4, 1, 0));
    assert_eq!(query(&place.path(), "SELECT active FROM account"), "3");
}

#[tokio::test]
async fn a_call_that_was_dropped_before_its_turn_does_nothing() {
    let place = Place::new();
    let store = place.open();
    let project = bench(&store).await.project;
    let impatient = async {
        tokio::select! {
            biased;
            _ = store.submit(new_task(project), START) => panic!("the writer is held up"),
            () = std::future::ready(()) => {}
        }
    };
    in_one_batch(&store, impatient).await;
    let task = store.submit(new_task(project), START).await;
    assert_eq!(task.expect("submit").id.0, 1, "the first of all");
}

#[tokio::test]
async fn a_read_sees_one_snapshot_whatever_is_committed_meanwhile() {
    let place = Place::new();
    let store = place.open();
    let path = place.path();
    let probes = |connection: &rusqlite::Connection| -> Result<i64, Error> {
        Ok(connection.query_row("SELECT count FROM probe", (), |row| row.get(0))?)
    };
    let read = store.readers.run(move |connection| {
        let before = probes(connection)?;
        rusqlite::Connection::open(&path)?.execute("UPDATE probe SET count = count + 1", ())?;
        Ok((before, probes(connection)?))
    });
    assert_eq!(read.await.expect("the read"), (0, 0));
    let now = query(&place.path(), "SELECT count FROM probe");
    assert_eq!(now, "1", "it was committed");
}

#[tokio::test]
async fn the_queue_is_found_through_its_indexes() {
    let place = Place::new();
    let store = place.open();
    let plans = [
        (queue::QUEUED, "job_queued"),
        (queue::FRONT, "COVERING INDEX job_queued"),
        (queue::EXPIRED, "job_leased"),
        (queue::EXHAUSTED, "job_retried"),
        (queue::RUNNING, "job_leased"),
        (outbox::ANY_DUE, "webhook_due"),
        (outbox::NEXT_LANE, "webhook_lane"),
        (outbox::DUE_IN_LANE, "webhook_lane"),
        (outbox::LEASES_OVER, "webhook_leased"),
    ];
    for (statement, index) in plans {
        let plan = plan_of(&store, statement).await;
        assert!(plan.contains(index), "{statement}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{statement}: {plan}");
    }
}

pub(super) async fn plan_of(store: &SqliteStore, statement: &str) -> String {
    let statement = format!("EXPLAIN QUERY PLAN {statement}");
    let explained = store.readers.run(move |connection| {
        let mut statement = connection.prepare(&statement)?;
        let nothing = vec![0; statement.parameter_count()];
        let steps = statement.query_map(rusqlite::params_from_iter(nothing), |row| {
            row.get::<_, String>("detail")
        })?;
        Ok(steps.collect::<rusqlite::Result<Vec<_>>>()?)
    });
    explained.await.expect("the plan is explained").join("; ")
}
