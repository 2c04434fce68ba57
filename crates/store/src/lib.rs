//! Where tasks, projects and file records live, and the queue among them.
//!
//! The operations are coarse: each is one transaction, the same for every engine underneath
//! (`conformance` is the suite that all of them pass). Execution is at-least-once, completion is
//! exactly-once, an acknowledged submit is never lost. Time is passed in; the store has no clock.

use async_trait::async_trait;
use tintype_domain::{
    Account, AttemptReport, Epoch, Event, FileId, FileRecord, Folder, Idempotency, NewFile,
    NewTask, Outcome, OutputFile, Price, Priced, Project, ProjectId, Refusal, Task, TaskId,
    TaskRef, ToolSlug, ToolStats, UnixMillis, Webhook, WorkerId,
};

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod follow;
pub mod moments;
pub mod outbox;
mod retention;
pub mod sqlite;

pub use follow::{FollowError, Follower};
pub use outbox::{
    Redelivery, WebhookClaim, WebhookDelivery, WebhookNext, WebhookQuery, WebhookRef,
};
pub use retention::{Expired, Expiring, ExpiryStep, Mode, Tidied, Upkeep};
pub use sqlite::SqliteStore;

/// Rows in one page of [`Store::list`] at most, however many are asked for.
pub const MAX_PAGE: u64 = 1_000;

/// Events of a task's history that are kept at least, the newest: some twenty attempts. A task
/// that is given back for ever, by a drain for each release, stays as narrow as this.
pub const HISTORY_KEPT: usize = 200;

/// Why a store operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name or key is taken.
    #[error("{what} already exists")]
    Exists {
        /// What was to be made.
        what: String,
    },
    /// The call itself cannot work, now or later: it names a project that does not exist, say.
    /// A bug in the caller.
    #[error("the store was asked for something impossible: {reason}")]
    Rejected {
        /// What is wrong with it.
        reason: String,
    },
    /// The task is not queued: a limit of its project, or another request under its key.
    #[error("{0}")]
    Refused(Refusal),
    /// Nothing was changed, and the same call may work later (a full disk, a busy file).
    #[error("the store cannot write right now: {reason}")]
    Unavailable {
        /// What the engine underneath said.
        reason: String,
    },
    /// The stored data is not what this version can read.
    #[error("the store is damaged or of another version: {reason}")]
    Corrupt {
        /// What was found.
        reason: String,
    },
}

/// A project about to be made; see [`Project`] for the fields.
#[derive(Debug, Clone)]
pub struct NewProject {
    /// A name for people, unique.
    pub name: String,
    /// The public key that clients send, unique.
    pub api_key: String,
    /// The API secret, encrypted by the caller.
    pub sealed_secret: Vec<u8>,
    /// How it proves itself.
    pub auth: tintype_domain::AuthKind,
    /// Networks it may call from; empty means all.
    pub allowed_networks: Vec<String>,
    /// Whether a nonce may be used once only.
    pub strict_nonce: bool,
}

/// What is to change in a project; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// See [`Account::concurrency`].
    pub concurrency: Option<Option<u32>>,
    /// See [`Account::balance_micros`].
    pub balance: Option<BalanceChange>,
    /// See [`Account::weight`]; for tasks that are queued from now on.
    pub weight: Option<u32>,
    /// See [`Account::priority`]; for tasks that wait, too.
    pub priority: Option<i32>,
    /// New prices, for tasks that are queued from now on; `None` takes one off the list.
    pub prices: Vec<(Priced, Option<i64>)>,
    /// See [`Project::strict_nonce`].
    pub strict_nonce: Option<bool>,
}

/// What is to become of a balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BalanceChange {
    /// None is kept any more.
    Unlimited,
    /// It is this many millionths.
    Set(i64),
    /// It grows by this many; [`Error::Rejected`] if there is none.
    Add(i64),
}

