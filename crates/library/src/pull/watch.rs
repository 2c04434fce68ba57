//! Who watches a pull.

use std::time::Duration;

use crate::names::RelativePath;

/// What a pull is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Files that are to be fetched.
    pub files: usize,
    /// The size of all that is to be fetched, what has arrived included.
    pub bytes: u64,
    /// What has arrived in an earlier pull.
    pub arrived_bytes: u64,
    /// Files that other models have already.
    pub shared_files: usize,
    /// Their size.
    pub shared_bytes: u64,
}

/// Is told what a pull does, from several threads.
pub trait Watcher: Send + Sync {
    /// A file that is on the disk is read.
    fn checking(&self, file: &RelativePath);
    /// It is known what is to be done.
    fn planned(&self, planned: &Planned);
    /// Bytes have arrived.
    fn received(&self, file: &RelativePath, bytes: u64);
    /// Bytes that had arrived were thrown away.
    fn dropped(&self, file: &RelativePath, bytes: u64);
    /// Something did not come, and is tried again after a while.
    fn waiting(&self, file: &RelativePath, reason: &str, wait: Duration);
    /// A file is whole.
    fn finished(&self, file: &RelativePath, bytes: u64);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Watcher for Silent {
    fn checking(&self, _: &RelativePath) {}
    fn planned(&self, _: &Planned) {}
    fn received(&self, _: &RelativePath, _: u64) {}
    fn dropped(&self, _: &RelativePath, _: u64) {}
    fn waiting(&self, _: &RelativePath, _: &str, _: Duration) {}
    fn finished(&self, _: &RelativePath, _: u64) {}
}
