//! The judge: which names and addresses may be connected to.

use std::net::IpAddr;
use std::time::Duration;

use url::{Host, Url};

use super::GuardedError;
use super::client::host_of;
use crate::networks::{self, Networks};

/// A host that is up accepts a connection within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Names that mean this machine or its own network wherever they are asked for (RFC 6761, 6762,
/// 8375, and what hosts files and clouds add), with all names below them. Resolvers differ in
/// whether they know them, so they are judged by name before anybody is asked.
const LOCAL_NAMES: [&str; 7] = [
    "localhost",
    "localdomain",
    "ip6-localhost",
    "ip6-loopback",
    "local",
    "internal",
    "home.arpa",
];

/// What an operator decides about connections to addresses that clients name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardConfig {
    /// For making a connection.
    pub connect_timeout: Duration,
    /// What may be connected to beside the public internet.
    pub allowed: AllowedTargets,
    /// Whether everything may be connected to. Clients can then reach whatever this machine can
    /// reach.
    pub danger_allow_private_addresses: bool,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            allowed: AllowedTargets::default(),
            danger_allow_private_addresses: false,
        }
    }
}

/// Networks and hosts outside the public internet that an operator lets clients name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedTargets {
    networks: Networks,
    hosts: Vec<AllowedHost>,
}

/// A host, or (written with `*.` in front) all hosts below a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AllowedHost {
    Exactly(String),
    Below(String),
}

/// An entry that is neither a network nor a host.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{0}\" is neither a network nor a host: write it like 10.0.0.0/8, 192.0.2.7, fd00::/8, \
     pictures.internal or *.internal"
)]
pub struct NotATarget(String);

impl AllowedTargets {
    /// Reads networks in CIDR notation, addresses, and names of hosts.
    ///
    /// # Errors
    /// [`NotATarget`] names the first entry that is none of these.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, NotATarget> {
        let mut targets = Self::default();
        for entry in entries {
            match networks::parse(entry) {
                Some(network) => targets.networks.push(network),
                None => targets
                    .hosts
                    .push(AllowedHost::parse(entry).ok_or_else(|| NotATarget(entry.to_owned()))?),
            }
        }
        Ok(targets)
    }

    fn has_name(&self, name: &str) -> bool {
        self.hosts.iter().any(|host| host.is(name))
    }
}

impl AllowedHost {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim();
        let (name, all_below) = match entry.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (entry, false),
        };
        // The same reader that reads clients' addresses: lower case, Punycode.
        let Ok(Host::Domain(name)) = Host::parse(name) else {
            return None;
        };
        let name = without_root(&name).to_owned();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(is_name) {
            return None;
        }
        Some(if all_below {
            Self::Below(name)
        } else {
            Self::Exactly(name)
        })
    }

    fn is(&self, name: &str) -> bool {
        match self {
            Self::Exactly(host) => host == name,
            Self::Below(domain) => is_below(name, domain),
        }
    }
}

/// Judges what clients name. Cheap to clone behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Guard {
    allowed: AllowedTargets,
    admits_all: bool,
}

impl Guard {
    pub(crate) fn new(config: &GuardConfig) -> Self {
        Self {
            allowed: config.allowed.clone(),
            admits_all: config.danger_allow_private_addresses,
        }
    }

    /// Judges an address before anything is resolved. An address that is written as a number meets
    /// no resolver, so it is judged here for good.
    pub(crate) fn judge(&self, url: &Url) -> Result<(), GuardedError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(GuardedError::Address);
        }
        let admitted = match url.host() {
            Some(Host::Ipv4(address)) => self.admits_address(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => self.admits_address(IpAddr::V6(address)),
            Some(Host::Domain(name)) => self.trusts_name(name) || !is_local_name(name),
            None => return Err(GuardedError::Address),
        };
        if admitted {
            Ok(())
        } else {
            Err(GuardedError::Refused(host_of(url)))
        }
    }

    /// Whether an address may be connected to.
    pub(crate) fn admits_address(&self, address: IpAddr) -> bool {
        self.admits_all || networks::is_public(address) || self.allowed.networks.contains(address)
    }

    /// Whether a name may lead anywhere.
    pub(crate) fn trusts_name(&self, name: &str) -> bool {
        self.admits_all || self.allowed.has_name(without_root(name))
    }
}

fn is_local_name(name: &str) -> bool {
    let name = without_root(name);
    LOCAL_NAMES
        .iter()
        .any(|local| name == *local || is_below(name, local))
}

fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// A name without the dot that stands for the root.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}
