//! Starts the process of the clients and hears what they saw.

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::clients::{Assignment, Seen};

/// The processes of clients that can be sent out.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// How this program is told to be the clients.
    pub(crate) arguments: Vec<OsString>,
}

impl Fleet {
    /// Sends clients out and waits for their return.
    pub(crate) async fn send(&self, assignment: Assignment) -> anyhow::Result<Seen> {
        let fleet = self.clone();
        let seen = tokio::task::spawn_blocking(move || fleet.send_blocking(&assignment)).await??;
        if seen.answers == 0 {
            bail!("no request was answered well; one answer: {}", seen.refusal);
        }
        if seen.refused > 0 {
            eprintln!(
                "{} answers were refusals, such as {}",
                seen.refused, seen.refusal
            );
        }
        Ok(seen)
    }

    fn send_blocking(&self, assignment: &Assignment) -> anyhow::Result<Seen> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut clients = Command::new(program)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the process of the clients")?;
        let mut input = clients.stdin.take().context("the clients have no input")?;
        writeln!(input, "{}", serde_json::to_string(assignment)?)?;
        drop(input);
        let output = clients.wait_with_output()?;
        if !output.status.success() {
            bail!("the process of the clients failed");
        }
        serde_json::from_slice(&output.stdout).context("the clients did not say what they saw")
    }
}
