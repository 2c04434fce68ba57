//! A whole service on a temporary folder, with a fake engine, a clock moved by hand, and stores
//! that fail on command.

use std::io::Cursor;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use image::{ImageFormat, Rgb, RgbImage};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tempfile::TempDir;
use tintype_catalog::Catalog;
use tintype_domain::{AuthKind, EventKind, Task, TaskId, TaskRef, TaskState, ToolSlug, WorkerId};
use tintype_engine::Engine;
use tintype_service::test_support::{FakeEngine, ManualClock};
use tintype_service::worker::{Engines, Worker, WorkerConfig, WorkerHandle};
use tintype_service::{
    Clock, Credentials, NewProjectRequest, Parts, Principal, ProjectKeys, RawInputs, RawValue,
    RunRequest, SealingKey, Service, ServiceConfig, SubmitError, Submitted, UploadedPart,
};
use tintype_store::sqlite::SqliteStore;
use tintype_store::{Claim, Store};

use crate::faults::{Faults, FaultyBlobs, FaultyStore};

pub const PUBLIC_URL: &str = "https://pictures.example/files";
pub const LEASE: Duration = Duration::from_secs(30);

pub fn edit() -> ToolSlug {
    ToolSlug::new("black-forest-labs", "flux-kontext-max")
}

pub fn draw() -> ToolSlug {
    ToolSlug::new("black-forest-labs", "flux-pro-1.1")
}

