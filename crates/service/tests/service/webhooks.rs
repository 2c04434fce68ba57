//! Webhooks: what a receiver gets, when, and what is on record about it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tintype_domain::{
    AttemptAnswer, Task, TaskId, TaskRef, TaskState, Webhook, WebhookAttempt, WebhookState,
};
use tintype_service::test_support::{Answer, Behaviour, Call, Receiver};
use tintype_service::webhooks::{Deliveries, DeliveriesHandle, Render, WebhookConfig};
use tintype_service::{AllowedTargets, Clock, ServiceConfig};
use tintype_store::{Redelivery, WebhookQuery, WebhookRef};

use crate::bench::{Bench, draw};

/// Lets the loopback receivers of the tests through the guard.
pub fn allow_loopback(config: &mut ServiceConfig) {
    config.guard.allowed = AllowedTargets::parse(["127.0.0.0/8"]).expect("a network");
}

/// A report as small as can be; the real one is the server's.
pub fn render() -> Render {
    Arc::new(|task: Task, base_url: Option<&str>| {
        let outputs = task.outputs.len();
        let report = json!({
            "taskid": task.id.to_string(), "state": task.state, "outputs": outputs,
            "base_url": base_url,
        });
        Bytes::from(report.to_string())
    })
}

impl Bench {
    pub async fn with_receivers() -> Self {
        Self::with(allow_loopback).await
    }

    pub fn deliveries(&self) -> DeliveriesHandle {
        self.deliveries_with(|_| {})
    }

    pub fn deliveries_with(&self, configure: impl FnOnce(&mut WebhookConfig)) -> DeliveriesHandle {
        let mut config = WebhookConfig {
            poll: Duration::from_millis(5),
            ..WebhookConfig::default()
        };
        configure(&mut config);
        Deliveries::spawn(Arc::clone(&self.service), render(), config)
    }

    pub async fn submit_reported(&self, url: &str) -> TaskId {
        let fields = json!({ "prompt": "x", "callbackUrl": url });
        self.submit(&draw(), fields).await.task
    }

    /// A task that was cancelled in the queue: the quickest end.
    pub async fn cancelled(&self, url: &str) -> TaskId {
        let task = self.submit_reported(url).await;
        let name = TaskRef::Id(task);
        let cancelled = self.service.cancel(&self.principal, &name).await;
        cancelled.expect("it is in the queue");
        task
    }

    pub async fn webhooks(&self) -> Vec<Webhook> {
        let query = WebhookQuery {
            limit: 1_000,
            ..WebhookQuery::default()
        };
        self.store.webhooks(query).await.expect("the store answers")
    }

    pub async fn webhook(&self, task: TaskId) -> Webhook {
        self.find_webhook(task).await.expect("it is reported")
    }

    async fn find_webhook(&self, task: TaskId) -> Option<Webhook> {
        let mut webhooks = self.webhooks().await.into_iter();
        webhooks.find(|webhook| webhook.task == task)
    }

    pub async fn webhook_when(
        &self,
        task: TaskId,
        condition: impl Fn(&Webhook) -> bool,
    ) -> Webhook {
        let mut changes = self.faults.changes();
        loop {
            let now = self.find_webhook(task).await;
            if let Some(now) = now.filter(&condition) {
                return now;
            }
            changes.changed().await.expect("the stores live");
        }
    }

    pub async fn delivered(&self, task: TaskId) -> Webhook {
        let is_delivered = |webhook: &Webhook| webhook.state == WebhookState::Delivered;
        self.webhook_when(task, is_delivered).await
    }

    pub async fn given_up(&self, task: TaskId) -> Webhook {
        let is_given_up = |webhook: &Webhook| webhook.state == WebhookState::Failed;
        self.webhook_when(task, is_given_up).await
    }

    /// The webhook when this many attempts have come to something.
    pub async fn tried(&self, task: TaskId, times: u32) -> Webhook {
        let tried = |webhook: &Webhook| {
            webhook.attempt_count >= times && webhook.attempts.iter().all(|a| a.report.is_some())
        };
        self.webhook_when(task, tried).await
    }

