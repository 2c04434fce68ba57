//! What the operations on the outbox take and give: reports of ended tasks, on their way to the
//! addresses that clients named.

use tintype_domain::{Project, ProjectId, TaskId, UnixMillis, Webhook, WebhookId, WebhookState};

/// Attempts that are kept of a report: a round of the schedule has far fewer, so this only bounds
/// what sending it again by hand may add.
pub const MAX_ATTEMPTS_KEPT: u32 = 100;

/// A claim of reports that are due. The places are shared out so that no receiver and no project
/// can take them all.
#[derive(Debug, Clone, Copy)]
pub struct WebhookClaim {
    /// Reports at most.
    pub limit: usize,
    /// In hand at once, at most, of one project for one receiver (host and port).
    pub per_receiver: usize,
    /// In hand at once, at most, of one project.
    pub per_project: usize,
    /// An attempt of which nothing was heard by then was interrupted; its report is due again.
    pub lease_until: UnixMillis,
}

/// A report in hand. The attempt is on record already.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookDelivery {
    /// The report's id, the same on each attempt.
    pub id: WebhookId,
    /// The task that ended.
    pub task: TaskId,
    /// Whose; with its sealed secret.
    pub project: Project,
    /// Where it goes.
    pub url: String,
    /// Where the addresses in it begin; `None`: where the service says.
    pub base_url: Option<String>,
    /// The attempt's number, counted from 1 over all rounds.
    pub attempt: u32,
    /// The attempt's number within this round of the schedule, counted from 1.
    pub round_attempt: u32,
    /// When this round began.
    pub round_started_at: UnixMillis,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookNext {
    /// Nothing: the receiver has it.
    Delivered,
    /// Another attempt, at this time.
    At(UnixMillis),
    /// Nothing: it is given up.
    GivenUp,
}

/// How an operator names a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookRef {
    /// By its id.
    Id(WebhookId),
    /// By its task.
    Task(TaskId),
}

/// Which reports to list, newest task first.
#[derive(Debug, Clone, Default)]
pub struct WebhookQuery {
    /// Only this project's.
    pub project: Option<ProjectId>,
    /// Only those that stand there.
    pub state: Option<WebhookState>,
    /// Only this task's.
    pub task: Option<TaskId>,
    /// At most; [`crate::MAX_PAGE`] is the bound.
    pub limit: u64,
}

/// What became of a wish to send a report again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redelivery {
    /// It is due now, under its old id.
    Due(Box<Webhook>),
    /// It is on its way already, as the record says; nothing changed.
    Pending(Box<Webhook>),
    /// There is no such report.
    Unknown,
}
