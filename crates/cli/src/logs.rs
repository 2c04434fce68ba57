//! Logs go to standard error, so that standard output stays clean for what a command prints.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged unless `TINTYPE_LOG` says otherwise.
const DEFAULT_FILTER: &str = "warn,tintype=info,tintype_server=info,tintype_service=info,tintype_store=info,tintype_engine=info";

/// Starts logging. The filter of `TINTYPE_LOG` has the form `info` or `warn,tintype_server=debug`.
pub fn start() {
    let filter =
        EnvFilter::try_from_env("TINTYPE_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
