//! `tintype generate`: draws a picture from a prompt, without a server.

use std::path::PathBuf;

use clap::Args;
use tintype_engine::StartPicture;

use crate::picture_command::{PictureArguments, Task};
use crate::picture_file;

/// The command line of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArguments {
    /// What the picture shall show.
    prompt: String,
    /// A picture to start from instead of noise alone: JPEG, PNG or WebP. It decides the size, unless
    /// one is given; it is then cut to its ratio.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// How far the drawing goes away from that picture, up to 1: the part of the steps that are made
    /// [default: 0.6].
    #[arg(long, value_name = "PART", requires = "image")]
    strength: Option<f64>,
    #[command(flatten)]
    picture: PictureArguments,
}

impl GenerateArguments {
    /// Draws, writes and reports.
    ///
    /// # Errors
    /// When the picture to start from cannot be read, and those of [`PictureArguments::run`].
    pub fn run(self) -> anyhow::Result<()> {
        let image = self.image.as_deref().map(picture_file::read).transpose()?;
        let start = image.map(|image| StartPicture {
            image,
            strength: self.strength,
        });
        self.picture.run(Task {
            prompt: self.prompt,
            references: Vec::new(),
            start,
            resize_reference: true,
            output_stem: None,
        })
    }
}
