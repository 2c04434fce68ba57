//! `tintype model path`.

use clap::Args;

use super::Place;

/// The command line of `model path`.
#[derive(Debug, Args)]
pub struct PathArguments {
    /// The model's name.
    name: String,
    #[command(flatten)]
    place: Place,
}

impl PathArguments {
    /// Prints it.
    ///
    /// # Errors
    /// When the model is not installed.
    pub fn print(&self) -> anyhow::Result<()> {
        let library = self.place.library()?;
        let name = super::parse_name(&library, &self.name)?;
        let folder = library.folder(&name);
        if !folder.is_dir() {
            return Err(library.missing(&self.name).into());
        }
        println!("{}", folder.display());
        Ok(())
    }
}
