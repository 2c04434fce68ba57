//! The service under test, put together as `serve` does it, with an engine that draws at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use image::RgbImage;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tintype_catalog::Catalog;
use tintype_domain::{AuthKind, ToolSlug, WorkerId};
use tintype_engine::{
    Cancellation, Drawing, Engine, Error, Job, Picture, Progress, ProgressSink, StageSeconds,
};
use tintype_server::{Limits, Options as ServerOptions, listen, router};
use tintype_service::worker::{Worker, WorkerConfig, WorkerHandle};
use tintype_service::{
    NewProjectRequest, Parts, Principal, RawValue, RunRequest, SealingKey, Service, ServiceConfig,
    SystemClock,
};
use tintype_store::SqliteStore;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::signing::Keys;

/// What every task asks for: a prompt as long as prompts are.
pub(crate) const PARAMETERS: [(&str, &str); 3] = [
    (
        "prompt",
        "A plain cookie package on a wooden table, in the soft light of a window, photographed \
         from above with a shallow depth of field",
    ),
    ("aspectRatio", "16:9"),
    ("seed", "42"),
];

/// The tool that all tasks are runs of.
pub(crate) fn tool() -> ToolSlug {
    ToolSlug::new("black-forest-labs", "flux-pro-1.1")
}

/// A run, as a service takes it from the server.
pub(crate) fn run_request() -> RunRequest {
    let field = |(name, value): (&str, &str)| (name.to_owned(), RawValue::Json(value.into()));
    RunRequest {
        idempotency_key: None,
        tool: tool(),
        inputs: PARAMETERS.into_iter().map(field).collect(),
        base_url: None,
    }
}

/// Pixels of a picture's side.
const SIDE: u32 = 16;

/// As many as a queue of this depth keeps busy: the engine is never what is waited for.
const PLACES: usize = 64;

/// What requests in hand get when a round is over.
const GRACE: Duration = Duration::from_secs(5);

/// Where the project's keys lie beside its database.
const KEYS_FILE: &str = "keys.json";

/// Draws at once.
struct InstantEngine;

#[async_trait]
impl Engine for InstantEngine {
    fn model_name(&self) -> &str {
        "instant"
    }

    fn places(&self) -> usize {
        PLACES
    }

    async fn run(
        &self,
        job: Job,
        progress: ProgressSink,
        _cancellation: Cancellation,
    ) -> Result<Drawing, Error> {
        progress(Progress::Started);
        let image = RgbImage::new(SIDE, SIDE);
        Ok(Drawing {
            pictures: vec![Picture { image, file: None }],
            engine_name: "instant".to_owned(),
            model_name: "instant".to_owned(),
            prompt_upsampled: false,
            seed: job.seed,
            steps: 0,
            seconds: StageSeconds::default(),
            remarks: Vec::new(),
        })
    }
}

/// A folder with a database, and the store on it.
pub(crate) struct Base {
    folder: PathBuf,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) keys: Keys,
    pub(crate) principal: Principal,
    pub(crate) service: Arc<Service>,
}

impl Base {
    /// Opens the folder; makes it, with one project, if there is nothing yet.
    pub(crate) async fn open(folder: &Path, pictures_on_disk: bool) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot use the folder {}", folder.display()))?;
        let store = Arc::new(SqliteStore::open(&folder.join("tintype.db"))?);
        let mut rng = StdRng::from_os_rng();
        let sealing_key = SealingKey::of_data_folder(folder, store.as_ref(), &mut rng).await?;
        let parts = Parts {
            store: store.clone(),
            blobs: blobs(folder, pictures_on_disk)?,
            catalog: Catalog::builtin(),
            sealing_key,
            clock: Arc::new(SystemClock),
            rng,
        };
        let config = ServiceConfig::new("http://bench.invalid");
        let service = Arc::new(Service::new(config, parts));
        let keys = keys(folder, &service).await?;
        let principal = service.authenticate(&keys.credentials()).await?;
        Ok(Self {
            folder: folder.to_owned(),
            store,
            keys,
            principal,
            service,
        })
    }

    /// Closes the database, so that it can be opened again or removed.
    pub(crate) fn close(self) -> PathBuf {
        self.folder
    }

    /// Starts a worker.
    pub(crate) fn worker(&self) -> WorkerHandle {
        let engine: Arc<dyn Engine> = Arc::new(InstantEngine);
        let config = WorkerConfig::new(WorkerId("bench".to_owned()));
        Worker::spawn(self.service.clone(), [(tool(), engine)].into(), config)
    }

    /// Starts to listen.
    pub(crate) async fn listen(&self) -> anyhow::Result<Listening> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = router(self.service.clone(), &ServerOptions::default());
        let server = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            listen::serve(listener, router, &Limits::default(), stopped, GRACE).await;
        });
        Ok(Listening {
            address,
            stop,
            server,
        })
    }
}

/// A socket that the service answers on.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
}

impl Listening {
    /// Stops listening.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        drop(self.stop);
        Ok(self.server.await?)
    }
}

fn blobs(folder: &Path, on_disk: bool) -> anyhow::Result<Arc<dyn ObjectStore>> {
    if !on_disk {
        return Ok(Arc::new(InMemory::new()));
    }
    let folder = folder.join("blobs");
    std::fs::create_dir_all(&folder)?;
    Ok(Arc::new(
        LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true),
    ))
}

/// The keys of the folder's project, which is made on the first call.
async fn keys(folder: &Path, service: &Service) -> anyhow::Result<Keys> {
    let path = folder.join(KEYS_FILE);
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(serde_json::from_str(&text)?);
    }
    let request = NewProjectRequest {
        name: "bench".to_owned(),
        auth: AuthKind::Signature,
        allowed_networks: Vec::new(),
        strict_nonce: false,
    };
    let made = service.create_project(request).await?;
    let keys = Keys {
        api_key: made.api_key,
        api_secret: Some(made.api_secret),
    };
    std::fs::write(path, serde_json::to_string(&keys)?)?;
    Ok(keys)
}
