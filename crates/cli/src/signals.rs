//! SIGTERM and SIGINT: the first asks the service to finish, the second ends it at once.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit status of a process that a signal ended, as shells count it.
const INTERRUPTED: i32 = 128 + 2;

/// Listens for the signals of an operator.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes over both signals.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// From now on the next signal ends the process. Nothing is lost by it: what was running is
    /// claimed again after the next start.
    pub fn exit_on_next(mut self) {
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!("{name} again: stopping at once");
            std::process::exit(INTERRUPTED);
        });
    }
}