    fn verify(&self, call: &Call) {
        let secret = self.keys.webhook_secret.strip_prefix("whsec_");
        let key = STANDARD
            .decode(secret.expect("the prefix"))
            .expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
        let signed = [call.id(), call.header("webhook-timestamp"), &call.body].join(".");
        mac.update(signed.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(call.header("webhook-signature"), format!("v1,{signature}"));
        assert_eq!(call.header("content-type"), "application/json");
    }
}

fn answer_of(attempt: &WebhookAttempt) -> &AttemptAnswer {
    &attempt.report.as_ref().expect("it has ended").answer
}

fn answers(webhook: &Webhook) -> Vec<AttemptAnswer> {
    let attempts = webhook.attempts.iter();
    attempts.map(|attempt| answer_of(attempt).clone()).collect()
}

fn statuses(statuses: &[u16]) -> Vec<AttemptAnswer> {
    statuses.iter().map(|&s| AttemptAnswer::Status(s)).collect()
}

#[tokio::test]
async fn every_end_is_delivered_once_and_signed() {
    let bench = Bench::with_receivers().await;
    let receiver = Receiver::always(204).await;
    let _deliveries = bench.deliveries();
    let cancelled = bench.cancelled(&receiver.url).await;
    bench.delivered(cancelled).await;

    let _worker = bench.worker();
    let drawn = bench.submit_reported(&receiver.url).await;
    bench.delivered(drawn).await;
    bench.engine.then(Behaviour::Fail("no memory".to_owned()));
    let failed = bench.submit_reported(&receiver.url).await;
    bench.delivered(failed).await;
    let hold = bench.engine.then_hold();
    let killed = bench.submit_reported(&receiver.url).await;
    hold.reached().await;
    let name = TaskRef::Id(killed);
    bench
        .service
        .kill(&bench.principal, &name)
        .await
        .expect("it runs");
    bench.delivered(killed).await;
    // Without a callback there is nothing to deliver.
    let silent = bench.submit(&draw(), json!({ "prompt": "x" })).await.task;
    bench.ended(silent).await;

    let calls = receiver.calls();
    let told: Vec<_> = calls.iter().map(Call::json).collect();
    let of = |task: TaskId, state: TaskState, outputs: usize| json!({"taskid": task.to_string(), "state": state, "outputs": outputs, "base_url": null});
    let expected = [
        of(cancelled, TaskState::Cancelled, 0),
        of(drawn, TaskState::Finished, 1),
        of(failed, TaskState::Finished, 0),
        of(killed, TaskState::Cancelled, 0),
    ];
    assert_eq!(told, expected);
    for call in &calls {
        bench.verify(call);
        let now = bench.clock.now().seconds().to_string();
        assert_eq!(call.header("webhook-timestamp"), now);
    }
    let webhooks = bench.webhooks().await;
    assert_eq!(webhooks.len(), 4);
    assert!(webhooks.iter().all(|webhook| webhook.attempts.len() == 1));
}

#[tokio::test]
async fn a_receiver_in_trouble_is_tried_again_under_the_same_id() {
    let bench = Bench::with_receivers().await;
    let receiver = Receiver::start(|call| Answer::Status([500, 503, 200][call.min(2)])).await;
    let _deliveries = bench.deliveries();
    let task = bench.cancelled(&receiver.url).await;
    let first = bench.tried(task, 1).await;
    let in_seconds = |webhook: &Webhook| {
        let next = webhook.next_attempt_at.expect("it is tried again");
        next.seconds() - bench.clock.now().seconds()
    };
    assert_eq!(in_seconds(&first), 5);
    bench.clock.advance(Duration::from_secs(5));
    let second = bench.tried(task, 2).await;
    assert_eq!(in_seconds(&second), 30);
    bench.clock.advance(Duration::from_secs(30));
    let delivered = bench.delivered(task).await;
    assert_eq!(answers(&delivered), statuses(&[500, 503, 200]));

    let calls = receiver.calls();
    assert_eq!(calls.len(), 3);
    let times: Vec<_> = calls
        .iter()
        .map(|call| call.header("webhook-timestamp"))
        .collect();
    assert!(times.is_sorted_by(|a, b| a < b), "the time of each attempt");
    for call in &calls {
        assert_eq!(call.id(), delivered.id.as_str());
        bench.verify(call);
    }
}

#[tokio::test]
async fn a_restart_in_the_middle_goes_on_where_it_was() {
    let bench = Bench::with_receivers().await;
    let receiver = Receiver::start(|call| match call {
        0 => Answer::Status(500),
        1 => Answer::Silence,
        _ => Answer::Status(200),
    });
    let receiver = receiver.await;
    let deliveries = bench.deliveries();
    let task = bench.cancelled(&receiver.url).await;
    bench.tried(task, 1).await;

    let bench = bench.restart_with(deliveries, allow_loopback).await;
    bench.clock.advance(Duration::from_secs(5));
    let deliveries = bench.deliveries();
    receiver.called(2).await;
    // In the middle of a post: nobody saw its end, so it is made again at once.
    let bench = bench.restart_with(deliveries, allow_loopback).await;
    let _deliveries = bench.deliveries();
    let delivered = bench.delivered(task).await;

    let calls = receiver.calls();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| call.id() == delivered.id.as_str()));
    let answers = answers(&delivered);
    assert_eq!(
        [&answers[0], &answers[2]],
        [&AttemptAnswer::Status(500), &AttemptAnswer::Status(200)]
    );
    assert!(matches!(&answers[1], AttemptAnswer::None(reason) if reason.contains("interrupted")));
}

