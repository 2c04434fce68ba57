//! The store on SQLite: the embedded default, one file in the data folder.
//!
//! One thread writes (see `writer`), a few connections read beside it. A call answers after its
//! commit is on the disk (`synchronous=FULL`). The tables: `task` is what was asked and never
//! changes, `job` is where it stands and how it got there; `migrations/` has them all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tintype_domain::{
    Account, AttemptReport, Epoch, Event, FileId, FileRecord, Folder, Idempotency, NewFile,
    NewTask, Outcome, OutputFile, Price, Project, ProjectId, Task, TaskId, TaskRef, ToolSlug,
    ToolStats, UnixMillis, Webhook,
};

use self::batch::Batch;
use self::owner::OwnerLock;
use self::readers::Readers;
use self::writer::Writer;
use crate::follow::Feed;
use crate::retention::{Expired, ExpiryStep, Mode, Tidied, Upkeep};
use crate::{
    AccountChange, Cancel, Claim, Deletion, Error, Fenced, Follower, Heartbeat, NewProject,
    Progress, Redelivery, Standing, Store, TaskQuery, WebhookClaim, WebhookDelivery, WebhookNext,
    WebhookQuery, WebhookRef,
};

mod accounts;
mod batch;
mod columns;
mod connection;
mod error;
mod folders;
mod history;
mod inspect;
mod job;
mod kept;
mod mentions;
mod migrate;
mod outbox;
mod outputs;
mod owner;
mod queue;
mod readers;
mod registry;
mod repeats;
mod retention;
mod rows;
mod tasks;
#[cfg(test)]
mod tests;
mod tidy;
mod tool_stats;
mod writer;

pub use inspect::{DatabaseFacts, inspect};

/// A store in one SQLite file. Share it in an [`Arc`]; dropping the last handle ends its writer
/// thread and lets another process own the file.
#[derive(Debug)]
pub struct SqliteStore {
    // The order matters: fields are dropped from the top, the lock last.
    writer: Writer,
    readers: Arc<Readers>,
    path: PathBuf,
    feed: Feed,
    _owner: Option<OwnerLock>,
}

impl SqliteStore {
    /// Opens the database at `path` as its only owner; makes it (and its folder) if there is none.
    ///
    /// All leases found are those of a process that has died, since no other can own the file:
    /// their tasks are queued again at once (the attempt stays counted, the old epoch is fenced).
    ///
    /// # Errors
    /// [`Error::Unavailable`] if another process owns it or the disk refuses, [`Error::Corrupt`]
    /// if it was written by a later program or is not a database.
    pub fn open(path: &Path) -> Result<Self, Error> {
        create_folder_of(path)?;
        let owner = OwnerLock::try_take(path)?.ok_or_else(|| OwnerLock::taken(path))?;
        let mut connection = connection::open_writer(path)?;
        migrate::migrate(&mut connection)?;
        let transaction = connection.transaction()?;
        let batch = Batch::new(&transaction);
        let abandoned = queue::end_all_leases(&batch)?;
        batch.write_kept()?;
        outbox::end_all_leases(&transaction)?;
        transaction.commit()?;
        if abandoned > 0 {
            tracing::info!(tasks = abandoned, "took back the tasks of a stopped server");
        }
        Self::start(path, connection, Some(owner))
    }

    /// Opens the database beside a server that may be running: for short administrative work such
    /// as making a project. Leases are left alone. Do not claim tasks from it.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; also if a running server is of another version.
    pub fn open_beside(path: &Path) -> Result<Self, Error> {
        create_folder_of(path)?;
        let mut connection = connection::open_writer(path)?;
        match OwnerLock::try_take(path)? {
            Some(_until_migrated) => migrate::migrate(&mut connection)?,
            None => migrate::refuse_other_version(&connection)?,
        }
        Self::start(path, connection, None)
    }

    fn start(
        path: &Path,
        connection: rusqlite::Connection,
        owner: Option<OwnerLock>,
    ) -> Result<Self, Error> {
        let feed = Feed::default();
        Ok(Self {
            readers: Arc::new(Readers::open(path)?),
            writer: Writer::start(connection, feed.clone())?,
            path: path.to_owned(),
            feed,
            _owner: owner,
        })
    }
}

