//! Engines as the service meets them: on this machine, at the provider, and in chains.

mod bfl;
mod chain;
#[cfg(feature = "native")]
mod language;
#[cfg(feature = "native")]
mod loras;
#[cfg(feature = "native")]
mod memory;
#[cfg(feature = "native")]
mod native;
#[cfg(feature = "native")]
mod residents;
