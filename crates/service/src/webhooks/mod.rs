//! Webhooks: reports of ended tasks, posted to the addresses that clients named.
//!
//! The store has written each report where its task ended. This loop claims those that are due,
//! posts them through the guarded client, signed, and records every attempt. Delivery is
//! at-least-once under one id: an attempt that a crash interrupted is made again when the server
//! is back. Places are shared out by the store, so that slow receivers keep only their own
//! reports waiting. Being woken at the end of a task is a hint; the loop looks by itself as well.

mod delivery;
mod schedule;
mod secret;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tintype_domain::Task;
use tintype_store::{WebhookClaim, WebhookDelivery};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::Service;
pub use secret::ShownProject;
pub(crate) use signature::SigningSecret;

/// Posts at once: sockets, and bodies of some kilobytes in memory.
const PLACES: usize = 256;

/// Of one project at once: others keep three quarters of the places.
const PER_PROJECT: usize = 64;

/// Of one project to one receiver at once: sixteen dead receivers do not stop a project's others.
const PER_RECEIVER: usize = 4;

/// A receiver takes a report in less, or it fails: the specification recommends 15 to 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(15);

/// An attempt with all that belongs to it, recording through a busy store included, takes less.
const LEASE: Duration = Duration::from_secs(60);

/// How often the outbox is looked into when nothing rings: redeliveries wait this long.
const POLL: Duration = Duration::from_secs(1);

/// How long a drain waits for posts in hand; those that are cut off are made again.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(16);

/// Renders the report of a task. The second argument is where the addresses in it begin, if the
/// client's own way here is known.
pub type Render = Arc<dyn Fn(Task, Option<&str>) -> Bytes + Send + Sync>;

/// How reports are delivered.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Posts at once.
    pub places: usize,
    /// Of one project at once.
    pub per_project: usize,
    /// Of one project to one receiver (host and port) at once.
    pub per_receiver: usize,
    /// For one post: name, connection, request, answer.
    pub timeout: Duration,
    /// An attempt of which nothing is heard for this long is made again.
    pub lease: Duration,
    /// Time between looks into an empty outbox.
    pub poll: Duration,
    /// How long a drain waits for posts in hand.
    pub drain_timeout: Duration,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            places: PLACES,
            per_project: PER_PROJECT,
            per_receiver: PER_RECEIVER,
            timeout: TIMEOUT,
            lease: LEASE,
            poll: POLL,
            drain_timeout: DRAIN_TIMEOUT,
        }
    }
}

/// Delivers reports.
pub struct Deliveries {
    service: Arc<Service>,
    render: Render,
    config: WebhookConfig,
}

/// The running loop. Dropping it stops it at once, as a crash would.
#[derive(Debug)]
pub struct DeliveriesHandle {
    draining: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl DeliveriesHandle {
    /// Stops in good order: begins nothing more, and waits for the posts in hand, for less than
    /// 20 seconds. What is cut off then is sent again after the next start.
    pub async fn drain(mut self) {
        self.draining.send_replace(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(error = %error, "the webhooks stopped with a panic");
        }
    }
}

impl Drop for DeliveriesHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Deliveries {
    /// Starts the loop on the current runtime.
    pub fn spawn(service: Arc<Service>, render: Render, config: WebhookConfig) -> DeliveriesHandle {
        let deliveries = Arc::new(Self {
            service,
            render,
            config,
        });
        let (draining, drain) = watch::channel(false);
        let task = tokio::spawn(async move { deliveries.work(drain).await });
        DeliveriesHandle { draining, task }
    }

    async fn work(self: &Arc<Self>, mut drain: watch::Receiver<bool>) {
        let mut attempts = JoinSet::new();
        loop {
            // Never dropped half-way: an attempt that is on record must be made.
            for delivery in self.claim(attempts.len()).await {
                let deliveries = Arc::clone(self);
                attempts.spawn(async move { deliveries.attempt(delivery).await });
            }
            tokio::select! {
                biased;
                () = told_to(&mut drain) => break,
                Some(ended) = attempts.join_next() => note(ended),
                () = self.service.ended.notified() => {}
                () = sleep(self.config.poll) => {}
            }
            while let Some(ended) = attempts.try_join_next() {
                note(ended);
            }
        }
        let all = async { while attempts.join_next().await.is_some() {} };
        if timeout(self.config.drain_timeout, all).await.is_err() {
            tracing::warn!("some webhooks were cut off: they are sent again after the next start");
        }
    }

    async fn claim(&self, in_hand: usize) -> Vec<WebhookDelivery> {
        let limit = self.config.places.saturating_sub(in_hand);
        if limit == 0 {
            return Vec::new();
        }
        let now = self.service.now();
        let lease = i64::try_from(self.config.lease.as_millis()).unwrap_or(i64::MAX);
        let claim = WebhookClaim {
            limit,
            per_receiver: self.config.per_receiver,
            per_project: self.config.per_project,
            lease_until: now.plus_millis(lease),
        };
        let claimed = self.service.store.claim_webhooks(claim, now).await;
        claimed.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "cannot look into the outbox; trying again");
            Vec::new()
        })
    }
}

/// A panic in one attempt is nobody else's; its report is sent again when its lease is over.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(error = %error, "a webhook panicked: this is a bug");
    }
}

/// Waits for the word to drain. A handle that is gone means the same.
async fn told_to(drain: &mut watch::Receiver<bool>) {
    drop(drain.wait_for(|&draining| draining).await);
}