fn create_folder_of(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new(""));
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).map_err(|source| Error::Unavailable {
        reason: format!("cannot create {}: {source}", folder.display()),
    })
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_project(&self, project: NewProject, now: UnixMillis) -> Result<Project, Error> {
        self.writer
            .run(move |connection| registry::create_project(connection, project, now))
            .await
    }

    async fn project_by_key(&self, api_key: &str) -> Result<Option<Project>, Error> {
        let api_key = api_key.to_owned();
        self.readers
            .look_up(|connection| registry::project_by_key(connection, &api_key))
            .await
    }

    async fn projects(&self) -> Result<Vec<Project>, Error> {
        self.readers.run(registry::projects).await
    }

    async fn use_nonce(
        &self,
        project: ProjectId,
        nonce: &str,
        now: UnixMillis,
        keep_after: UnixMillis,
    ) -> Result<bool, Error> {
        let nonce = nonce.to_owned();
        self.writer
            .run(move |connection| {
                registry::use_nonce(connection, project, &nonce, now, keep_after)
            })
            .await
    }

    async fn submit(&self, task: NewTask, now: UnixMillis) -> Result<Task, Error> {
        self.writer
            .run_often(move |batch| tasks::submit(batch, task.clone(), now))
            .await?
            .map_err(Error::Refused)
    }

    async fn claim(&self, claim: Claim, now: UnixMillis) -> Result<Vec<Task>, Error> {
        self.writer
            .run_often(move |batch| queue::claim(batch, &claim, now))
            .await
    }

    async fn heartbeat(
        &self,
        claims: &[(TaskId, Epoch)],
        lease_until: UnixMillis,
        _now: UnixMillis,
    ) -> Result<Heartbeat, Error> {
        let claims = claims.to_vec();
        self.writer
            .run_often(move |batch| queue::heartbeat(batch, &claims, lease_until))
            .await
    }

    async fn record(&self, progress: Vec<Progress>) -> Result<Vec<Fenced>, Error> {
        self.writer
            .run_often(move |batch| queue::record(batch, &progress))
            .await
    }

    async fn keep_upsampled_prompt(
        &self,
        task: TaskId,
        epoch: Epoch,
        upsampled: String,
    ) -> Result<Option<String>, Error> {
        self.writer
            .run_often(move |batch| queue::keep_upsampled_prompt(batch, task, epoch, &upsampled))
            .await
    }

    async fn complete(
        &self,
        task: TaskId,
        epoch: Epoch,
        outcome: Outcome,
        now: UnixMillis,
    ) -> Result<Fenced, Error> {
        self.writer
            .run_often(move |batch| queue::complete(batch, task, epoch, outcome.clone(), now))
            .await
    }

    async fn release(&self, task: TaskId, epoch: Epoch, now: UnixMillis) -> Result<Fenced, Error> {
        self.writer
            .run_often(move |batch| queue::release(batch, task, epoch, now))
            .await
    }

    async fn delete_outputs(&self, task: &TaskRef, project: ProjectId) -> Result<Deletion, Error> {
        let task = task.clone();
        self.writer
            .run(move |connection| outputs::delete(connection, &task, project))
            .await
    }

    async fn cancel(
        &self,
        task: &TaskRef,
        project: ProjectId,
        standing: Standing,
        now: UnixMillis,
    ) -> Result<Cancel, Error> {
        let task = task.clone();
        self.writer
            .run_often(move |batch| queue::cancel(batch, &task, project, standing, now))
            .await
    }

    async fn reap(&self, max_attempts: u32, now: UnixMillis) -> Result<usize, Error> {
        self.writer
            .run(move |connection| queue::reap(connection, max_attempts, now))
            .await
    }

    async fn detail(
        &self,
        task: &TaskRef,
        project: Option<ProjectId>,
    ) -> Result<Option<Task>, Error> {
        let task = task.clone();
        self.readers
            .look_up(|connection| tasks::detail(connection, &task, project))
            .await
    }

    async fn list(&self, query: TaskQuery) -> Result<(Vec<Task>, u64), Error> {
        self.readers
            .run(move |connection| tasks::list(connection, &query))
            .await
    }

    async fn tool_stats(&self) -> Result<Vec<(ToolSlug, ToolStats)>, Error> {
        self.readers.run(tool_stats::all).await
    }

    async fn repeated(
        &self,
        project: ProjectId,
        idempotency: &Idempotency,
    ) -> Result<Option<Task>, Error> {
        let idempotency = idempotency.clone();
        let known = self
            .readers
            .run(move |connection| tasks::repeated(connection, project, &idempotency));
        known.await?.transpose().map_err(Error::Refused)
    }

    async fn queue_front(&self, limit: usize) -> Result<Vec<TaskId>, Error> {
        self.readers
            .run(move |connection| queue::front(connection, limit))
            .await
    }

    async fn account(&self, project: ProjectId) -> Result<Option<Account>, Error> {
        self.readers
            .run(move |connection| accounts::find(connection, project))
            .await
    }

    async fn change_account(
        &self,
        project: ProjectId,
        change: AccountChange,
    ) -> Result<Account, Error> {
        self.writer
            .run(move |connection| accounts::change(connection, project, &change))
            .await
    }

    async fn prices(&self, project: ProjectId) -> Result<Vec<Price>, Error> {
        self.readers
            .run(move |connection| accounts::prices(connection, project))
            .await
    }

    async fn history(
        &self,
        task: &TaskRef,
        project: Option<ProjectId>,
        after: u32,
    ) -> Result<Option<Vec<Event>>, Error> {
        let task = task.clone();
        self.readers
            .run(move |connection| history::of_task(connection, &task, project, after))
            .await
    }

    fn follow(&self) -> Follower {
        self.feed.follow()
    }

    async fn output_at(&self, directory: &str, name: &str) -> Result<Option<OutputFile>, Error> {
        let (directory, name) = (directory.to_owned(), name.to_owned());
        self.readers
            .look_up(|connection| outputs::at(connection, &directory, &name))
            .await
    }

    async fn add_folder(&self, folder: Folder) -> Result<Folder, Error> {
        self.writer
            .run(move |connection| folders::add(connection, folder))
            .await
    }

    async fn folder(&self, project: ProjectId, folder: &FileId) -> Result<Option<Folder>, Error> {
        let folder = folder.clone();
        self.readers
            .look_up(|connection| folders::find(connection, project, &folder))
            .await
    }

    async fn add_file(&self, file: NewFile) -> Result<(), Error> {
        self.writer
            .run(move |connection| registry::add_file(connection, &file))
            .await
    }

    async fn file_at(&self, directory: &str, name: &str) -> Result<Option<FileRecord>, Error> {
        let (directory, name) = (directory.to_owned(), name.to_owned());
        self.readers
            .look_up(|connection| registry::file_at(connection, &directory, &name))
            .await
    }

    async fn file_by_name(
        &self,
        project: ProjectId,
        name: &str,
    ) -> Result<Option<FileRecord>, Error> {
        let name = name.to_owned();
        self.readers
            .look_up(|connection| registry::file_by_name(connection, project, &name))
            .await
    }

    async fn expire(&self, step: ExpiryStep) -> Result<Expired, Error> {
        let found = self
            .readers
            .run(move |connection| retention::look(connection, &step))
            .await?;
        if found.is_empty() {
            return Ok(found.nothing());
        }
        let take =
            move |connection: &rusqlite::Connection| retention::take(connection, &step, found);
        match step.mode {
            Mode::Remove => self.writer.run(|batch| take(batch)).await,
            Mode::Look => self.readers.run(take).await,
        }
    }

    async fn live_blobs(
        &self,
        keys: Vec<tintype_domain::BlobKey>,
    ) -> Result<Vec<tintype_domain::BlobKey>, Error> {
        self.readers
            .run(move |connection| retention::live_blobs(connection, keys))
            .await
    }

    async fn tidy(&self, upkeep: Upkeep) -> Result<Tidied, Error> {
        let mut tidied = Tidied::default();
        for step in tidy::STEPS {
            let rows = self.writer.run(move |connection| step(connection, upkeep));
            let rows = rows.await?;
            tidied.rows += rows;
            tidied.more |= rows >= tidy::ROWS_AT_ONCE;
        }
        tidied.bytes = self.writer.run(|batch| tidy::shrink(batch)).await?;
        tidied.more |= tidied.bytes > 0;
        if !tidied.more {
            let path = self.path.clone();
            let emptied = tokio::task::spawn_blocking(move || tidy::empty_log(&path)).await;
            emptied.unwrap_or(Ok(()))?;
        }
        Ok(tidied)
    }

    async fn claim_webhooks(
        &self,
        claim: WebhookClaim,
        now: UnixMillis,
    ) -> Result<Vec<WebhookDelivery>, Error> {
        self.writer
            .run(move |connection| outbox::claim(connection, &claim, now))
            .await
    }

    async fn record_attempt(
        &self,
        task: TaskId,
        attempt: u32,
        report: AttemptReport,
        next: WebhookNext,
    ) -> Result<Fenced, Error> {
        self.writer
            .run(move |connection| outbox::record(connection, task, attempt, &report, next))
            .await
    }

    async fn webhooks(&self, query: WebhookQuery) -> Result<Vec<Webhook>, Error> {
        self.readers
            .run(move |connection| outbox::list(connection, &query))
            .await
    }

    async fn redeliver_webhook(
        &self,
        webhook: &WebhookRef,
        now: UnixMillis,
    ) -> Result<Redelivery, Error> {
        let webhook = webhook.clone();
        self.writer
            .run(move |connection| outbox::redeliver(connection, &webhook, now))
            .await
    }

    async fn check(&self) -> Result<(), Error> {
        self.writer.run(|batch| registry::probe(batch)).await
    }
}
