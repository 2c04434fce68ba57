//! What became of the runs of a tool.

use crate::UnixMillis;

/// Counts of a tool's runs, of all projects together. A run that was cancelled, or that has not
/// ended yet, is neither a success nor a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ToolStats {
    /// Accepted.
    pub runs: u64,
    /// Ended with exit code zero.
    pub successes: u64,
    /// Ended with another exit code.
    pub failures: u64,
    /// When the newest was accepted.
    pub last_run: Option<UnixMillis>,
    /// How long a successful run takes, from the worker's accept to the end of the engine's work:
    /// the mean of the last ones. `None` before the first success.
    pub mean_ms: Option<i64>,
}
