//! The janitor: removes what is old, sweeps up bytes that nobody points at, and keeps the database
//! small. `serve` runs it as a loop ([`Janitor::spawn`]), `tintype tidy` for one pass
//! ([`Janitor::pass`]), also beside a running server.
//!
//! It promises that nothing on record ever loses its bytes, whenever it is stopped or the power
//! goes, and whatever else runs:
//!
//! - **Rows go before bytes.** A row is forgotten in a transaction, which also sees what unfinished
//!   tasks name; its bytes are deleted after the commit. A crash in between leaves bytes that
//!   nobody points at, and the sweeper finds those. Never the other way around.
//! - **Bytes are judged by their key, and a dead key stays dead.** An output's key carries the
//!   fencing epoch of its attempt. Once the task has ended or another attempt has begun, the store
//!   refuses that attempt's completion: whatever is written under the key after the check can
//!   never come on record. While the attempt is the current one of an unfinished task, its key is
//!   alive, however old the bytes are.
//! - **An upload's key is random and its bytes come first**, the row a moment later. There the age
//!   decides: bytes are left alone until they are older than a grace of hours, many times what an
//!   upload or the longest patience of a worker (ten minutes) takes.
//! - **Right before a deletion the store is asked once more**, and keys that this program did not
//!   make are never touched.
//!
//! Work is done in small steps with a pause after each, so that requests do not wait for it.

mod leftovers;
mod pass;
mod sweep;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tintype_store::Mode;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::{Service, ServiceError};
use pass::Pass;
pub use pass::{Removed, Report};

/// Often enough for retention times of hours.
const INTERVAL: Duration = Duration::from_secs(3600);

/// After a start there are better things to do for a moment.
const FIRST_WAIT: Duration = Duration::from_secs(60);

/// Looking at every file is work for the disk, and what is swept up harms nobody meanwhile.
const SWEEP_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// After each step, for others who want to write.
const PAUSE: Duration = Duration::from_millis(20);

/// A step is a few writes and deletions.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Several servers on one disk should not all sweep at the full hour.
const JITTER: std::ops::Range<f64> = 0.8..1.2;

/// For how long things are kept; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The files of a task, from its end.
    pub outputs: Option<Duration>,
    /// An uploaded file, from its arrival. One that an unfinished task names stays until then.
    pub uploads: Option<Duration>,
    /// The whole record of a task, with its files, from its end.
    pub records: Option<Duration>,
    /// Bytes that nobody points at, from their arrival.
    pub sweep_grace: Duration,
}

/// How a janitor works.
#[derive(Debug, Clone)]
pub struct JanitorConfig {
    /// For how long things are kept.
    pub retention: Retention,
    /// The folder of a local blob store, where interrupted writes and empty folders are left.
    pub blob_folder: Option<PathBuf>,
    /// Before the first pass.
    pub first_wait: Duration,
    /// Between passes.
    pub interval: Duration,
    /// Between passes that also look at every file.
    pub sweep_interval: Duration,
    /// Between steps.
    pub pause: Duration,
}

impl JanitorConfig {
    /// The usual pace.
    pub fn new(retention: Retention) -> Self {
        Self {
            retention,
            blob_folder: None,
            first_wait: FIRST_WAIT,
            interval: INTERVAL,
            sweep_interval: SWEEP_INTERVAL,
            pause: PAUSE,
        }
    }
}

/// Removes what is old.
pub struct Janitor {
    service: Arc<Service>,
    config: JanitorConfig,
}

/// A running janitor. Dropping it stops it at once, which is harmless.
#[derive(Debug)]
pub struct JanitorHandle {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl JanitorHandle {
    /// Stops after the step in hand.
    pub async fn drain(mut self) {
        self.stop.send_replace(true);
        if timeout(DRAIN_LIMIT, &mut self.task).await.is_err() {
            tracing::warn!("the janitor was stopped in the middle of a step");
        }
    }
}

impl Drop for JanitorHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Janitor {
    /// A janitor that does nothing yet.
    pub fn new(service: Arc<Service>, config: JanitorConfig) -> Self {
        Self { service, config }
    }

    /// Starts the loop on the current runtime.
    pub fn spawn(self) -> JanitorHandle {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { self.work(stopped).await });
        JanitorHandle { stop, task }
    }

    /// Goes through everything once, or tells what that would do.
    ///
    /// # Errors
    /// When a store cannot be asked; what was removed until then stays removed.
    pub async fn pass(&self, mode: Mode) -> Result<Report, ServiceError> {
        let (_stop, stopped) = watch::channel(false);
        self.one_pass(mode, true, &stopped).await
    }

    async fn one_pass(
        &self,
        mode: Mode,
        sweep: bool,
        stopped: &watch::Receiver<bool>,
    ) -> Result<Report, ServiceError> {
        let pass = Pass {
            service: &self.service,
            config: &self.config,
            mode,
            stopped,
        };
        pass.run(sweep).await
    }

    async fn work(&self, mut stopped: watch::Receiver<bool>) {
        let mut wait = self.config.first_wait;
        let mut swept: Option<Instant> = None;
        loop {
            let jittered = wait.mul_f64(self.service.rng().random_range(JITTER));
            tokio::select! {
                biased;
                _ = stopped.wait_for(|&stopped| stopped) => return,
                () = sleep(jittered) => {}
            }
            let sweep = swept.is_none_or(|at| at.elapsed() >= self.config.sweep_interval);
            match self.one_pass(Mode::Remove, sweep, &stopped).await {
                Ok(report) => {
                    if sweep {
                        swept = Some(Instant::now());
                    }
                    report.log();
                }
                Err(error) => {
                    tracing::warn!(error = %error, "could not remove what is old; trying again");
                }
            }
            wait = self.config.interval;
        }
    }
}
