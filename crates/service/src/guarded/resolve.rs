//! Resolving names to those of their addresses that may be connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::Guard;

/// Asks for the addresses of a name.
#[async_trait]
pub(crate) trait Lookup: Send + Sync {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks the system.
pub(crate) struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// The resolver of the guarded client: what it hands out is what is connected to.
pub(crate) struct GuardedResolver {
    pub(crate) guard: Arc<Guard>,
    pub(crate) lookup: Arc<dyn Lookup>,
}

/// A name all of whose addresses are refused.
#[derive(Debug, thiserror::Error)]
#[error("the name has no address that may be connected to")]
pub(crate) struct NotAdmitted;

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, lookup) = (self.guard.clone(), self.lookup.clone());
        Box::pin(async move {
            let mut addresses = lookup.lookup(name.as_str()).await?;
            if !guard.trusts_name(name.as_str()) {
                addresses.retain(|&address| guard.admits_address(address));
            }
            if addresses.is_empty() {
                return Err(NotAdmitted.into());
            }
            // The port comes from the address that is fetched.
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}
