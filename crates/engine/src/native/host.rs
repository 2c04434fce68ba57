//! The thread that owns the device and all models on it, and how orders get there.
//!
//! A thread that ends unexpectedly fails the job that it had in hand; the next order starts another one,
//! which loads models anew. What waited is told to come again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::budget::Budget;
use super::line::Order;
use super::memory::MemoryProbe;
use super::model::Model;
use super::residents::Residents;
use super::worker::Worker;
use super::{DeviceOptions, ModelSource, NativeEngine, QUEUE_LENGTH, StartError};

/// Numbers hosts.
static HOSTS: AtomicUsize = AtomicUsize::new(0);

/// A device with one thread that owns it, and the models that were named on it.
pub struct Host {
    number: usize,
    options: DeviceOptions,
    budget: Arc<Budget>,
    stopping: Arc<AtomicBool>,
    running: Mutex<Option<Running>>,
}

/// A thread and its queue.
struct Running {
    queue: mpsc::Sender<Order>,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host({}, {:?})", self.number, self.options)
    }
}

impl Host {
    /// Opens a device, with no model in memory yet.
    ///
    /// # Errors
    /// [`StartError::Isa`], [`StartError::Thread`].
    pub fn start(options: DeviceOptions) -> Result<Arc<Self>, StartError> {
        let budget = Budget::new(options.memory);
        Self::start_within(options, budget)
    }

    /// The same, asking `probe` for the machine's memory.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub fn start_with(options: DeviceOptions, probe: MemoryProbe) -> Result<Arc<Self>, StartError> {
        let budget = Budget::with_probe(options.memory, probe);
        Self::start_within(options, budget)
    }

    /// The same within a budget that others share.
    ///
    /// # Errors
    /// As [`Host::start`].
    pub fn start_within(
        options: DeviceOptions,
        budget: Arc<Budget>,
    ) -> Result<Arc<Self>, StartError> {
        let host = Self {
            number: HOSTS.fetch_add(1, Ordering::Relaxed),
            options,
            budget,
            stopping: Arc::default(),
            running: Mutex::default(),
        };
        let running = host.run()?;
        *host.running() = Some(running);
        Ok(Arc::new(host))
    }

    /// An engine that draws with a model on this device. Its files are looked at now, as far as their
    /// headers; its weights are loaded when a job needs them. [`NativeEngine::trouble`](crate::Engine::trouble)
    /// says what is wrong with it, if anything is.
    pub fn engine(self: &Arc<Self>, source: ModelSource) -> NativeEngine {
        let model = Model::look_at(source, &self.options, &self.budget);
        NativeEngine {
            host: self.clone(),
            model: Arc::new(model),
        }
    }

    /// The memory that models on this device share with others.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// What engines on this device have in common.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// The way to the thread, which is started if it has ended.
    pub(super) fn queue(&self) -> Result<mpsc::Sender<Order>, StartError> {
        let mut running = self.running();
        match &*running {
            Some(alive) if !alive.thread.is_finished() && !alive.queue.is_closed() => {
                return Ok(alive.queue.clone());
            }
            _ => tracing::error!("the engine's thread had ended; it is started again"),
        }
        let new = self.run()?;
        let queue = new.queue.clone();
        *running = Some(new);
        Ok(queue)
    }

    fn run(&self) -> Result<Running, StartError> {
        let (queue, orders) = mpsc::channel(QUEUE_LENGTH);
        let (opened, opening) = blocking::sync_channel(1);
        let (options, budget) = (self.options.clone(), self.budget.clone());
        let stop = self.stopping.clone();
        // The device is made by the thread that uses it: it may be tied to a core of its own.
        let work = move || match options.open() {
            Ok(device) => {
                // Nobody listens only if the host itself is gone: then there is nothing to do.
                if opened.send(Ok(())).is_ok() {
                    let residents = Residents::new(device, options, budget);
                    Worker::new(residents, orders, stop).work();
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let thread = std::thread::Builder::new()
            .name("tintype-device".to_owned())
            .spawn(work)
            .map_err(StartError::Thread)?;
        opening.recv().map_err(|_| StartError::Panicked)??;
        Ok(Running { queue, thread })
    }

    /// Every change is one assignment: a panic leaves nothing half done.
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let running = self.running().take();
        if let Some(Running { queue, thread }) = running {
            drop(queue);
            // A panic of the thread was reported where it happened; there is nobody to tell here.
            drop(thread.join());
        }
    }
}
