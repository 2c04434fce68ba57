//! `tintype model verify`.

use anyhow::bail;
use clap::Args;

use super::Place;

/// The command line of `model verify`.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The model's name.
    name: String,
    #[command(flatten)]
    place: Place,
}

impl VerifyArguments {
    /// Reads every file.
    ///
    /// # Errors
    /// When the model is not installed, or something is wrong with it.
    pub fn verify(&self) -> anyhow::Result<()> {
        let library = self.place.library()?;
        let name = super::parse_name(&library, &self.name)?;
        let mut files = 0;
        let wrong = library.verify(&name, |file| {
            files += 1;
            eprintln!("reading {} ({})", file.path, super::amount(file.size));
        })?;
        if wrong.is_empty() {
            println!("{name}: all {files} files are as they were fetched");
            return Ok(());
        }
        for wrong in &wrong {
            println!("{name}: {} {}", wrong.path, wrong.fault);
        }
        let wrong = wrong.len();
        bail!("{wrong} of {files} files are wrong: `tintype model pull {name}` fetches those again")
    }
}
