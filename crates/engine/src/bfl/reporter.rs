//! What a job at the provider reports: the provider's states as a percentage that only grows.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Progress, ProgressSink};

/// Steps of every job: percents.
pub const STEPS: u32 = 100;

/// Reports to a job's sink.
pub struct Reporter {
    sink: ProgressSink,
    highest: AtomicU32,
}

impl Reporter {
    /// With nothing reported.
    pub fn new(sink: ProgressSink) -> Self {
        Self {
            sink,
            highest: AtomicU32::new(0),
        }
    }

    /// The job has its turn.
    pub fn started(&self) {
        (self.sink)(Progress::Started);
    }

    /// So much is done. What is no progress is not reported.
    pub fn percent(&self, percent: u32) {
        let step = percent.clamp(1, STEPS);
        if self.highest.fetch_max(step, Ordering::Relaxed) < step {
            (self.sink)(Progress::Step { step, steps: STEPS });
        }
    }
}
