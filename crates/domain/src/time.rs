//! Points in time, always passed in by the caller.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Whole seconds since the Unix epoch, rounded down: the resolution of the wire.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This point in time moved forward by `millis`.
    pub fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_down_on_both_sides_of_the_epoch() {
        assert_eq!(UnixMillis(1_999).seconds(), 1);
        assert_eq!(UnixMillis(-1).seconds(), -1);
    }

    #[test]
    fn the_end_of_time_is_a_wall() {
        let end = UnixMillis(i64::MAX);
        assert_eq!(end.plus_millis(1), end);
        assert_eq!(UnixMillis(1).plus_millis(-2), UnixMillis(-1));
    }
}
