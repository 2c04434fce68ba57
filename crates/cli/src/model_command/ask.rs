//! Questions to the person at the terminal.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, bail};

/// Whether they say yes.
///
/// # Errors
/// When nobody sits there; `flag` is what says yes without being asked.
pub(super) fn yes(question: &str, flag: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("{question} Nobody can be asked here: say yes with {flag}");
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
