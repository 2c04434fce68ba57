//! A task store and a blob store that fail, hang or "lose power" when a test says so, and that
//! tell when something has changed.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tintype_domain::{
    Account, AttemptReport, BlobKey, Epoch, Event, FileId, FileRecord, Folder, Idempotency,
    NewFile, NewTask, Outcome, OutputFile, Price, Project, ProjectId, Task, TaskId, TaskRef,
    ToolSlug, ToolStats, UnixMillis, Webhook,
};
use tintype_service::Clock;
use tintype_service::test_support::ManualClock;
use tintype_store::{
    AccountChange, Cancel, Claim, Deletion, Error, Expired, ExpiryStep, Fenced, Follower,
    Heartbeat, NewProject, Progress, Redelivery, Standing, Store, TaskQuery, Tidied, Upkeep,
    WebhookClaim, WebhookDelivery, WebhookNext, WebhookQuery, WebhookRef,
};
use tokio::sync::watch;

/// Where in a write the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

/// What goes wrong with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It never returns: the power went.
    Crash(Moment),
    /// It is refused; after the fact, too, as when an answer is lost.
    Refusal(Moment),
}

#[derive(Debug, Default)]
struct Plan {
    /// How many of the next calls fail, by operation.
    failures: HashMap<&'static str, u32>,
    /// Which of the worker's writes goes wrong, counted from zero.
    trouble: Option<(u32, Trouble)>,
    writes: u32,
}

/// What both stores do wrong. Shared between them, so that their writes are one sequence.
#[derive(Debug)]
pub struct Faults {
    plan: Mutex<Plan>,
    crashed: watch::Sender<bool>,
    met: AtomicBool,
    changes: watch::Sender<u64>,
}

impl Faults {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            plan: Mutex::default(),
            crashed: watch::channel(false).0,
            met: AtomicBool::new(false),
            changes: watch::channel(0).0,
        })
    }

    /// The next `times` calls of an operation fail, as on a full disk.
    pub fn fail(&self, operation: &'static str, times: u32) {
        self.plan
            .lock()
            .expect("no panic")
            .failures
            .insert(operation, times);
    }

    /// How many planned failures of an operation are still to come.
    pub fn left(&self, operation: &str) -> u32 {
        *self
            .plan
            .lock()
            .expect("no panic")
            .failures
            .get(operation)
            .unwrap_or(&0)
    }

    /// The worker's write with this number never returns.
    pub fn crash_at(&self, write: u32, moment: Moment) {
        self.trouble_at(write, Trouble::Crash(moment));
    }

    /// This goes wrong with the worker's write of this number.
    pub fn trouble_at(&self, write: u32, trouble: Trouble) {
        *self.plan.lock().expect("no panic") = Plan {
            trouble: Some((write, trouble)),
            ..Plan::default()
        };
        self.crashed.send_replace(false);
        self.met.store(false, Ordering::SeqCst);
    }

    /// Whether the planned trouble has come.
    pub fn met(&self) -> bool {
        self.met.load(Ordering::SeqCst)
    }

    /// Everything works again.
    pub fn none(&self) {
        *self.plan.lock().expect("no panic") = Plan::default();
    }

    /// Waits for the write that does not return.
    pub async fn crashed(&self) {
        self.crashed
            .subscribe()
            .wait_for(|&crashed| crashed)
            .await
            .expect("the sender lives");
    }

    /// Whether that has happened.
    pub fn has_crashed(&self) -> bool {
        *self.crashed.borrow()
    }

    /// Told after every call.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn takes_failure(&self, operation: &str) -> bool {
        let mut plan = self.plan.lock().expect("no panic");
        let left = plan.failures.get_mut(operation).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }

    /// Whether a write of this number is refused now; it does not return if the power goes.
    async fn refuses(&self, number: u32, now: Moment) -> bool {
        let planned = self.plan.lock().expect("no panic").trouble;
        let Some((_, trouble)) = planned.filter(|(write, _)| *write == number) else {
            return false;
        };
        if trouble == Trouble::Crash(now) {
            self.met.store(true, Ordering::SeqCst);
            self.crashed.send_replace(true);
            std::future::pending::<()>().await;
        }
        let refused = trouble == Trouble::Refusal(now);
        self.met.fetch_or(refused, Ordering::SeqCst);
        refused
    }

    /// One of the writes that make up a task's life.
    async fn write<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        refusal: impl Fn() -> E,
    ) -> Result<T, E> {
        let number = {
            let mut plan = self.plan.lock().expect("no panic");
            plan.writes += 1;
            plan.writes - 1
        };
        if self.refuses(number, Moment::Before).await {
            return Err(refusal());
        }
        let result = call.await;
        if self.refuses(number, Moment::After).await {
            return Err(refusal());
        }
        result
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        if self.takes_failure(operation) {
            return Err(full_disk());
        }
        let result = match operation {
            "record"
            | "keep_upsampled_prompt"
            | "complete"
            | "release"
            | "expire"
            | "claim_webhooks"
            | "record_attempt" => self.write(call, full_disk).await,
            _ => call.await,
        };
        self.changes.send_modify(|changes| *changes += 1);
        result
    }
}

