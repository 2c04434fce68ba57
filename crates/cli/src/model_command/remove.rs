//! `tintype model remove`.

use anyhow::bail;
use clap::Args;
use tintype_library::Removed;

use super::{Place, amount, ask};

/// The command line of `model remove`.
#[derive(Debug, Args)]
pub struct RemoveArguments {
    /// The model's name.
    name: String,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: Place,
}

impl RemoveArguments {
    /// Deletes it.
    ///
    /// # Errors
    /// When there is no such model, nobody says yes, or the disk refuses.
    pub fn remove(&self) -> anyhow::Result<()> {
        let library = self.place.library()?;
        let name = super::parse_name(&library, &self.name)?;
        let gives_back = library.removable(&name)?;
        let question = format!("Delete {name} ({})?", words(gives_back));
        if !self.yes && !ask::yes(&question, "--yes")? {
            bail!("nothing was deleted");
        }
        let removed = library.remove(&name)?;
        println!("{name} is deleted: {}", words(removed));
        Ok(())
    }
}

fn words(removed: Removed) -> String {
    let freed = format!("{} are given back", amount(removed.freed_bytes));
    match removed.shared_bytes {
        0 => freed,
        shared => format!("{freed}, {} stay for other models", amount(shared)),
    }
}