/// Everything that a test needs. Its folder outlives it when it is restarted.
pub struct Bench {
    pub service: Arc<Service>,
    pub store: Arc<dyn Store>,
    pub blobs: Arc<dyn ObjectStore>,
    pub faults: Arc<Faults>,
    pub engine: Arc<FakeEngine>,
    pub clock: Arc<ManualClock>,
    pub principal: Principal,
    pub keys: ProjectKeys,
    pub folder: Arc<TempDir>,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(configure: impl FnOnce(&mut ServiceConfig)) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a folder"));
        let store = open(&folder);
        Self::over(
            folder,
            store,
            Arc::new(InMemory::new()),
            ManualClock::new(),
            configure,
        )
        .await
    }

    async fn over(
        folder: Arc<TempDir>,
        inner: Arc<dyn Store>,
        blobs: Arc<dyn ObjectStore>,
        clock: Arc<ManualClock>,
        configure: impl FnOnce(&mut ServiceConfig),
    ) -> Self {
        let faults = Faults::new();
        let store: Arc<dyn Store> = Arc::new(FaultyStore {
            inner,
            faults: Arc::clone(&faults),
        });
        let blobs: Arc<dyn ObjectStore> = Arc::new(FaultyBlobs {
            inner: blobs,
            faults: Arc::clone(&faults),
            clock: Arc::clone(&clock),
            written: Mutex::default(),
        });
        // Another one after each restart: two projects never draw the same keys.
        let projects = store.projects().await.expect("projects").len();
        let mut rng = StdRng::seed_from_u64(7 + projects as u64);
        let sealing_key = SealingKey::of_data_folder(folder.path(), store.as_ref(), &mut rng)
            .await
            .expect("a key");
        let mut config = ServiceConfig::new(format!("{PUBLIC_URL}/"));
        configure(&mut config);
        let parts = Parts {
            store: Arc::clone(&store),
            blobs: Arc::clone(&blobs),
            catalog: Catalog::builtin(),
            sealing_key,
            clock: clock.clone(),
            rng,
        };
        let service = Arc::new(Service::new(config, parts));
        let request = NewProjectRequest {
            name: format!("bench {projects}"),
            auth: AuthKind::Key,
            allowed_networks: Vec::new(),
            strict_nonce: false,
        };
        let keys = service.create_project(request).await.expect("a project");
        let credentials = credentials(Some(&keys.api_key), None, None);
        let principal = service.authenticate(&credentials).await.expect("let in");
        let engine = FakeEngine::new();
        Self {
            service,
            store,
            blobs,
            faults,
            engine,
            clock,
            principal,
            keys,
            folder,
        }
    }

    /// A worker that never tires of looking into the queue.
    pub fn worker(&self) -> WorkerHandle {
        self.worker_with(|_| {})
    }

    pub fn worker_with(&self, configure: impl FnOnce(&mut WorkerConfig)) -> WorkerHandle {
        let engine: Arc<dyn Engine> = self.engine.clone();
        let engines: Engines = [(edit(), engine.clone()), (draw(), engine)].into();
        self.worker_for(engines, configure)
    }

    pub fn worker_for(
        &self,
        engines: Engines,
        configure: impl FnOnce(&mut WorkerConfig),
    ) -> WorkerHandle {
        let mut config = WorkerConfig::new(WorkerId("bench".into()));
        config.lease = LEASE;
        config.beat = Duration::from_millis(5);
        config.poll = Duration::from_millis(5);
        configure(&mut config);
        Worker::spawn(Arc::clone(&self.service), engines, config)
    }

    pub async fn submit(&self, tool: &ToolSlug, fields: Value) -> Submitted {
        self.try_submit(tool, raw(fields)).await.expect("accepted")
    }

    pub async fn try_submit(
        &self,
        tool: &ToolSlug,
        raw: RawInputs,
    ) -> Result<Submitted, SubmitError> {
        self.submit_as(&self.principal, tool, raw).await
    }

    pub async fn submit_as(
        &self,
        principal: &Principal,
        tool: &ToolSlug,
        inputs: RawInputs,
    ) -> Result<Submitted, SubmitError> {
        let request = RunRequest {
            idempotency_key: None,
            tool: tool.clone(),
            inputs,
            base_url: None,
        };
        self.service.submit(principal, request).await
    }

    pub async fn try_submit_edit(&self, raw: RawInputs) -> Result<Submitted, SubmitError> {
        self.try_submit(&edit(), raw).await
    }

    pub async fn task(&self, task: TaskId) -> Task {
        let found = self.store.detail(&TaskRef::Id(task), None).await;
        found
            .expect("the store answers")
            .expect("the task is there")
    }

    /// A queued task in the hands of a worker that does nothing.
    pub async fn claim(&self) -> Task {
        let now = self.clock.now();
        let claim = Claim {
            worker: WorkerId("idle".into()),
            limit: 1,
            lease_until: now.plus_millis(30_000),
            max_attempts: 3,
        };
        let mut claimed = self.store.claim(claim, now).await.expect("claims");
        claimed.pop().expect("a queued task")
    }

    /// Waits until something is true of a task; looks again whenever a store call returned.
    pub async fn until(&self, task: TaskId, condition: impl Fn(&Task) -> bool) -> Task {
        let mut changes = self.faults.changes();
        loop {
            let now = self.task(task).await;
            if condition(&now) {
                return now;
            }
            changes.changed().await.expect("the stores live");
        }
    }

    pub async fn ended(&self, task: TaskId) -> Task {
        self.until(task, |task| task.state.is_final()).await
    }

    /// The states that a task entered, in order.
    pub async fn states(&self, task: TaskId) -> Vec<TaskState> {
        let history = self.store.history(&TaskRef::Id(task), None, 0).await;
        let history = history.expect("history").expect("the task is there");
        history
            .into_iter()
            .filter_map(|event| match event.kind {
                EventKind::Entered { state } => Some(state),
                EventKind::Progress { .. } => None,
            })
            .collect()
    }

    pub async fn blob(&self, key: &str) -> Bytes {
        let found = self
            .blobs
            .get(&Path::from(key))
            .await
            .expect("the blob is there");
        found.bytes().await.expect("bytes")
    }

    /// Stops everything as a power cut would, and starts anew on the same folder.
    pub async fn restart(self, running: impl Sized) -> Self {
        self.restart_with(running, |_| {}).await
    }

    pub async fn restart_with(
        self,
        running: impl Sized,
        configure: impl FnOnce(&mut ServiceConfig),
    ) -> Self {
        let Self {
            service,
            store,
            blobs,
            clock,
            folder,
            ..
        } = self;
        let dying = Arc::downgrade(&store);
        drop((running, service, store));
        // Aborted tasks let go of the store when the runtime gets to them.
        while dying.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        Self::over(Arc::clone(&folder), open(&folder), blobs, clock, configure).await
    }
}

pub fn open(folder: &TempDir) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(&folder.path().join("tintype.db")).expect("the store opens"))
}

pub fn credentials(
    api_key: Option<&str>,
    nonce: Option<&str>,
    signature: Option<&str>,
) -> Credentials {
    Credentials {
        api_key: api_key.map(str::to_owned),
        nonce: nonce.map(str::to_owned),
        signature: signature.map(str::to_owned),
        remote: "203.0.113.9".parse().expect("an address"),
    }
}

/// Fields of a JSON body.
pub fn raw(fields: Value) -> RawInputs {
    let fields = fields.as_object().expect("an object").clone();
    fields
        .into_iter()
        .map(|(name, value)| (name, RawValue::Json(value)))
        .collect()
}

/// A part of a multipart body.
pub fn part(name: &str, file_name: &str, bytes: impl Into<Bytes>) -> (String, RawValue) {
    let part = UploadedPart {
        file_name: Some(file_name.to_owned()),
        content_type: Some("application/octet-stream".to_owned()),
        bytes: bytes.into(),
    };
    (name.to_owned(), RawValue::File(part))
}

/// A picture's file.
pub fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, (x ^ y) as u8]));
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).expect("encodes");
    file.into_inner()
}