/// A claim: who asks, for how much, for how long.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The worker.
    pub worker: WorkerId,
    /// Tasks at most.
    pub limit: usize,
    /// The lease ends then unless a heartbeat moves it.
    pub lease_until: UnixMillis,
    /// Tasks that were claimed this often already are not given out again (see [`Store::reap`]).
    pub max_attempts: u32,
}

/// What a heartbeat found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Tasks that someone asked to stop.
    pub cancelled: Vec<TaskId>,
    /// Tasks whose lease is gone: another worker has them, or they ended.
    pub lost: Vec<TaskId>,
}

/// A fenced write's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fenced {
    /// It took effect.
    Applied,
    /// The epoch is not the task's latest, or the task is final: nothing changed.
    Stale,
}

/// Where a task must stand for a wish to stop it to mean it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// In the queue.
    Queued,
    /// With a worker.
    Running,
}

/// What became of a wish to stop a task.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancel {
    /// It was queued and is cancelled now.
    Cancelled(Box<Task>),
    /// It is running and flagged; its worker will stop it.
    Flagged(Box<Task>),
    /// It stands elsewhere than was meant, as the record says; nothing changed.
    Unchanged(Box<Task>),
    /// There is no such task.
    Unknown,
}

/// What became of a wish to delete a task's outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// No output is on record now.
    Deleted {
        /// The task.
        task: TaskId,
        /// Nobody knows the bytes under these keys any more.
        blob_keys: Vec<String>,
    },
    /// It has not ended; nothing changed.
    Unfinished,
    /// There is no such task.
    Unknown,
}

/// What may be done to a claimed task, all of it fenced by the epoch.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The task.
    pub task: TaskId,
    /// The claim's epoch.
    pub epoch: Epoch,
    /// When it happened.
    pub at: UnixMillis,
    /// What happened.
    pub kind: tintype_domain::EventKind,
}

/// Which tasks to list.
#[derive(Debug, Clone)]
pub struct TaskQuery {
    /// Whose.
    pub project: ProjectId,
    /// Only this tool's.
    pub tool: Option<ToolSlug>,
    /// Newest first, or oldest first.
    pub descending: bool,
    /// Rows to skip.
    pub start: u64,
    /// Rows at most.
    pub limit: u64,
}

