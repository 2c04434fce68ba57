//! The worker: claims tasks, takes each through its whole life, and lets go of them in good order.
//!
//! A claim is a lease with a fencing epoch. Heartbeats move the lease and bring back who wants to
//! stop; a worker that loses touch is overtaken, and whatever it still writes changes nothing. No
//! transaction is open while a task runs. Being woken at a submission or a kill is a hint; the
//! worker looks into the queue and beats by itself as well.

mod attempt;
mod draw;
mod held;
mod keep;
mod moderate;
mod show;
mod upsample;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tintype_domain::{Task, ToolSlug, UnixMillis, WorkerId};
use tintype_engine::{Engine, LoraWish, Sampling};
use tintype_store::Claim;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::Service;
use held::{Held, Running, Stop};

/// A worker that is not heard of for this long is overtaken.
const LEASE: Duration = Duration::from_secs(30);

/// Six chances to be heard before a lease ends.
const BEAT: Duration = Duration::from_secs(5);

/// How often the queue is looked into when nothing rings: tasks submitted elsewhere wait this long.
const POLL: Duration = Duration::from_secs(1);

/// A task that took three workers down is not given to a fourth.
const MAX_ATTEMPTS: u32 = 3;

/// How long a task waits in its worker for an engine that cannot draw for the moment.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long a drain waits for steps and uploads to end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// How long giving back the rest may take after that.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a drain takes at most, whatever hangs: a stopping server must be gone within 20 seconds.
const DRAIN_LIMIT: Duration = Duration::from_secs(19);

/// Tasks that are taken while all engines work, so that their inputs are fetched in the meantime.
const AHEAD: usize = 1;

/// Which engine draws for which tool. Several tools may share one.
pub type Engines = HashMap<ToolSlug, Arc<dyn Engine>>;

/// How a worker behaves.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its name in the store, unique among living workers.
    pub id: WorkerId,
    /// How long a claim holds without a heartbeat.
    pub lease: Duration,
    /// Time between heartbeats.
    pub beat: Duration,
    /// Time between looks into an empty queue.
    pub poll: Duration,
    /// How often a task is given out before it is failed.
    pub max_attempts: u32,
    /// How long a task waits for an engine that cannot draw for the moment, before it is failed.
    pub patience: Duration,
    /// How long a drain waits for running tasks to come to a stop.
    pub drain_timeout: Duration,
    /// How the sampler runs for a tool where the request does not say.
    pub tool_defaults: HashMap<ToolSlug, Sampling>,
    /// LoRAs that tools have by themselves.
    pub tool_loras: HashMap<ToolSlug, Vec<LoraWish>>,
}

impl WorkerConfig {
    /// The usual behaviour.
    pub fn new(id: WorkerId) -> Self {
        Self {
            id,
            lease: LEASE,
            beat: BEAT,
            poll: POLL,
            max_attempts: MAX_ATTEMPTS,
            patience: PATIENCE,
            drain_timeout: DRAIN_TIMEOUT,
            tool_defaults: HashMap::new(),
            tool_loras: HashMap::new(),
        }
    }
}

/// Takes tasks from the queue and finishes them.
pub struct Worker {
    service: Arc<Service>,
    engines: Engines,
    config: WorkerConfig,
    running: Running,
}

