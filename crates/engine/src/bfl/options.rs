//! What an operator decides about the provider.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::HostPatterns;

/// How the provider is reached. Its `Debug` leaves the key out.
#[derive(Debug, Clone)]
pub struct BflOptions {
    /// Where the API is, without `/v1`.
    pub base_url: Url,
    /// The key.
    pub key: SecretString,
    /// Hosts that may be polled besides that of `base_url`; they are sent the key.
    pub polling_hosts: HostPatterns,
    /// Hosts that pictures may be fetched from besides that of `base_url`.
    pub result_hosts: HostPatterns,
    /// How much at a time.
    pub limits: Limits,
    /// How fast, and for how long.
    pub pace: Pace,
}

/// What may be in the provider's hands at a time; it refuses more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Jobs in all.
    pub active: usize,
    /// Jobs of flux-kontext-max among them.
    pub active_kontext_max: usize,
}

impl Default for Limits {
    /// What the provider allows.
    fn default() -> Self {
        Self {
            active: 24,
            active_kontext_max: 6,
        }
    }
}

/// Waits and time-outs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// To connect.
    pub connect: Duration,
    /// For one call, its answer's body included.
    pub call: Duration,
    /// For a whole job, from its turn to its picture.
    pub whole_job: Duration,
    /// First and longest wait between two polls.
    pub poll: (Duration, Duration),
    /// First and longest wait before something is tried again.
    pub retry: (Duration, Duration),
    /// How long a job waits for a provider that is over its limits, before it is asked elsewhere.
    pub patience_with_limits: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // An upload of 20 MB over a slow line.
            call: Duration::from_secs(60),
            whole_job: Duration::from_secs(5 * 60),
            poll: (Duration::from_millis(500), Duration::from_secs(5)),
            retry: (Duration::from_millis(500), Duration::from_secs(8)),
            patience_with_limits: Duration::from_secs(20),
        }
    }
}