/// The store. All operations answer after the commit.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes a project. [`Error::Exists`] if the name or the key is taken.
    async fn create_project(&self, project: NewProject, now: UnixMillis) -> Result<Project, Error>;

    /// The project of this API key.
    async fn project_by_key(&self, api_key: &str) -> Result<Option<Project>, Error>;

    /// All projects, by id.
    async fn projects(&self) -> Result<Vec<Project>, Error>;

    /// Records a nonce; `false` if this project used it since `keep_after`. Older ones are
    /// forgotten on the way.
    async fn use_nonce(
        &self,
        project: ProjectId,
        nonce: &str,
        now: UnixMillis,
        keep_after: UnixMillis,
    ) -> Result<bool, Error>;

    /// What a project may use and what it uses.
    async fn account(&self, project: ProjectId) -> Result<Option<Account>, Error>;

    /// Changes what a project may use, at once; returns the account as it is then.
    async fn change_account(
        &self,
        project: ProjectId,
        change: AccountChange,
    ) -> Result<Account, Error>;

    /// A project's price list.
    async fn prices(&self, project: ProjectId) -> Result<Vec<Price>, Error>;

    /// Queues a task; with it, in one transaction, its first event, the file that came with it,
    /// its count among its project's, and the reservation of its price, which is fixed now.
    /// [`Error::Refused`] if a limit of the project forbids it.
    ///
    /// With an idempotency key that the project has used already, for the same request, nothing
    /// is queued: the task of then comes back as it stands (it has another uuid). If it was for
    /// another request, that is refused.
    async fn submit(&self, task: NewTask, now: UnixMillis) -> Result<Task, Error>;

    /// What [`Store::submit`] would give for an idempotency key that was used already; `None` if it
    /// was not.
    async fn repeated(
        &self,
        project: ProjectId,
        idempotency: &Idempotency,
    ) -> Result<Option<Task>, Error>;

    /// The queued tasks that are next, in the order in which [`Store::claim`] gives them out.
    async fn queue_front(&self, limit: usize) -> Result<Vec<TaskId>, Error>;

    /// Gives out queued tasks: those of the highest priority first, and among them each project's
    /// in turn, as [`tintype_domain::fairness`] says; a project's own oldest first. Each comes back accepted, with a new epoch, and one
    /// more attempt counted. Dropping this call half-way may leave tasks claimed by nobody until
    /// their lease runs out: await it.
    async fn claim(&self, claim: Claim, now: UnixMillis) -> Result<Vec<Task>, Error>;

    /// Moves the leases of these claims and tells which of them are to stop or are lost. A lease
    /// that ran out but was not reaped yet is revived.
    async fn heartbeat(
        &self,
        claims: &[(TaskId, Epoch)],
        lease_until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Heartbeat, Error>;

    /// Records what happened to claimed tasks, in order. A state that the task has already passed
    /// changes nothing; skipping states is fine. Progress goes to those who follow, in its place
    /// among the states, and is kept nowhere. [`Error::Rejected`], and nothing of the call
    /// recorded, for states that other operations enter (queued, accepted, the final ones).
    async fn record(&self, progress: Vec<Progress>) -> Result<Vec<Fenced>, Error>;

    /// Keeps what a claimed task's prompt was rewritten to, unless an earlier attempt has left one:
    /// what is on record then comes back. `None` if the claim is stale; nothing changes then.
    async fn keep_upsampled_prompt(
        &self,
        task: TaskId,
        epoch: Epoch,
        upsampled: String,
    ) -> Result<Option<String>, Error>;

    /// Ends a claimed task: its last states, outcome and outputs in one transaction. The outcome
    /// decides, also for a task that was asked to stop.
    async fn complete(
        &self,
        task: TaskId,
        epoch: Epoch,
        outcome: Outcome,
        now: UnixMillis,
    ) -> Result<Fenced, Error>;

    /// Gives a lease back (a worker that drains): queued again, the attempt not counted. A task
    /// that was asked to stop is cancelled instead.
    async fn release(&self, task: TaskId, epoch: Epoch, now: UnixMillis) -> Result<Fenced, Error>;

    /// Forgets the outputs of a task that has ended; only within `project`. The record of the task
    /// stays. Again changes nothing more, and finds no keys.
    async fn delete_outputs(&self, task: &TaskRef, project: ProjectId) -> Result<Deletion, Error>;

    /// Asks for a stop; only within `project`, and only if the task stands there.
    async fn cancel(
        &self,
        task: &TaskRef,
        project: ProjectId,
        standing: Standing,
        now: UnixMillis,
    ) -> Result<Cancel, Error>;

    /// Looks after expired leases (`lease_until` is reached): they go back to the queue; a task
    /// flagged as cancelled ends so, and one out of attempts, also if it is queued, ends as failed
    /// with [`tintype_domain::ExitCode::ATTEMPTS`]. Returns how many tasks were touched. Call it
    /// every few seconds, and at the start; the store may tidy up on the occasion.
    async fn reap(&self, max_attempts: u32, now: UnixMillis) -> Result<usize, Error>;

    /// One task. With `project`, only that project's.
    async fn detail(
        &self,
        task: &TaskRef,
        project: Option<ProjectId>,
    ) -> Result<Option<Task>, Error>;

    /// A page of at most [`MAX_PAGE`] tasks, and how many there are in all.
    async fn list(&self, query: TaskQuery) -> Result<(Vec<Task>, u64), Error>;

    /// How the runs of each tool went: every tool that was ever run, by its address. The counts
    /// are part of the transactions that they count, and reading them costs the same however many
    /// tasks there are.
    async fn tool_stats(&self) -> Result<Vec<(ToolSlug, ToolStats)>, Error>;

    /// The states that a task has entered, oldest first: those with a number greater than `after`.
    /// At least the last [`HISTORY_KEPT`] are there. With `project`, only that project's task.
    async fn history(
        &self,
        task: &TaskRef,
        project: Option<ProjectId>,
        after: u32,
    ) -> Result<Option<Vec<Event>>, Error>;

    /// What happens from now on, to all tasks: see [`Follower`]. What an operation did is on its
    /// way to the followers before the operation answers.
    fn follow(&self) -> Follower;

    /// The output with this public address.
    async fn output_at(&self, directory: &str, name: &str) -> Result<Option<OutputFile>, Error>;

    /// Makes a folder; the one that is there if its parent has one of this name already.
    /// [`Error::Rejected`] if the parent is not a folder of the same project.
    async fn add_folder(&self, folder: Folder) -> Result<Folder, Error>;

    /// A folder of a project.
    async fn folder(&self, project: ProjectId, folder: &FileId) -> Result<Option<Folder>, Error>;

    /// Records an uploaded file. [`Error::Exists`] if the id or the address is taken,
    /// [`Error::Rejected`] if its folder is not one of the same project.
    async fn add_file(&self, file: NewFile) -> Result<(), Error>;

    /// The uploaded file with this public address.
    async fn file_at(&self, directory: &str, name: &str) -> Result<Option<FileRecord>, Error>;

    /// The newest file of this name in a project.
    async fn file_by_name(
        &self,
        project: ProjectId,
        name: &str,
    ) -> Result<Option<FileRecord>, Error>;

    /// Forgets what is old, in bounded steps; see [`ExpiryStep`]. What an unfinished task names in
    /// its parameters stays, and so does the record of a task that something still waits for. The
    /// rows are gone when this answers: the bytes are the caller's to delete.
    async fn expire(&self, step: ExpiryStep) -> Result<Expired, Error>;

    /// Which of these keys are on record, or may come to be: those of the current attempts of
    /// unfinished tasks, too. The key of an output that is not among them never will be again. An
    /// upload is recorded after its bytes are written: whoever deletes leaves it some time.
    async fn live_blobs(
        &self,
        keys: Vec<tintype_domain::BlobKey>,
    ) -> Result<Vec<tintype_domain::BlobKey>, Error>;

    /// Housekeeping, in bounded steps: rows that have expired by themselves go, and unused space
    /// is given back. Call it again while there is more.
    async fn tidy(&self, upkeep: Upkeep) -> Result<Tidied, Error>;

    /// Gives out reports of ended tasks that are due, fairly between receivers and projects, and
    /// puts an attempt of each on record. An end is reported if the task named a callback; the
    /// report is written in the transaction that ends the task, under an id that never changes.
    /// Reports whose lease is over are due again. Dropping this call half-way may leave reports
    /// with nobody until their lease is over: await it.
    async fn claim_webhooks(
        &self,
        claim: WebhookClaim,
        now: UnixMillis,
    ) -> Result<Vec<WebhookDelivery>, Error>;

    /// Records what came of the attempt with this number, and what follows. [`Fenced::Stale`], and
    /// nothing recorded, if the attempt was taken for interrupted in the meantime.
    async fn record_attempt(
        &self,
        task: TaskId,
        attempt: u32,
        report: AttemptReport,
        next: WebhookNext,
    ) -> Result<Fenced, Error>;

    /// A page of reports with their attempts, newest task first.
    async fn webhooks(&self, query: WebhookQuery) -> Result<Vec<Webhook>, Error>;

    /// Makes a report that was delivered or given up due again, under its old id.
    async fn redeliver_webhook(
        &self,
        webhook: &WebhookRef,
        now: UnixMillis,
    ) -> Result<Redelivery, Error>;

    /// Whether a write would be durable now: the readiness probe.
    async fn check(&self) -> Result<(), Error>;
}
