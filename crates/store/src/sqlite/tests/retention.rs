//! The walks stay cheap, and the file shrinks.

use super::writing::plan_of;
use super::*;
use crate::conformance::{START, after, success};
use crate::sqlite::{mentions, retention, tidy};
use crate::{Expiring, ExpiryStep, Mode, Upkeep};

#[tokio::test]
async fn the_walks_go_along_indexes() {
    let place = Place::new();
    let store = place.open();
    for statement in [
        retention::WITH_OUTPUTS,
        retention::RECORDS,
        retention::UPLOADS,
        mentions::UNFINISHED,
        tidy::OLD_NONCES,
        tidy::OLD_REPEATS,
    ] {
        let plan = plan_of(&store, statement).await;
        // The queue itself is read as a whole, whoever has ended.
        let plan = plan.replace("SCAN job USING COVERING INDEX job_queued", "");
        let whole_tables = [
            "SCAN job",
            "SCAN task",
            "SCAN output",
            "SCAN file",
            "SCAN nonce",
            "SCAN idempotency",
        ];
        for scan in whole_tables {
            assert!(!plan.contains(scan), "{statement}: {plan}");
        }
    }
    let walk = plan_of(&store, retention::WITH_OUTPUTS).await;
    assert!(walk.contains("COVERING INDEX output_task"), "{walk}");
}

async fn pages(place: &Place) -> u64 {
    query(&place.path(), "SELECT page_count FROM pragma_page_count")
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn space_is_given_back_to_the_disk() {
    let place = Place::new();
    let store = place.open();
    let bench = bench(&store).await;
    let task = bench.running().await;
    bench.complete(&task, success(&task)).await;
    let many = store.writer.run(|connection| {
        connection.execute_batch(
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT 30000) \
             INSERT INTO output SELECT 'id' || n, task, name, content_type, parent_id, size_bytes, \
                 added_at, modified_at, access_key, hex(randomblob(32)), blob_key \
             FROM output, number;",
        )?;
        Ok(())
    });
    many.await.expect("many outputs");
    let full = pages(&place).await;
    assert!(full > 1_000, "{full}");

    let step = ExpiryStep {
        what: Expiring::Outputs,
        before: after(1),
        after: 0,
        mode: Mode::Remove,
    };
    let expired = store.expire(step).await.expect("expire");
    assert_eq!(expired.blob_keys.len(), 30_001);
    assert_eq!(pages(&place).await, full, "they are free, but there");

    let upkeep = Upkeep {
        nonces_before: START,
        repeats_before: START,
    };
    let mut bytes = 0;
    loop {
        let tidied = store.tidy(upkeep).await.expect("tidy");
        bytes += tidied.bytes;
        if !tidied.more {
            break;
        }
    }
    let left = pages(&place).await;
    assert!(left < full / 2, "{left} of {full}");
    assert_eq!(bytes, (full - left) * 4096);
    let on_disk = std::fs::metadata(place.path()).expect("a file").len();
    assert_eq!(on_disk, left * 4096, "the log was moved into it");
    let log = place.folder.path().join("tasks.db-wal");
    assert_eq!(std::fs::metadata(log).expect("a log").len(), 0);
    bench.submit().await;
}