#[tokio::test]
async fn silent_receivers_delay_nobody_else() {
    let bench = Bench::with_receivers().await;
    let silent = Receiver::start(|_| Answer::Silence).await;
    let quick = Receiver::always(200).await;
    let _deliveries = bench.deliveries_with(|config| {
        config.places = 3;
        config.per_receiver = 2;
    });
    for _ in 0..5 {
        bench.cancelled(&silent.url).await;
    }
    silent.called(2).await;
    for _ in 0..5 {
        let task = bench.cancelled(&quick.url).await;
        bench.delivered(task).await;
    }
    assert_eq!(silent.calls().len(), 2, "it keeps its own places only");
}

#[tokio::test]
async fn a_silent_receiver_fails_in_time() {
    let bench = Bench::with_receivers().await;
    let silent = Receiver::start(|_| Answer::Silence).await;
    let _deliveries = bench.deliveries_with(|config| config.timeout = Duration::from_millis(30));
    let task = bench.cancelled(&silent.url).await;
    let tried = bench.tried(task, 1).await;
    let expected = "127.0.0.1 did not answer in full within 30ms.".to_owned();
    assert_eq!(answers(&tried), [AttemptAnswer::None(expected)]);
    assert_eq!(tried.state, WebhookState::Pending);
}

#[tokio::test]
async fn a_private_receiver_is_refused_and_that_is_on_record() {
    let bench = Bench::new().await;
    let receiver = Receiver::always(200).await;
    let _deliveries = bench.deliveries();
    let port = receiver.url.rsplit(':').next().expect("a port").to_owned();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
        let task = bench.cancelled(&format!("http://{host}:{port}")).await;
        let webhook = bench.given_up(task).await;
        let [AttemptAnswer::None(reason)] = &answers(&webhook)[..] else {
            panic!("an answer from a private receiver")
        };
        assert!(reason.contains("is a private address"), "{host}: {reason}");
    }
    assert!(receiver.calls().is_empty());
}

#[tokio::test]
async fn a_name_that_nobody_has_is_tried_again() {
    let bench = Bench::with_receivers().await;
    let _deliveries = bench.deliveries();
    let task = bench.cancelled("http://nobody.invalid/hook").await;
    let tried = bench.tried(task, 1).await;
    let expected = "nobody.invalid cannot be reached. Check the address.".to_owned();
    assert_eq!(answers(&tried), [AttemptAnswer::None(expected)]);
    assert!(tried.next_attempt_at.is_some());
}

#[tokio::test]
async fn a_dead_receiver_is_given_up_after_a_day() {
    let bench = Bench::with_receivers().await;
    let receiver = Receiver::always(500).await;
    let _deliveries = bench.deliveries();
    let task = bench.cancelled(&receiver.url).await;
    let mut tries = 1;
    let ended = bench.task(task).await.times.latest();
    loop {
        let webhook = bench.tried(task, tries).await;
        let Some(next) = webhook.next_attempt_at else {
            break;
        };
        let wait = next.0 - bench.clock.now().0;
        bench
            .clock
            .advance(Duration::from_millis(wait.try_into().expect("later")));
        tries += 1;
    }
    let webhook = bench.given_up(task).await;
    assert!((10..20).contains(&webhook.attempts.len()), "{webhook:?}");
    assert_eq!(bench.clock.now().seconds() - ended.seconds(), 24 * 3600);
}

