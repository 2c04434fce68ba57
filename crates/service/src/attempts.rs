//! How many attempts with bad credentials an address has made lately.
//!
//! This never refuses good credentials. Keys and secrets have 190 random bits, so no number of
//! guesses finds one, and a lockout would only hand strangers a way to shut out everybody behind
//! the same address. Each attempt is therefore looked at; what an address that goes on and on
//! loses is what makes its attempts cheap for it and dear for others: its connection, the reading
//! of its bodies, and its lines in the log. Nothing waits either, because whoever waits holds one
//! of the connections that good clients need.

use std::collections::HashMap;
use std::mem;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tintype_domain::UnixMillis;

use crate::networks::canonical;

/// Bad attempts at once that cost nothing: a client whose key has just been taken away polls for
/// thirty tasks before its user notices.
const BURST: i64 = 30;

/// One more is forgiven after this.
const FORGIVEN_AFTER_MILLIS: i64 = 1000;

/// Addresses in each of two generations: some ten bytes each, so a megabyte at most.
const ADDRESSES: usize = 10_000;

/// Addresses whose attempts are remembered, and until when all of them are forgiven. In two
/// generations: when the younger one is full the older one is forgotten, so that strangers with
/// many addresses take no memory.
#[derive(Debug, Default)]
pub(crate) struct BadAttempts {
    young: HashMap<IpAddr, UnixMillis>,
    old: HashMap<IpAddr, UnixMillis>,
}

impl BadAttempts {
    /// Notes one, and says how long the address should wait if there were too many.
    pub(crate) fn note(&mut self, remote: IpAddr, now: UnixMillis) -> Option<Duration> {
        let source = source(remote);
        let earlier = self.young.get(&source).or_else(|| self.old.get(&source));
        let latest = now.plus_millis(BURST * FORGIVEN_AFTER_MILLIS);
        // A clock that was set back must not make anybody wait for years.
        let forgiven_at = earlier.map_or(now, |&at| at.clamp(now, latest));
        let next = forgiven_at.plus_millis(FORGIVEN_AFTER_MILLIS);
        if next > latest {
            // Not counted, or a stranger who goes on for a day would be told to wait for a day.
            let wait_ms = (next.0 - latest.0).unsigned_abs();
            return Some(Duration::from_millis(wait_ms));
        }
        self.remember(source, next);
        None
    }

    fn remember(&mut self, source: IpAddr, forgiven_at: UnixMillis) {
        if self.young.len() >= ADDRESSES && !self.young.contains_key(&source) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(source, forgiven_at);
    }
}

/// What counts as one address: in IPv6 a subscriber has a network of 2^64.
fn source(remote: IpAddr) -> IpAddr {
    match canonical(remote) {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixMillis = UnixMillis(1_734_513_807_000);

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// How many attempts in a row cost nothing.
    fn free(attempts: &mut BadAttempts, remote: &str, now: UnixMillis) -> usize {
        let free = |_: &usize| attempts.note(address(remote), now).is_none();
        (0..1000).take_while(free).count()
    }

    #[test]
    fn a_burst_is_free_and_then_one_a_second() {
        let mut attempts = BadAttempts::default();
        assert_eq!(free(&mut attempts, "192.0.2.1", START), 30);
        let wait = attempts.note(address("192.0.2.1"), START);
        assert_eq!(wait, Some(Duration::from_secs(1)));
        let later = START.plus_millis(400);
        let wait = attempts.note(address("192.0.2.1"), later);
        assert_eq!(wait, Some(Duration::from_millis(600)), "the wait is honest");
        let later = START.plus_millis(3000);
        assert_eq!(free(&mut attempts, "192.0.2.1", later), 3);
        let much_later = START.plus_millis(3_600_000);
        assert_eq!(free(&mut attempts, "192.0.2.1", much_later), 30);
    }

    #[test]
    fn each_address_and_each_network_of_64_bits_counts_for_itself() {
        let mut attempts = BadAttempts::default();
        assert_eq!(free(&mut attempts, "192.0.2.1", START), 30);
        assert_eq!(free(&mut attempts, "::ffff:192.0.2.1", START), 0);
        assert_eq!(free(&mut attempts, "192.0.2.2", START), 30);
        assert_eq!(free(&mut attempts, "2001:db8::1", START), 30);
        assert_eq!(free(&mut attempts, "2001:db8::ffff:1:2:3", START), 0);
        assert_eq!(free(&mut attempts, "2001:db8:0:1::1", START), 30);
    }

    #[test]
    fn a_clock_that_is_set_back_does_no_harm() {
        let mut attempts = BadAttempts::default();
        assert_eq!(free(&mut attempts, "192.0.2.1", START), 30);
        let earlier = UnixMillis(0);
        let wait = attempts.note(address("192.0.2.1"), earlier);
        assert_eq!(wait, Some(Duration::from_secs(1)));
        assert_eq!(free(&mut attempts, "192.0.2.9", earlier), 30);
    }

    #[test]
    fn many_addresses_take_bounded_memory_and_push_out_the_oldest() {
        let mut attempts = BadAttempts::default();
        let numbered =
            |number: usize| IpAddr::from(u32::try_from(number).expect("small").to_be_bytes());
        assert_eq!(free(&mut attempts, "192.0.2.1", START), 30);
        for number in 0..ADDRESSES {
            attempts.note(numbered(number), START);
        }
        assert_eq!(free(&mut attempts, "192.0.2.1", START), 0, "still known");
        for number in 0..5 * ADDRESSES {
            attempts.note(numbered(number), START);
        }
        assert!(attempts.young.len() + attempts.old.len() <= 2 * ADDRESSES);
        assert_eq!(free(&mut attempts, "192.0.2.1", START), 30, "forgotten");
    }
}