fn full_disk() -> Error {
    Error::Unavailable {
        reason: "the disk is full".to_owned(),
    }
}

/// A task store with faults.
pub struct FaultyStore {
    pub inner: Arc<dyn Store>,
    pub faults: Arc<Faults>,
}

#[async_trait]
impl Store for FaultyStore {
    async fn create_project(&self, project: NewProject, now: UnixMillis) -> Result<Project, Error> {
        self.faults
            .call("create_project", self.inner.create_project(project, now))
            .await
    }

    async fn project_by_key(&self, api_key: &str) -> Result<Option<Project>, Error> {
        self.faults
            .call("project_by_key", self.inner.project_by_key(api_key))
            .await
    }

    async fn projects(&self) -> Result<Vec<Project>, Error> {
        self.faults.call("projects", self.inner.projects()).await
    }

    async fn use_nonce(
        &self,
        project: ProjectId,
        nonce: &str,
        now: UnixMillis,
        keep_after: UnixMillis,
    ) -> Result<bool, Error> {
        self.faults
            .call(
                "use_nonce",
                self.inner.use_nonce(project, nonce, now, keep_after),
            )
            .await
    }

    async fn submit(&self, task: NewTask, now: UnixMillis) -> Result<Task, Error> {
        self.faults
            .call("submit", self.inner.submit(task, now))
            .await
    }

    async fn account(&self, project: ProjectId) -> Result<Option<Account>, Error> {
        self.inner.account(project).await
    }

    async fn change_account(
        &self,
        project: ProjectId,
        change: AccountChange,
    ) -> Result<Account, Error> {
        self.inner.change_account(project, change).await
    }

    async fn prices(&self, project: ProjectId) -> Result<Vec<Price>, Error> {
        self.inner.prices(project).await
    }

    async fn repeated(
        &self,
        project: ProjectId,
        idempotency: &Idempotency,
    ) -> Result<Option<Task>, Error> {
        let repeated = self.inner.repeated(project, idempotency);
        self.faults.call("repeated", repeated).await
    }

    async fn queue_front(&self, limit: usize) -> Result<Vec<TaskId>, Error> {
        let front = self.inner.queue_front(limit);
        self.faults.call("queue_front", front).await
    }

    async fn claim(&self, claim: Claim, now: UnixMillis) -> Result<Vec<Task>, Error> {
        self.faults
            .call("claim", self.inner.claim(claim, now))
            .await
    }

