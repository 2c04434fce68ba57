//! What the service costs, measured: `tintype bench api` prints these figures.
//!
//! The service under test runs in this process, with the real store and router and a real socket
//! under it, and an engine that draws at once. Its clients are a process of their own, so that
//! this one's processor time is the service's alone. Measured, never asserted: no test of the
//! house depends on how fast a machine is.

mod clients;
mod fill;
mod fleet;
mod machine;
mod measure;
mod processor;
mod remote;
mod report;
mod rig;
mod signing;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use clients::run_clients;
pub use measure::bench_in_process;
pub use remote::{Remote, bench_remote};
pub use signing::Keys;

/// What to measure, and how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// Clients at a time.
    pub clients: usize,
    /// How long each measurement takes.
    pub duration: Duration,
    /// How many finished tasks the database holds, for each round.
    pub finished: Vec<u64>,
    /// One part of it, in place of everything.
    pub only: Option<Only>,
    /// Where filled databases are kept for the next time.
    pub folder: PathBuf,
    /// Whether pictures are written to the disk, or kept in memory.
    pub pictures_on_disk: bool,
    /// How this program is told to be the clients: it then calls [`run_clients`].
    pub client_arguments: Vec<OsString>,
}

/// A part of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// Submit, claim and complete.
    Tasks,
    /// Task/Detail.
    Detail,
}
