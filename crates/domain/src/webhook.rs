//! Reports of a task's end to an address that the client named.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ProjectId, TaskId, UnixMillis};

/// The id of a report, the same on every attempt: receivers tell a repeated one by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WebhookId(pub String);

impl WebhookId {
    /// The id of the report on the task with this public name. A task has one end, so it has one
    /// report; an id that is computed cannot change, whatever crashes in between.
    pub fn of_task(uuid: Uuid) -> Self {
        Self(format!("msg_{}", uuid.simple()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a report stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// To be sent, or to be sent again.
    Pending,
    /// The receiver took it.
    Delivered,
    /// Given up.
    Failed,
}

impl WebhookState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];
}

/// A report, and what was tried to deliver it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// The task that ended.
    pub task: TaskId,
    /// Whose.
    pub project: ProjectId,
    /// Where it goes.
    pub url: String,
    /// Where it stands.
    pub state: WebhookState,
    /// When the task ended.
    pub created_at: UnixMillis,
    /// When it is tried next, if it waits for that.
    pub next_attempt_at: Option<UnixMillis>,
    /// Attempts in all.
    pub attempt_count: u32,
    /// The latest attempts, oldest first.
    pub attempts: Vec<WebhookAttempt>,
}

/// One attempt to deliver a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAttempt {
    /// Counted from 1.
    pub number: u32,
    /// When it began.
    pub at: UnixMillis,
    /// What came of it; `None` while it is under way.
    pub report: Option<AttemptReport>,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// What the receiver said.
    pub answer: AttemptAnswer,
    /// How long it took, in milliseconds; `None` if nobody was there to see its end.
    pub duration_ms: Option<u64>,
}

/// What the receiver of a report said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptAnswer {
    /// It answered with this HTTP status.
    Status(u16),
    /// There was no answer, for this reason.
    None(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_follows_from_the_task() {
        let uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let id = WebhookId::of_task(uuid);
        assert_eq!(id.as_str(), "msg_0123456789abcdef0123456789abcdef");
        assert_eq!(WebhookId::of_task(uuid), id);
    }
}
