//! The engine of this program itself: one thread that owns the device and the model.
//!
//! [`NativeEngine::start`] opens a model and returns when it is ready. Jobs wait in a bounded
//! queue; between two denoising steps the thread reports progress, looks whether the job was
//! cancelled, and answers cancelled jobs that still wait. A panic in a job fails that job, not the
//! engine. Dropping the engine stops the job in hand at its next step and joins the thread.

mod options;
mod preview;
mod request;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;

use async_trait::async_trait;
use tintype_flux::pipeline::{self, Pipeline, Settings};
use tokio::sync::{mpsc, oneshot};

use crate::{Cancellation, Engine, Error, Job, Picture, ProgressSink, Unavailable};

pub use tintype_compute::{Isa, WeightFormat};

pub use options::{DeviceKind, DeviceOptions, Dtype, ModelSource};

/// What it is called in settings and records.
pub const ENGINE_NAME: &str = "flux";

/// Jobs that wait at most; a further one waits for a place. A worker claims few tasks at a time,
/// so more would only hide that the machine is too slow.
const QUEUE_LENGTH: usize = 64;

/// Why an engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No built-in model and no folder has this name.
    #[error(
        "there is no model {0}: give `nano`, the built-in model, or the folder of a FLUX model \
         in diffusers layout"
    )]
    UnknownModel(String),
    /// An instruction set was asked for that this machine lacks.
    #[error(transparent)]
    Isa(#[from] tintype_compute::MissingIsa),
    /// The model cannot be loaded.
    #[error(transparent)]
    Model(#[from] pipeline::Error),
    /// The operating system gave no thread.
    #[error("the engine's thread could not be started")]
    Thread(#[source] std::io::Error),
    /// A panic while the model was loaded.
    #[error("loading the model failed unexpectedly; this is a bug")]
    Panicked,
}

/// A model, a device, and the thread that owns both.
#[derive(Debug)]
pub struct NativeEngine {
    settings: Settings,
    queue: Option<mpsc::Sender<worker::Order>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NativeEngine {
    /// Opens a model on a device. Blocks until it is loaded.
    ///
    /// # Errors
    /// [`StartError`] with a message that names the file, tensor or setting that is wrong.
    pub fn start(source: ModelSource, options: DeviceOptions) -> Result<Self, StartError> {
        let (queue, orders) = mpsc::channel(QUEUE_LENGTH);
        let (opened, settings) = blocking::sync_channel(1);
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = stopping.clone();
        let thread = std::thread::Builder::new()
            .name("tintype-device".to_owned())
            .spawn(move || match open(&source, &options) {
                Ok(pipeline) => {
                    // Nobody listens only if `start` itself is gone: then there is nothing to do.
                    if opened.send(Ok(pipeline.settings().clone())).is_ok() {
                        worker::Worker::new(pipeline, orders, stop).work();
                    }
                }
                Err(error) => drop(opened.send(Err(error))),
            })
            .map_err(StartError::Thread)?;
        Ok(Self {
            settings: settings.recv().map_err(|_| StartError::Panicked)??,
            queue: Some(queue),
            stopping,
            thread: Some(thread),
        })
    }
}

fn open(source: &ModelSource, options: &DeviceOptions) -> Result<Pipeline, StartError> {
    let files = source.files()?;
    let device = options.open()?;
    let started = std::time::Instant::now();
    let pipeline = Pipeline::open_with(&options.load_options(), &files, device.clone())?;
    tracing::info!(
        model.name = %pipeline.settings().name,
        device.name = device.name(),
        duration_ms = started.elapsed().as_millis() as u64,
        "model loaded"
    );
    Ok(pipeline)
}

#[async_trait]
impl Engine for NativeEngine {
    fn model_name(&self) -> &str {
        &self.settings.name
    }

    async fn run(
        &self,
        job: Job,
        progress: ProgressSink,
        cancellation: Cancellation,
    ) -> Result<Picture, Error> {
        let previews = job.previews.clone();
        let request = request::of_job(job, &self.settings)?;
        let (reply, answer) = oneshot::channel();
        let order = worker::Order {
            request,
            progress,
            cancellation,
            previews,
            reply,
        };
        let queue = self.queue.as_ref().ok_or_else(Unavailable::shutting_down)?;
        let sent = queue.send(order).await;
        sent.map_err(|_| Unavailable::shutting_down())?;
        // A reply that is never given means that the thread has stopped.
        let answered = answer.await;
        answered.unwrap_or_else(|_| Err(Unavailable::shutting_down().into()))
    }
}

impl Drop for NativeEngine {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported where it happened; there is nobody to tell here.
            drop(thread.join());
        }
    }
}
