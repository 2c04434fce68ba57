//! The engine of this program itself: one thread that owns the device and the models on it.
//!
//! A [`Host`] is that thread, and [`Host::engine`] names a model on it. Models are loaded when a job needs
//! them, beside each other as long as memory allows ([`Budget`]); then those that were not used longest
//! are evicted. A model that does not fit whole, or not with what a job asks for, is held in parts
//! ([`ModelPlan`]). Jobs and loads wait in one
//! bounded queue and run one at a time, so a load takes nothing from a job in hand, and a job may wait for
//! the load before it. Between two denoising steps, and between two tensors of a load, the thread looks
//! whether the job was cancelled, and answers cancelled jobs that still wait. A panic in a job fails that
//! job, not the engine. Dropping the last engine stops the job in hand and joins the thread.

mod budget;
mod error;
mod host;
mod language;
mod line;
mod loras;
pub mod memory;
mod model;
mod nano;
mod options;
mod plan;
mod preview;
mod request;
mod residents;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as blocking;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::{Cancellation, Drawing, Engine, Error, Job, ProgressSink, Reason, Unavailable};
use line::{Asker, Commission, Order, Wish};
use model::Model;

pub use tintype_compute::{Isa, WeightFormat};
pub use tintype_flux::lora::Summary as LoraSummary;

pub use budget::{Budget, SetAside};
pub use error::StartError;
pub use host::Host;
pub use language::{LanguageOptions, LanguageUpsampler};
pub use loras::{KEPT_BYTES as KEPT_LORA_BYTES, names_in as lora_names};
pub use memory::{Memory, MemoryLimit, MemoryProbe};
pub use nano::NanoUpsampler;
pub use options::{DeviceKind, DeviceOptions, Dtype, ModelSource};
pub use plan::ModelPlan;

/// What it is called in settings and records.
pub const ENGINE_NAME: &str = "flux";

/// Jobs that wait at most; a further one waits for a place. A worker claims few tasks at a time,
/// so more would only hide that the machine is too slow.
const QUEUE_LENGTH: usize = 64;

/// A model on a [`Host`].
#[derive(Debug)]
pub struct NativeEngine {
    host: Arc<Host>,
    model: Arc<Model>,
}

impl NativeEngine {
    /// Opens a model on a device of its own. Blocks until it is loaded, as far as it is held whole.
    ///
    /// # Errors
    /// [`StartError`] with a message that names the file, tensor or setting that is wrong.
    pub fn start(source: ModelSource, options: DeviceOptions) -> Result<Self, StartError> {
        let engine = Host::start(options)?.engine(source);
        let (reply, loaded) = blocking::sync_channel(1);
        engine.order_load(Some(reply))?;
        loaded.recv().map_err(|_| StartError::Panicked)??;
        Ok(engine)
    }

    /// Has the model loaded before a job asks for it, if it fits beside those that are there. Returns at
    /// once.
    ///
    /// # Errors
    /// [`StartError`] if the host's thread cannot be started.
    pub fn preload(&self) -> Result<(), StartError> {
        self.order_load(None)
    }

    /// What the model takes in memory and how it will be held, in words; `None` if it cannot be opened.
    pub fn plan(&self) -> Option<String> {
        self.model.plan()
    }

    /// How often the model was loaded.
    pub fn loads(&self) -> u64 {
        self.model.loads()
    }

    fn order_load(
        &self,
        reply: Option<blocking::SyncSender<Result<(), StartError>>>,
    ) -> Result<(), StartError> {
        let model = self.model.clone();
        let sent = self.host.queue()?.try_send(Order::Load { model, reply });
        sent.map_err(|_| StartError::Panicked)
    }

    /// The job in the words of the model, if it is known what they mean.
    fn wish(&self, job: Job) -> Result<Wish, Error> {
        Ok(match self.model.settings() {
            Some(settings) => Wish::Request(Box::new(request::of_job(job, &settings)?)),
            None => Wish::Job(Box::new(job)),
        })
    }
}

#[async_trait]
impl Engine for NativeEngine {
    fn model_name(&self) -> &str {
        &self.model.name
    }

    fn shared_device(&self) -> Option<usize> {
        Some(self.host.number())
    }

    fn trouble(&self) -> Option<String> {
        self.model.trouble()
    }

    async fn run(
        &self,
        job: Job,
        progress: ProgressSink,
        cancellation: Cancellation,
    ) -> Result<Drawing, Error> {
        let previews = job.previews.clone();
        let loras = job.loras.clone();
        let loras = loras.unwrap_or_else(|| job.default_loras.clone());
        let wish = self.wish(job)?;
        let (reply, answer) = oneshot::channel();
        let in_hand = Arc::new(AtomicBool::new(false));
        let asker = Asker::new(cancellation, reply, in_hand.clone());
        let commission = Commission {
            model: self.model.clone(),
            wish,
            loras,
            progress,
            previews,
            asker: Arc::new(asker),
        };
        let queue = self.host.queue().map_err(|error| error.for_job())?;
        let sent = queue.send(Order::Draw(Box::new(commission))).await;
        sent.map_err(|_| gone())?;
        drop(queue);
        // A reply that is never given means that the thread has ended.
        let answered = answer.await;
        answered.unwrap_or_else(|_| match in_hand.load(Ordering::Acquire) {
            true => Err(Error::Failed(
                "the thread that draws ended unexpectedly; this is a bug".to_owned(),
            )),
            false => Err(gone().into()),
        })
    }
}

/// The thread ended while a job waited: it is started again for the next one.
fn gone() -> Unavailable {
    let message = "The thread that draws ended unexpectedly; it is started again.";
    Unavailable::new(Reason::Down, message)
}
