//! HTTP: routes, wire types, the error table, output files.
//!
//! The only crate that knows the words of the wire. It reads bounded bodies, asks the service,
//! and turns answers into JSON; [`router`] is the whole surface and [`listen::serve`] the sockets
//! under it.

mod app;
pub mod body;
pub mod errors;
pub mod examples;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod html;
mod lenient;
pub mod limits;
pub mod listen;
mod openapi;
mod reference;
mod remote;
mod routes;
mod socket;
pub mod wire;
pub mod wire_events;
pub mod wire_files;
pub mod wire_tools;
mod wire_webhook;

pub use app::{BaseUrl, Options};
pub use limits::Limits;
pub use routes::router;
pub use wire_webhook::webhooks;
