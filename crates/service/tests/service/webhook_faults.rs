//! Power cuts between any two writes of a delivery: it arrives, under one id, and the record says
//! how.

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tintype_domain::WebhookState;
use tintype_service::test_support::{Answer, Receiver};

use crate::bench::Bench;
use crate::faults::Moment;
use crate::webhooks::allow_loopback;

/// Longer than the lease of a delivery.
const LEASE_OVER: Duration = Duration::from_secs(61);

/// What the receiver answers in turn: two failures before it takes the report.
fn script(call: usize) -> Answer {
    Answer::Status([500, 500][..].get(call).copied().unwrap_or(200))
}

/// Delivers a report while the power goes at each of these writes in turn, a new process after
/// each. Returns how many of the cuts came.
async fn delivers_through(cuts: &[(u32, Moment)]) -> usize {
    let bench = Bench::with_receivers().await;
    let receiver = Receiver::start(script).await;
    let task = bench.cancelled(&receiver.url).await;
    let id = bench.webhook(task).await.id;
    let mut came = 0;
    for (write, moment) in cuts {
        bench.faults.crash_at(*write, *moment);
        let deliveries = bench.deliveries();
        let crashed = tokio::select! {
            biased;
            () = bench.faults.crashed() => true,
            () = deliver(&bench, task) => false,
        };
        came += usize::from(crashed);
        drop(deliveries);
        bench.clock.advance(LEASE_OVER);
    }
    bench.faults.none();
    let _deliveries = bench.deliveries();
    deliver(&bench, task).await;

    let webhook = bench.webhook(task).await;
    let calls = receiver.calls();
    assert_eq!(webhook.id, id);
    assert!(calls.iter().all(|call| call.id() == id.as_str()));
    let taken = calls.len().saturating_sub(2);
    assert!(
        (1..=came + 1).contains(&taken),
        "once, and again where nobody saw it: {taken}"
    );
    assert!(
        webhook.attempts.len() >= calls.len(),
        "every call is on record"
    );
    assert_eq!(bench.webhooks().await.len(), 1);
    came
}

/// Lets time pass until the report is delivered.
async fn deliver(bench: &Bench, task: tintype_domain::TaskId) {
    let mut changes = bench.faults.changes();
    while bench.webhook(task).await.state != WebhookState::Delivered {
        bench.clock.advance(Duration::from_secs(10));
        changes.changed().await.expect("the stores live");
    }
}

#[tokio::test]
async fn a_crash_before_or_after_any_write_leaves_the_report_to_be_delivered() {
    for moment in [Moment::Before, Moment::After] {
        let mut crashes = 0;
        while delivers_through(&[(crashes, moment)]).await == 1 {
            crashes += 1;
            assert!(crashes < 2_000, "a delivery ends");
        }
        assert!(crashes >= 6, "three claims and three records: {crashes}");
    }
}

#[tokio::test]
async fn however_many_crashes_there_are_the_id_is_one() {
    let mut rng = StdRng::seed_from_u64(8);
    for _ in 0..20 {
        let cuts: Vec<_> = (0..rng.random_range(1..12))
            .map(|_| {
                let moments = [Moment::Before, Moment::After];
                (rng.random_range(0..4), moments[rng.random_range(0..2)])
            })
            .collect();
        delivers_through(&cuts).await;
    }
}

#[tokio::test]
async fn tasks_have_ids_of_their_own() {
    let bench = Bench::with_receivers().await;
    for _ in 0..20 {
        bench.cancelled("https://hooks.example/").await;
    }
    let webhooks = bench.webhooks().await;
    let ids: HashSet<_> = webhooks.iter().map(|webhook| webhook.id.clone()).collect();
    assert_eq!((webhooks.len(), ids.len()), (20, 20));
}

#[tokio::test]
async fn a_store_that_cannot_record_for_a_moment_makes_for_no_second_call() {
    let bench = Bench::with_receivers().await;
    let receiver = Receiver::always(200).await;
    bench.faults.fail("record_attempt", 2);
    bench.faults.fail("claim_webhooks", 2);
    let _deliveries = bench.deliveries();
    let task = bench.cancelled(&receiver.url).await;
    bench.delivered(task).await;
    assert_eq!(bench.faults.left("record_attempt"), 0);
    assert_eq!(receiver.calls().len(), 1);
}

#[tokio::test]
async fn a_loop_that_was_taken_for_dead_changes_nothing_any_more() {
    let bench = Bench::with_receivers().await;
    let receiver = Receiver::start(|call| match call {
        0 => Answer::Silence,
        _ => Answer::Status(200),
    });
    let receiver = receiver.await;
    let stalled = bench.deliveries_with(|config| config.timeout = Duration::from_secs(3600));
    let task = bench.cancelled(&receiver.url).await;
    receiver.called(1).await;
    bench.clock.advance(LEASE_OVER);
    bench.delivered(task).await;
    drop(stalled);
    let bench = bench.restart_with((), allow_loopback).await;
    let webhook = bench.webhook(task).await;
    assert_eq!(
        (webhook.state, webhook.attempts.len()),
        (WebhookState::Delivered, 2)
    );
}
