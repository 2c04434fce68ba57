//! When a report is tried again, and when it is given up.

use std::time::{Duration, SystemTime};

use tintype_domain::UnixMillis;
use tintype_store::WebhookNext;

/// Waits after the first failures: a receiver that restarts is back by then.
const QUICK: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// The first wait after the quick attempts; it doubles with each failure.
const BACKOFF_START: Duration = Duration::from_secs(2 * 60);

/// The longest wait, whether of the backoff or on a receiver's wish.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 3600);

/// After this nothing is tried any more; the last attempt is made then.
const ROUND: Duration = Duration::from_secs(24 * 3600);

/// The receiver has gone for good; the specification recommends to stop.
const GONE: u16 = 410;

/// A failed attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    /// Its number in the round, counted from 1.
    pub(super) round_attempt: u32,
    /// When the round began.
    pub(super) round_started_at: UnixMillis,
    /// Now.
    pub(super) now: UnixMillis,
    /// How long the receiver wants to be left alone.
    pub(super) retry_after: Option<Duration>,
    /// From 0 to 1: spreads the attempts after an outage.
    pub(super) jitter: f64,
}

/// Whether a status says that the receiver has the report.
pub(super) fn is_delivered(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Whether a status says that trying again is of no use.
pub(super) fn is_final(status: u16) -> bool {
    status == GONE
}

/// What follows a failure that need not be the last.
pub(super) fn after(failure: Failure) -> WebhookNext {
    let end = plus(failure.round_started_at, ROUND);
    if failure.now >= end {
        return WebhookNext::GivenUp;
    }
    let wish = failure.retry_after.unwrap_or_default();
    let wait = wait(&failure).max(wish).min(LONGEST_WAIT);
    WebhookNext::At(plus(failure.now, wait).min(end))
}

fn wait(failure: &Failure) -> Duration {
    let index = failure.round_attempt.saturating_sub(1) as usize;
    if let Some(quick) = QUICK.get(index) {
        return *quick;
    }
    let doublings = u32::try_from(index - QUICK.len()).unwrap_or(u32::MAX);
    let wait = 2_u32
        .checked_pow(doublings)
        .and_then(|factor| BACKOFF_START.checked_mul(factor))
        .map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT));
    // A fifth more at most: never earlier than the table says.
    wait.mul_f64(1.0 + 0.2 * failure.jitter.clamp(0.0, 1.0))
}

fn plus(at: UnixMillis, by: Duration) -> UnixMillis {
    at.plus_millis(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
}

/// How long a receiver wants to be left alone: `Retry-After` in either of its forms (RFC 9110,
/// 10.2.3).
pub(super) fn retry_after(header: &str, now: UnixMillis) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(header).ok()?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now.0.try_into().ok()?);
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMillis = UnixMillis(1_734_513_807_000);

    fn failure(round_attempt: u32, seconds: i64) -> Failure {
        Failure {
            round_attempt,
            round_started_at: START,
            now: START.plus_millis(seconds * 1000),
            retry_after: None,
            jitter: 0.0,
        }
    }

    /// Seconds from now to the next attempt.
    fn seconds(failure: Failure) -> Option<i64> {
        match after(failure) {
            WebhookNext::At(at) => Some((at.0 - failure.now.0) / 1000),
            WebhookNext::GivenUp => None,
            WebhookNext::Delivered => panic!("a failure delivers nothing"),
        }
    }

    #[test]
    fn three_quick_ones_then_backoff_for_a_day() {
        let mut now = 0;
        let mut times = vec![0];
        for attempt in 1.. {
            let Some(wait) = seconds(failure(attempt, now)) else {
                break;
            };
            now += wait;
            times.push(now);
        }
        let minutes: Vec<_> = times[3..].iter().map(|at| (at - 35) / 60).collect();
        assert_eq!(times[..3], [0, 5, 35]);
        assert_eq!(
            minutes,
            [2, 6, 14, 30, 62, 126, 254, 510, 870, 1230, 1439],
            "the last one when the day is over"
        );
        assert_eq!(now, 24 * 3600);
    }

    #[test]
    fn jitter_spreads_the_backoff_but_not_the_quick_ones() {
        let spread = |attempt| {
            let late = Failure {
                jitter: 1.0,
                ..failure(attempt, 0)
            };
            (seconds(failure(attempt, 0)), seconds(late))
        };
        assert_eq!(spread(1), (Some(5), Some(5)));
        assert_eq!(spread(3), (Some(120), Some(144)));
    }

    #[test]
    fn a_receivers_wish_is_heard_within_bounds() {
        let wished = |attempt, wish, at| {
            let failure = Failure {
                retry_after: Some(Duration::from_secs(wish)),
                ..failure(attempt, at)
            };
            seconds(failure)
        };
        assert_eq!(wished(1, 60, 0), Some(60));
        assert_eq!(wished(3, 1, 0), Some(120), "never sooner than planned");
        assert_eq!(wished(1, 1_000_000_000, 0), Some(6 * 3600));
        assert_eq!(wished(1, u64::MAX, 24 * 3600 - 10), Some(10));
    }

    #[test]
    fn what_a_million_attempts_give_is_still_a_time() {
        assert_eq!(seconds(failure(u32::MAX, 0)), Some(6 * 3600));
        assert_eq!(seconds(failure(0, 0)), Some(5));
    }

    #[test]
    fn a_wish_may_be_seconds_or_a_date() {
        let wait = |header| retry_after(header, START).map(|wait| wait.as_secs());
        assert_eq!(wait(" 120 "), Some(120));
        assert_eq!(wait("Wed, 18 Dec 2024 09:25:27 GMT"), Some(120));
        assert_eq!(wait("Mon, 18 Dec 2023 09:25:27 GMT"), Some(0));
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn any_2xx_delivers_and_gone_is_the_end() {
        let delivered: Vec<u16> = (100..600).filter(|&status| is_delivered(status)).collect();
        assert_eq!(delivered, (200..300).collect::<Vec<_>>());
        let finals: Vec<u16> = (100..600).filter(|&status| is_final(status)).collect();
        assert_eq!(finals, [410]);
    }
}