    async fn heartbeat(
        &self,
        claims: &[(TaskId, Epoch)],
        lease_until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Heartbeat, Error> {
        self.faults
            .call("heartbeat", self.inner.heartbeat(claims, lease_until, now))
            .await
    }

    async fn record(&self, progress: Vec<Progress>) -> Result<Vec<Fenced>, Error> {
        self.faults
            .call("record", self.inner.record(progress))
            .await
    }

    async fn keep_upsampled_prompt(
        &self,
        task: TaskId,
        epoch: Epoch,
        upsampled: String,
    ) -> Result<Option<String>, Error> {
        let kept = self.inner.keep_upsampled_prompt(task, epoch, upsampled);
        self.faults.call("keep_upsampled_prompt", kept).await
    }

    async fn complete(
        &self,
        task: TaskId,
        epoch: Epoch,
        outcome: Outcome,
        now: UnixMillis,
    ) -> Result<Fenced, Error> {
        self.faults
            .call("complete", self.inner.complete(task, epoch, outcome, now))
            .await
    }

    async fn release(&self, task: TaskId, epoch: Epoch, now: UnixMillis) -> Result<Fenced, Error> {
        self.faults
            .call("release", self.inner.release(task, epoch, now))
            .await
    }

    async fn delete_outputs(&self, task: &TaskRef, project: ProjectId) -> Result<Deletion, Error> {
        self.faults
            .call("delete_outputs", self.inner.delete_outputs(task, project))
            .await
    }

    async fn cancel(
        &self,
        task: &TaskRef,
        project: ProjectId,
        standing: Standing,
        now: UnixMillis,
    ) -> Result<Cancel, Error> {
        self.faults
            .call("cancel", self.inner.cancel(task, project, standing, now))
            .await
    }

    async fn reap(&self, max_attempts: u32, now: UnixMillis) -> Result<usize, Error> {
        self.faults
            .call("reap", self.inner.reap(max_attempts, now))
            .await
    }

    async fn detail(
        &self,
        task: &TaskRef,
        project: Option<ProjectId>,
    ) -> Result<Option<Task>, Error> {
        self.inner.detail(task, project).await
    }

    async fn list(&self, query: TaskQuery) -> Result<(Vec<Task>, u64), Error> {
        self.inner.list(query).await
    }

    async fn tool_stats(&self) -> Result<Vec<(ToolSlug, ToolStats)>, Error> {
        self.faults
            .call("tool_stats", self.inner.tool_stats())
            .await
    }

    async fn history(
        &self,
        task: &TaskRef,
        project: Option<ProjectId>,
        after: u32,
    ) -> Result<Option<Vec<Event>>, Error> {
        self.inner.history(task, project, after).await
    }

    fn follow(&self) -> Follower {
        self.inner.follow()
    }

    async fn output_at(&self, directory: &str, name: &str) -> Result<Option<OutputFile>, Error> {
        self.faults
            .call("output_at", self.inner.output_at(directory, name))
            .await
    }

    async fn add_folder(&self, folder: Folder) -> Result<Folder, Error> {
        self.faults
            .call("add_folder", self.inner.add_folder(folder))
            .await
    }

    async fn folder(&self, project: ProjectId, folder: &FileId) -> Result<Option<Folder>, Error> {
        self.faults
            .call("folder", self.inner.folder(project, folder))
            .await
    }

    async fn add_file(&self, file: NewFile) -> Result<(), Error> {
        self.faults
            .call("add_file", self.inner.add_file(file))
            .await
    }

    async fn file_at(&self, directory: &str, name: &str) -> Result<Option<FileRecord>, Error> {
        self.faults
            .call("file_at", self.inner.file_at(directory, name))
            .await
    }

    async fn file_by_name(
        &self,
        project: ProjectId,
        name: &str,
    ) -> Result<Option<FileRecord>, Error> {
        self.faults
            .call("file_by_name", self.inner.file_by_name(project, name))
            .await
    }

    async fn claim_webhooks(
        &self,
        claim: WebhookClaim,
        now: UnixMillis,
    ) -> Result<Vec<WebhookDelivery>, Error> {
        self.faults
            .call("claim_webhooks", self.inner.claim_webhooks(claim, now))
            .await
    }

    async fn record_attempt(
        &self,
        task: TaskId,
        attempt: u32,
        report: AttemptReport,
        next: WebhookNext,
    ) -> Result<Fenced, Error> {
        let recorded = self.inner.record_attempt(task, attempt, report, next);
        self.faults.call("record_attempt", recorded).await
    }

    async fn webhooks(&self, query: WebhookQuery) -> Result<Vec<Webhook>, Error> {
        self.inner.webhooks(query).await
    }

    async fn redeliver_webhook(
        &self,
        webhook: &WebhookRef,
        now: UnixMillis,
    ) -> Result<Redelivery, Error> {
        self.inner.redeliver_webhook(webhook, now).await
    }

    async fn expire(&self, step: ExpiryStep) -> Result<Expired, Error> {
        self.faults.call("expire", self.inner.expire(step)).await
    }

    async fn live_blobs(&self, keys: Vec<BlobKey>) -> Result<Vec<BlobKey>, Error> {
        self.faults
            .call("live_blobs", self.inner.live_blobs(keys))
            .await
    }

    async fn tidy(&self, upkeep: Upkeep) -> Result<Tidied, Error> {
        self.faults.call("tidy", self.inner.tidy(upkeep)).await
    }

    async fn check(&self) -> Result<(), Error> {
        self.faults.call("check", self.inner.check()).await
    }
}

/// A blob store with faults: `put`, `get` and `delete` may fail, and a `put` or a `delete` is a
/// write like the others. Bytes are as old as the clock says that was moved by hand.
pub struct FaultyBlobs {
    pub inner: Arc<dyn ObjectStore>,
    pub faults: Arc<Faults>,
    pub clock: Arc<ManualClock>,
    pub written: Mutex<HashMap<Path, SystemTime>>,
}

impl fmt::Debug for FaultyBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyBlobs")
    }
}

fn no_space() -> object_store::Error {
    object_store::Error::Generic {
        store: "faulty",
        source: "no space left on device".into(),
    }
}

impl FaultyBlobs {
    fn fail_if_planned(&self, operation: &'static str) -> object_store::Result<()> {
        if self.faults.takes_failure(operation) {
            return Err(no_space());
        }
        Ok(())
    }
}

impl fmt::Display for FaultyBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty blobs")
    }
}

#[async_trait]
impl ObjectStore for FaultyBlobs {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.fail_if_planned("put")?;
        let put = async {
            let millis = u64::try_from(self.clock.now().0).expect("after 1970");
            let now = UNIX_EPOCH + Duration::from_millis(millis);
            let stamp = (location.clone(), now);
            self.written.lock().expect("no panic").extend([stamp]);
            self.inner.put_opts(location, payload, options).await
        };
        self.faults.write(put, no_space).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.fail_if_planned("get")?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let (inner, faults) = (Arc::clone(&self.inner), Arc::clone(&self.faults));
        let delete = move |location: object_store::Result<Path>| {
            let (inner, faults) = (Arc::clone(&inner), Arc::clone(&faults));
            async move {
                let location = location?;
                if faults.takes_failure("delete") {
                    return Err(no_space());
                }
                faults.write(inner.delete(&location), no_space).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let written = self.written.lock().expect("no panic").clone();
        let aged = move |mut meta: ObjectMeta| {
            if let Some(at) = written.get(&meta.location) {
                meta.last_modified = (*at).into();
            }
            meta
        };
        self.inner.list(prefix).map_ok(aged).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
