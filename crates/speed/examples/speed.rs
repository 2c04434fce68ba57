//! `tintype bench linear|conv|attention|block|…` without the service: compiles in a fraction of the
//! time.
//!
//! `cargo run --release -p tintype-speed --example speed -- block --kind double --json`

use clap::Parser;
use tintype_speed::SpeedCommand;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: SpeedCommand,
}

fn main() -> anyhow::Result<()> {
    Arguments::parse().command.run()
}
