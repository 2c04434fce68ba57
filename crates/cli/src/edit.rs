//! `tintype edit`: changes a picture as an instruction says, without a server.

use std::path::PathBuf;

use clap::Args;

use crate::picture_command::{PictureArguments, Task};
use crate::picture_file;

/// The command line of `edit`.
#[derive(Debug, Args)]
pub struct EditArguments {
    /// The picture to edit: JPEG, PNG or WebP.
    image: PathBuf,
    /// What shall change.
    prompt: String,
    /// A further picture to take things from; may be given several times.
    #[arg(long, value_name = "FILE")]
    reference: Vec<PathBuf>,
    /// Show the model the pictures at their own sizes, rounded down, instead of the sizes that the
    /// model knows best.
    #[arg(long)]
    no_auto_resize: bool,
    #[command(flatten)]
    picture: PictureArguments,
}

impl EditArguments {
    /// Reads, draws, writes and reports.
    ///
    /// # Errors
    /// When the picture cannot be read, and those of [`PictureArguments::run`].
    pub fn run(self) -> anyhow::Result<()> {
        let files = std::iter::once(&self.image).chain(&self.reference);
        let references: anyhow::Result<Vec<_>> = files.map(|f| picture_file::read(f)).collect();
        let stem = self.image.file_stem().unwrap_or_default();
        self.picture.run(Task {
            prompt: self.prompt,
            references: references?,
            start: None,
            resize_reference: !self.no_auto_resize,
            output_stem: Some(format!("{}-edited", stem.to_string_lossy())),
        })
    }
}
