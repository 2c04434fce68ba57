//! The one client for addresses that somebody outside chose: pictures to fetch
//! ([`GuardedClient::get`]) and webhooks to post ([`GuardedClient::post`]).
//!
//! It promises that only what [`Guard`] admits is ever connected to: addresses of the public
//! internet, and what the operator allows. Names are judged when they are resolved for the very
//! connection that is made, so an answer of the DNS that changes in between does not help;
//! redirects are followed by hand, each judged like the first, or not at all. Bodies are bounded
//! in bytes and in time, and are never decompressed.

mod client;
mod error;
mod get;
mod guard;
mod post;
mod resolve;

pub(crate) use client::GuardedClient;
pub(crate) use error::GuardedError;
pub(crate) use get::GetLimits;
pub(crate) use post::Post;

pub use guard::{AllowedTargets, GuardConfig, NotATarget};

#[cfg(test)]
mod tests;
