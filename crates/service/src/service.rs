//! The service itself: the parts it is made of, and the questions it answers directly.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use rand::rngs::StdRng;
use tintype_catalog::Catalog;
use tintype_domain::{Task, TaskRef, ToolSlug, UnixMillis};
use tintype_store::Store;
use tintype_words::root_cause;
use tokio::sync::{Notify, watch};

use crate::attempts::BadAttempts;
use crate::guarded::{GuardConfig, GuardedClient};
use crate::moderation::Moderation;
use crate::outlook::LastView;
use crate::upsampling::Upsampling;
use crate::watch::Hub;
use crate::worker::Engines;
use crate::{Clock, Principal, SealingKey, ServiceError};

/// What an operator decides.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// The address under which clients reach this service, such as `https://pictures.example`.
    pub public_url: String,
    /// What may be connected to where clients name the address.
    pub guard: GuardConfig,
    /// For fetching a picture from an address that a client names, redirects included.
    pub fetch_timeout: Duration,
    /// How long the answer to a kill waits for the task to have stopped.
    pub kill_patience: Duration,
    /// Who judges what is asked for and what is drawn: nobody, unless it is said.
    pub moderation: Moderation,
    /// Who rewrites prompts: nobody, unless it is said.
    pub upsampling: Upsampling,
}

/// Long enough for a step of a small model, short enough for a client that waits.
const KILL_PATIENCE: Duration = Duration::from_secs(2);

/// 20 MB over a slow line; meanwhile the task holds one of a worker's places.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

impl ServiceConfig {
    /// The usual limits for a service at this address.
    pub fn new(public_url: impl Into<String>) -> Self {
        Self {
            public_url: public_url.into(),
            guard: GuardConfig::default(),
            fetch_timeout: FETCH_TIMEOUT,
            kill_patience: KILL_PATIENCE,
            moderation: Moderation::off(),
            upsampling: Upsampling::none(),
        }
    }
}

/// What a service is made of.
pub struct Parts {
    /// Tasks, projects and file records.
    pub store: Arc<dyn Store>,
    /// The bytes of files. A local one wants `with_fsync(true)`.
    pub blobs: Arc<dyn ObjectStore>,
    /// The tools that are offered.
    pub catalog: Catalog,
    /// Opens the secrets of projects.
    pub sealing_key: SealingKey,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws keys, tokens and seeds: must be seeded by the operating system outside of tests.
    pub rng: StdRng,
}

/// The use cases. Share it as `Arc<Service>`; all methods take `&self`.
pub struct Service {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) blobs: Arc<dyn ObjectStore>,
    pub(crate) catalog: Catalog,
    pub(crate) sealing_key: SealingKey,
    /// For every address that somebody outside chose.
    pub(crate) guarded: GuardedClient,
    pub(crate) fetch_timeout: Duration,
    clock: Arc<dyn Clock>,
    rng: Mutex<StdRng>,
    bad_attempts: Mutex<BadAttempts>,
    public_url: String,
    pub(crate) queued: Arc<Notify>,
    /// Rings when a task has ended: a hint for the webhooks.
    pub(crate) ended: Notify,
    /// Rings when a running task was asked to stop. A hint: the store knows which, and workers
    /// that hear nothing learn of it with their next heartbeat.
    pub(crate) stops: watch::Sender<()>,
    pub(crate) kill_patience: Duration,
    /// Who watches which task.
    pub(crate) hub: Arc<Hub>,
    pub(crate) last_view: LastView,
    pub(crate) moderation: Moderation,
    pub(crate) upsampling: Upsampling,
    /// Tasks that the worker of this process runs at the same time; zero before there is one.
    places: AtomicUsize,
    /// What draws for which tool; nothing before there is a worker in this process.
    engines: OnceLock<Engines>,
}

impl Service {
    /// Puts the parts together. Nothing is opened or fetched here.
    pub fn new(config: ServiceConfig, parts: Parts) -> Self {
        Self {
            store: parts.store,
            blobs: parts.blobs,
            catalog: parts.catalog,
            sealing_key: parts.sealing_key,
            guarded: GuardedClient::new(&config.guard),
            fetch_timeout: config.fetch_timeout,
            clock: parts.clock,
            rng: Mutex::new(parts.rng),
            bad_attempts: Mutex::default(),
            public_url: config.public_url.trim_end_matches('/').to_owned(),
            queued: Arc::new(Notify::new()),
            ended: Notify::new(),
            stops: watch::Sender::new(()),
            kill_patience: config.kill_patience,
            hub: Hub::new(),
            last_view: LastView::default(),
            moderation: config.moderation,
            upsampling: config.upsampling,
            places: AtomicUsize::new(0),
            engines: OnceLock::new(),
        }
    }

    /// Tasks that are run at the same time.
    pub(crate) fn places(&self) -> usize {
        self.places.load(Ordering::Relaxed)
    }

    pub(crate) fn set_places(&self, places: usize) {
        self.places.store(places, Ordering::Relaxed);
    }

    /// The worker of this process draws with these. The first worker counts.
    pub(crate) fn set_engines(&self, engines: &Engines) {
        drop(self.engines.set(engines.clone()));
    }

    /// Tools that nothing can draw for at the moment, in the catalogue's order. The reasons name places
    /// on this machine: they are for the log and the doctor.
    pub fn tools_without_engine(&self) -> Vec<ToolSlug> {
        let Some(engines) = self.engines.get() else {
            return Vec::new();
        };
        let in_trouble = |tool: &ToolSlug| engines.get(tool).is_some_and(|e| e.trouble().is_some());
        let tools = self.catalog.tools().iter().map(|tool| tool.slug());
        tools.filter(in_trouble).collect()
    }

    /// The tools that are offered.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The address under which clients reach this service, without a slash at its end.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// The public address of a file.
    pub fn file_url(&self, directory: &str, name: &str) -> String {
        format!("{}/{directory}/{name}", self.public_url)
    }

    /// One of the asking project's own tasks.
    ///
    /// # Errors
    /// [`ServiceError`] when the store cannot be asked.
    pub async fn detail(
        &self,
        principal: &Principal,
        task: &TaskRef,
    ) -> Result<Option<Task>, ServiceError> {
        Ok(self.store.detail(task, Some(principal.project)).await?)
    }

    /// Who judges what is asked for and what is drawn.
    pub fn moderation(&self) -> &Moderation {
        &self.moderation
    }

    /// Whether a submitted task would be kept: the readiness probe.
    ///
    /// # Errors
    /// [`ServiceError`] that names the store that is not ready.
    pub async fn ready(&self) -> Result<(), ServiceError> {
        self.store.check().await?;
        // Any answer will do, the file need not exist: the question is whether one comes.
        match self.blobs.head(&Path::from("ready")).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ServiceError::Blobs(root_cause(&error))),
        }
    }

    /// The clock, for threads that outlive a call.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Takes note of an attempt with bad credentials. `None` while such attempts from this address
    /// are few; else how long it should wait. Nobody is locked out: good credentials are good
    /// whatever came from the same address before.
    pub fn bad_attempt(&self, remote: IpAddr) -> Option<Duration> {
        let mut attempts = self
            .bad_attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        attempts.note(remote, self.now())
    }

    pub(crate) fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    /// The random source. A panic while it was held leaves it usable: it has no invariants.
    pub(crate) fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
