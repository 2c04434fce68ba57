//! One attempt to deliver a report: read the task, render, sign, post, and record what came of it.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tintype_domain::{AttemptAnswer, AttemptReport, TaskRef};
use tintype_store::{Fenced, WebhookDelivery, WebhookNext};
use tokio::time::{Instant, sleep};

use super::schedule::{self, Failure};
use super::{Deliveries, SigningSecret};
use crate::guarded::{GuardedError, Post};

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Tries to record an attempt, and the wait between them: together far less than a lease. After
/// that the lease runs out and the report is sent again.
const RECORD_TRIES: u32 = 10;
const RECORD_WAIT: Duration = Duration::from_millis(500);

/// What a post came to.
enum Sent {
    Answered {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// No answer, but there may be one another time.
    Failed(String),
    /// No answer, now or later.
    Impossible(String),
}

impl Deliveries {
    /// Delivers, or fails to, and records it.
    pub(super) async fn attempt(&self, delivery: WebhookDelivery) {
        let started = Instant::now();
        let sent = self.send(&delivery).await;
        tintype_store::moments::reached("webhook");
        let elapsed = started.elapsed();
        let next = self.next(&delivery, &sent);
        let report = AttemptReport {
            answer: match sent {
                Sent::Answered { status, .. } => AttemptAnswer::Status(status),
                Sent::Failed(reason) | Sent::Impossible(reason) => AttemptAnswer::None(reason),
            },
            duration_ms: Some(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)),
        };
        log(&delivery, &report, next);
        self.record(&delivery, report, next).await;
    }

    async fn send(&self, delivery: &WebhookDelivery) -> Sent {
        let post = match self.prepare(delivery).await {
            Ok(post) => post,
            Err(sent) => return sent,
        };
        let posted = self.service.guarded.post(post, self.config.timeout).await;
        match posted {
            Ok(answer) => Sent::Answered {
                status: answer.status,
                retry_after: answer
                    .retry_after
                    .and_then(|header| schedule::retry_after(&header, self.service.now())),
            },
            Err(error @ (GuardedError::Refused(_) | GuardedError::Address)) => {
                Sent::Impossible(error.to_string())
            }
            Err(error) => Sent::Failed(error.to_string()),
        }
    }

    async fn prepare(&self, delivery: &WebhookDelivery) -> Result<Post, Sent> {
        let service = &self.service;
        let name = TaskRef::Id(delivery.task);
        let task = match service.store.detail(&name, Some(delivery.project.id)).await {
            Ok(Some(task)) => task,
            Ok(None) => return Err(Sent::Impossible("the task is not on record".to_owned())),
            Err(error) => return Err(Sent::Failed(error.to_string())),
        };
        let secret = service.signing_secret(&delivery.project);
        let secret = secret.map_err(|error| Sent::Failed(error.to_string()))?;
        let body = (self.render)(task, delivery.base_url.as_deref());
        Ok(Post {
            address: delivery.url.clone(),
            headers: headers(delivery, &secret, service.now().seconds(), &body),
            body,
        })
    }

    fn next(&self, delivery: &WebhookDelivery, sent: &Sent) -> WebhookNext {
        let retry_after = match sent {
            Sent::Answered { status, .. } if schedule::is_delivered(*status) => {
                return WebhookNext::Delivered;
            }
            Sent::Answered { status, .. } if schedule::is_final(*status) => {
                return WebhookNext::GivenUp;
            }
            Sent::Impossible(_) => return WebhookNext::GivenUp,
            Sent::Answered { retry_after, .. } => *retry_after,
            Sent::Failed(_) => None,
        };
        schedule::after(Failure {
            round_attempt: delivery.round_attempt,
            round_started_at: delivery.round_started_at,
            now: self.service.now(),
            retry_after,
            jitter: self.service.rng().random(),
        })
    }

    async fn record(&self, delivery: &WebhookDelivery, report: AttemptReport, next: WebhookNext) {
        let (task, attempt) = (delivery.task, delivery.attempt);
        for _ in 0..RECORD_TRIES {
            let recorded = self
                .service
                .store
                .record_attempt(task, attempt, report.clone(), next);
            match recorded.await {
                Ok(Fenced::Applied) => return,
                Ok(Fenced::Stale) => {
                    tracing::warn!(webhook.id = %delivery.id, "a webhook took so long that it is sent again");
                    return;
                }
                Err(error) => {
                    tracing::warn!(webhook.id = %delivery.id, error = %error, "cannot record a webhook; trying again");
                }
            }
            sleep(RECORD_WAIT).await;
        }
        tracing::error!(webhook.id = %delivery.id, "a webhook was not recorded: it will be sent again");
    }
}

fn headers(
    delivery: &WebhookDelivery,
    secret: &SigningSecret,
    at_seconds: i64,
    body: &Bytes,
) -> HeaderMap {
    let text = |text: String| {
        HeaderValue::from_str(&text).expect("ids and base64 are header values; this is a bug")
    };
    let signature = secret.sign(&delivery.id, at_seconds, body);
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (WEBHOOK_ID, text(delivery.id.to_string())),
        (WEBHOOK_TIMESTAMP, text(at_seconds.to_string())),
        (WEBHOOK_SIGNATURE, text(signature)),
    ])
}

fn log(delivery: &WebhookDelivery, report: &AttemptReport, next: WebhookNext) {
    let (id, task) = (&delivery.id, delivery.task);
    let (attempt, duration_ms) = (delivery.attempt, report.duration_ms);
    let answer = match &report.answer {
        AttemptAnswer::Status(status) => format!("status {status}"),
        AttemptAnswer::None(reason) => reason.clone(),
    };
    match next {
        WebhookNext::Delivered => {
            tracing::info!(webhook.id = %id, task.id = %task, attempt, duration_ms, "delivered a webhook");
        }
        WebhookNext::At(_) => {
            tracing::info!(webhook.id = %id, task.id = %task, attempt, duration_ms, answer, "a webhook was not taken; trying again");
        }
        WebhookNext::GivenUp => {
            tracing::warn!(webhook.id = %id, task.id = %task, attempt, duration_ms, answer, "gave up a webhook");
        }
    }
}