/// A running worker. Dropping it stops it at once, as a crash would: its tasks are taken over when
/// their leases end. [`WorkerHandle::drain`] is the polite way.
#[derive(Debug)]
pub struct WorkerHandle {
    draining: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl WorkerHandle {
    /// Stops in good order: claims nothing more, stops running pictures after their current step
    /// and gives their tasks back, and returns when all of that is done, in less than 20 seconds.
    pub async fn drain(mut self) {
        self.draining.send_replace(true);
        match timeout(DRAIN_LIMIT, &mut self.task).await {
            Ok(Ok(())) => tracing::info!("the worker has stopped"),
            Ok(Err(error)) => tracing::error!(error = %error, "the worker stopped with a panic"),
            Err(_) => tracing::error!("the store did not let the worker stop in good order"),
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Worker {
    /// Starts a worker on the current runtime.
    pub fn spawn(service: Arc<Service>, engines: Engines, config: WorkerConfig) -> WorkerHandle {
        let worker = Arc::new(Self {
            service,
            engines,
            config,
            running: Running::default(),
        });
        worker.service.set_engines(&worker.engines);
        let (draining, drain) = watch::channel(false);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = worker.keep_leases() => {}
                () = worker.work(drain) => {}
            }
        });
        WorkerHandle { draining, task }
    }

    /// Claims and runs until it is told to drain, then drains.
    async fn work(self: &Arc<Self>, mut drain: watch::Receiver<bool>) {
        let mut attempts = JoinSet::new();
        let places = Arc::new(Semaphore::new(self.places() + AHEAD));
        self.service.set_places(self.places());
        loop {
            let place = tokio::select! {
                biased;
                () = told_to(&mut drain) => break,
                place = Arc::clone(&places).acquire_owned() => place,
            };
            let mut free: Vec<_> = place.into_iter().collect();
            free.extend(std::iter::from_fn(|| {
                Arc::clone(&places).try_acquire_owned().ok()
            }));
            let stops = self.service.stops.subscribe();
            // Never dropped half-way: a claim that was made must be acted upon.
            let claimed = self.claim(free.len()).await;
            if claimed.is_empty() {
                tokio::select! {
                    () = told_to(&mut drain) => break,
                    () = self.service.queued.notified() => {}
                    () = sleep(self.config.poll) => {}
                }
                continue;
            }
            for (task, place) in claimed.into_iter().zip(free) {
                self.start(&mut attempts, task, place);
            }
            // It may have been meant before it was among the running ones.
            if stops.has_changed().unwrap_or(false) {
                self.service.stops.send_replace(());
            }
            while attempts.try_join_next().is_some() {}
        }
        self.drain(attempts).await;
    }

    /// As many tasks as all engines work on. Models on one device draw in turn: they count once.
    fn places(&self) -> usize {
        let address = |engine: &Arc<dyn Engine>| Arc::as_ptr(engine).cast::<()>() as usize;
        let engines: HashMap<_, _> = self
            .engines
            .values()
            .map(|engine| {
                let device = engine.shared_device();
                let own = device.is_none().then(|| address(engine));
                ((device, own), engine.places())
            })
            .collect();
        engines.values().sum()
    }

    async fn claim(&self, limit: usize) -> Vec<Task> {
        let now = self.service.now();
        let claim = Claim {
            worker: self.config.id.clone(),
            limit,
            lease_until: self.lease_from(now),
            max_attempts: self.config.max_attempts,
        };
        match self.service.store.claim(claim, now).await {
            Ok(tasks) => tasks,
            Err(error) => {
                tracing::warn!(error = %error, "cannot look into the queue; trying again");
                Vec::new()
            }
        }
    }

    fn start(
        self: &Arc<Self>,
        attempts: &mut JoinSet<()>,
        task: Task,
        place: OwnedSemaphorePermit,
    ) {
        let held = Arc::new(Held::new(task.id, task.epoch));
        let registered = self.running.register(Arc::clone(&held));
        let worker = Arc::clone(self);
        attempts.spawn(async move {
            worker.attempt(&task, &held).await;
            drop((registered, place));
        });
    }

    fn lease_from(&self, now: UnixMillis) -> UnixMillis {
        now.plus_millis(i64::try_from(self.config.lease.as_millis()).unwrap_or(i64::MAX))
    }

    /// Heartbeats, and the reaping of leases that others lost. A kill in this process makes for a
    /// heartbeat at once. Ends with the worker.
    async fn keep_leases(&self) {
        let mut stops = self.service.stops.subscribe();
        let mut beats = interval(self.config.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => {
                    self.beat().await;
                    self.reap().await;
                }
                // The sender lives as long as the service.
                _ = stops.changed() => self.beat().await,
            }
        }
    }

    async fn beat(&self) {
        let (store, now) = (&self.service.store, self.service.now());
        let claims = self.running.claims();
        if !claims.is_empty() {
            match store.heartbeat(&claims, self.lease_from(now), now).await {
                Ok(heard) => {
                    for task in heard.cancelled {
                        self.running.stop(&claims, task, Stop::Cancel);
                    }
                    for task in heard.lost {
                        self.running.stop(&claims, task, Stop::Lost);
                    }
                }
                Err(error) => tracing::warn!(error = %error, "a heartbeat was not heard"),
            }
        }
    }

    async fn reap(&self) {
        let (store, now) = (&self.service.store, self.service.now());
        match store.reap(self.config.max_attempts, now).await {
            Ok(0) => {}
            Ok(tasks) => {
                tracing::info!(tasks, "took back tasks whose worker was lost");
                self.service.queued.notify_one();
                self.service.ended.notify_one();
            }
            Err(error) => tracing::warn!(error = %error, "cannot look after expired leases"),
        }
    }

    async fn drain(&self, mut attempts: JoinSet<()>) {
        self.running.stop_all(Stop::GiveBack);
        let all = async { while attempts.join_next().await.is_some() {} };
        if timeout(self.config.drain_timeout, all).await.is_ok() {
            return;
        }
        // A step that takes too long is abandoned; its result will be fenced off.
        let claims = self.running.claims();
        attempts.shutdown().await;
        let give_back = async {
            for (task, epoch) in claims {
                self.release(task, epoch).await;
            }
        };
        if timeout(GIVE_BACK_TIMEOUT, give_back).await.is_err() {
            tracing::warn!("some tasks were not given back in time: their leases have to end");
        }
    }
}

/// Waits for the word to drain. A handle that is gone means the same.
async fn told_to(drain: &mut watch::Receiver<bool>) {
    drop(drain.wait_for(|&draining| draining).await);
}