#[tokio::test]
async fn gone_is_the_end_and_a_redirect_is_a_failure() {
    let bench = Bench::with_receivers().await;
    let elsewhere = Receiver::always(200).await;
    let location = format!("location: {}", elsewhere.url);
    let redirecting = Receiver::start(move |_| Answer::With(307, location.clone())).await;
    let gone = Receiver::always(410).await;
    let _deliveries = bench.deliveries();
    let redirected = bench.cancelled(&redirecting.url).await;
    let unwanted = bench.cancelled(&gone.url).await;
    assert_eq!(answers(&bench.given_up(unwanted).await), statuses(&[410]));
    let redirected = bench.tried(redirected, 1).await;
    assert_eq!(answers(&redirected), statuses(&[307]));
    assert_eq!(redirected.state, WebhookState::Pending);
    assert!(elsewhere.calls().is_empty());
}

#[tokio::test]
async fn a_receiver_says_when_it_wants_to_be_tried_again() {
    let bench = Bench::with_receivers().await;
    let busy = Receiver::start(|_| Answer::With(429, "retry-after: 100".to_owned())).await;
    let _deliveries = bench.deliveries();
    let task = bench.cancelled(&busy.url).await;
    let next = bench.tried(task, 1).await.next_attempt_at.expect("again");
    assert_eq!(next.seconds() - bench.clock.now().seconds(), 100);
}

#[tokio::test]
async fn what_was_delivered_or_given_up_is_sent_again_on_demand() {
    let bench = Bench::with_receivers().await;
    let receiver = Receiver::start(|call| Answer::Status([200, 410, 200][call.min(2)])).await;
    let _deliveries = bench.deliveries();
    let task = bench.cancelled(&receiver.url).await;
    bench.delivered(task).await;
    let name = WebhookRef::Task(task);
    for (round, state) in [(2, WebhookState::Failed), (3, WebhookState::Delivered)] {
        let again = bench.store.redeliver_webhook(&name, bench.clock.now());
        assert!(matches!(again.await, Ok(Redelivery::Due(_))));
        let webhook = bench.tried(task, round).await;
        assert_eq!(webhook.state, state);
    }
    let webhook = bench.webhook(task).await;
    assert_eq!(answers(&webhook), statuses(&[200, 410, 200]));
    assert!(
        receiver
            .calls()
            .iter()
            .all(|call| call.id() == webhook.id.as_str())
    );
}

#[tokio::test]
async fn a_drain_waits_for_the_posts_in_hand() {
    let bench = Bench::with_receivers().await;
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let slow = Receiver::start(move |_| {
        let opened = gate.lock().expect("no panic").try_recv();
        opened.map_or(Answer::Silence, |()| Answer::Status(200))
    })
    .await;
    let deliveries = bench.deliveries_with(|config| config.timeout = Duration::from_millis(50));
    let task = bench.cancelled(&slow.url).await;
    slow.called(1).await;
    deliveries.drain().await;
    let webhook = bench.webhook(task).await;
    assert!(webhook.attempts[0].report.is_some(), "its end was seen");
    // Nothing new was begun by the one that drained.
    let next = bench.cancelled(&slow.url).await;
    assert_eq!(bench.webhook(next).await.attempt_count, 0);
    open.send(()).expect("the receiver lives");
    let _deliveries = bench.deliveries();
    bench.delivered(next).await;
}

#[tokio::test]
async fn the_way_that_the_client_used_reaches_the_report() {
    let bench = Bench::with_receivers().await;
    let receiver = Receiver::always(200).await;
    let _deliveries = bench.deliveries();
    let request = tintype_service::RunRequest {
        tool: draw(),
        inputs: crate::bench::raw(json!({ "prompt": "x", "callbackUrl": receiver.url })),
        base_url: Some("http://as.asked:8787".to_owned()),
        idempotency_key: None,
    };
    let submitted = bench.service.submit(&bench.principal, request).await;
    let task = TaskRef::Id(submitted.expect("accepted").task);
    bench
        .service
        .cancel(&bench.principal, &task)
        .await
        .expect("it waits");
    let calls = receiver.called(1).await;
    assert_eq!(calls[0].json()["base_url"], "http://as.asked:8787");
}
