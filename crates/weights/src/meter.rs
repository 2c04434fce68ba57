//! What a component will take in memory, found out by loading it without its values: every tensor is asked
//! for by name and shape as ever, so that what is missing or surplus is an error here already, and what a
//! device would keep of it is counted instead of made. Only the files' headers are read.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::Weights;

/// Counts bytes.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// Nothing is counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was counted.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Weights {
    /// Has everything that is taken from now on counted instead of read: a model that is loaded from it
    /// has the right shapes and no values, and must not be run.
    pub fn metered(mut self, meter: &Meter) -> Self {
        self.meter = Some(meter.clone());
        self
    }
}
