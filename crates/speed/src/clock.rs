//! The two clocks: the wall's, and what this process has computed for.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Both clocks of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock;

/// A moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    wall: Instant,
    processor: Duration,
}

/// What passed between two moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Passed {
    /// On the wall's clock.
    pub(crate) wall: Duration,
    /// What the threads of this process computed for, all together.
    pub(crate) processor: Duration,
}

impl Clock {
    pub(crate) fn now(self) -> Moment {
        let processor = clock_gettime(ClockId::ProcessCPUTime);
        Moment {
            wall: Instant::now(),
            // Neither part of this clock is ever negative.
            processor: Duration::new(processor.tv_sec as u64, processor.tv_nsec as u32),
        }
    }

    pub(crate) fn since(self, earlier: Moment) -> Passed {
        let now = self.now();
        Passed {
            wall: now.wall - earlier.wall,
            processor: now.processor.saturating_sub(earlier.processor),
        }
    }
}

/// Milliseconds, with their fractions.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
