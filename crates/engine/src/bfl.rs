//! The engine that has pictures drawn by Black Forest Labs, over their API.
//!
//! A job is submitted, the address that comes back is polled until the picture is ready, and the
//! picture is fetched at once: its address holds for minutes only. What goes wrong on the way is
//! tried again within bounds; an order that was acknowledged is never placed twice by the same
//! process (see [`crate::Receipt`]). After a crash a task may be ordered again.
//!
//! Nobody is believed: calls go to the provider's own hosts only, redirects are not followed, and
//! bodies are bounded. Neither the key nor an address that holds a signature is logged or shown.

mod answers;
mod backoff;
mod client;
mod hosts;
mod input;
mod options;
mod order;
mod picture;
mod reporter;
mod run;
mod size;

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;

use crate::{Cancellation, Drawing, Engine, Error, Job, ProgressSink, Reason, Unavailable};
use client::Client;
use order::Model;
use reporter::Reporter;
use run::Run;

pub use hosts::{HostPatterns, NotAPattern};
pub use options::{BflOptions, Limits, Pace};

/// What it is called in settings and records.
pub const ENGINE_NAME: &str = "bfl";

/// Why the engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key has characters that no header can carry.
    #[error("the key holds characters that cannot be sent: copy it again, without line ends")]
    Key,
    /// There is no way to make connections.
    #[error("connections cannot be made ({0})")]
    Client(String),
}

/// The provider, as an engine. One for the whole process: the limits hold for all that share it.
#[derive(Debug)]
pub struct BflEngine {
    client: Client,
    options: BflOptions,
    active: Semaphore,
    active_kontext_max: Semaphore,
    rng: Mutex<StdRng>,
}

impl BflEngine {
    /// Makes the engine ready; nothing is called yet. `rng` spreads the waits.
    ///
    /// # Errors
    /// [`StartError`] for a key that cannot be sent, and when no connections can be made.
    pub fn start(options: BflOptions, rng: StdRng) -> Result<Self, StartError> {
        Ok(Self {
            client: Client::new(&options)?,
            active: Semaphore::new(options.limits.active),
            active_kontext_max: Semaphore::new(options.limits.active_kontext_max),
            rng: Mutex::new(rng),
            options,
        })
    }

    /// A wait, made a little shorter or longer: calls that begin together drift apart.
    fn spread(&self, wait: std::time::Duration) -> std::time::Duration {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        wait.mul_f64(rng.random_range(0.75..1.25))
    }

    /// Waits for its turn, then has the job drawn.
    async fn draw(&self, job: Job, progress: ProgressSink) -> Result<Drawing, Error> {
        let model = Model::for_tool(job.tool.as_deref())?;
        // The narrow gate first: who waits there takes no place from others.
        let _kontext_max = match model {
            Model::KontextMax => self.active_kontext_max.acquire().await.ok(),
            Model::Pro11 => None,
        };
        let _active = self.active.acquire().await.ok();
        let run = Run {
            engine: self,
            model,
            job: &job,
            reporter: Reporter::new(progress),
        };
        let limit = self.options.pace.whole_job;
        let drawn = tokio::time::timeout(limit, run.draw()).await;
        drawn.unwrap_or_else(|_| {
            let message = format!("The provider did not finish the picture within {limit:?}.");
            Err(Unavailable::new(Reason::Down, message).into())
        })
    }
}

#[async_trait]
impl Engine for BflEngine {
    fn model_name(&self) -> &str {
        ENGINE_NAME
    }

    fn places(&self) -> usize {
        self.options.limits.active
    }

    async fn run(
        &self,
        job: Job,
        progress: ProgressSink,
        cancellation: Cancellation,
    ) -> Result<Drawing, Error> {
        tokio::select! {
            biased;
            () = cancellation.cancelled() => Err(Error::Cancelled),
            drawn = self.draw(job, progress) => drawn,
        }
    }
}
