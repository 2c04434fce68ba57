//! `tintype generate`: draws a picture from a prompt, without a server.

use clap::Args;

use crate::picture_command::{PictureArguments, Task};

/// The command line of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArguments {
    /// What the picture shall show.
    prompt: String,
    #[command(flatten)]
    picture: PictureArguments,
}

impl GenerateArguments {
    /// Draws, writes and reports.
    ///
    /// # Errors
    /// Those of [`PictureArguments::run`].
    pub fn run(self) -> anyhow::Result<()> {
        self.picture.run(Task {
            prompt: self.prompt,
            reference: None,
            resize_reference: true,
            output_stem: None,
        })
    }
}
