//! What the commands have in common that work on the data folder, also while a server runs on it.

use anyhow::Context;

use crate::logs;

/// Runs such a command to its end, on this thread.
///
/// # Errors
/// The command's own.
pub fn run(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    logs::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(command)
}
