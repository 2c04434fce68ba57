//! The whole program, as its users meet it: a real process, a real socket, the bundled model.
//!
//! Tests wait by asking the API again, with bounds that only a hung server reaches.

mod bad_input;
mod bench;
mod bench_speed;
mod classifier;
mod client;
mod commands;
mod faults;
mod first_start;
mod full_disk;
mod guarded;
mod inspect;
mod kill;
mod library;
mod limits;
mod loras;
mod memory;
mod metadata;
mod nano;
mod pictures;
mod provider;
mod references;
mod residency;
mod secrets;
mod seeds;
mod server;
mod shell;
mod tidy;
mod upsampling;
mod watch;
mod webhooks;
