//! Servers that die again and again, at random moments and at chosen ones, and the accounts that
//! are checked afterwards.

mod accounts;
mod big_model;
mod chaos;
mod ledger;
mod loading;
mod migration;

pub use ledger::{Accepted, Order};

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Place;

/// Where a program of a debug build reads at which moment it is to die; see
/// `tintype_store::moments`.
const ABORT_AT: &str = tintype_store::moments::VARIABLE;

/// A tiny model of the real kind: what is tested here is not how it draws.
fn tiny_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../flux/tests/golden/schnell/model")
}

/// A server with that model.
fn serve(place: &Place) -> Command {
    let mut command = place.serve_command();
    command.arg("--model").arg(tiny_model());
    command
}
