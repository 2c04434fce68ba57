//! What a request is made of, as far as it decides about memory.

use crate::size::{Ratio, Size, Table};

use super::{Error, Kind, Pipeline, Request};

/// What decides how much a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Pixels of the picture.
    pub size: Size,
    /// Pictures at once.
    pub batch: usize,
    /// Prompts, each for one or several of the pictures.
    pub prompts: usize,
    /// Denoising steps.
    pub steps: usize,
    /// T5 tokens of a prompt.
    pub text_tokens: usize,
    /// Pixels of all references of one picture together.
    pub reference_pixels: u64,
    /// Pixels of the largest picture that goes in: a reference, or the one to start from.
    pub input_pixels: u64,
    /// Whether there is a prompt to steer away from.
    pub guided: bool,
}

impl Pipeline {
    /// What a request of the model's own defaults and size is made of: what room is kept for.
    pub fn usual_work(&self) -> Work {
        let settings = &self.settings;
        let size = settings.native.size_for(Ratio::new(1, 1), Table::Kontext);
        let reference_pixels = match settings.kind {
            Kind::Kontext => size.area(),
            Kind::Text => 0,
        };
        Work {
            size,
            batch: 1,
            prompts: 1,
            steps: settings.steps as usize,
            text_tokens: settings.max_sequence_length,
            reference_pixels,
            input_pixels: reference_pixels,
            guided: settings.true_cfg > 1.0,
        }
    }

    /// What this request is made of.
    ///
    /// # Errors
    /// [`Error::Rejected`], as [`Pipeline::start`] would say it.
    pub fn work_of(&self, request: &Request) -> Result<Work, Error> {
        let resolved = request.resolve(&self.settings)?;
        let references = self.reference_sizes(request)?;
        let start = resolved.starts.then_some(request.size);
        let inputs = references.iter().chain(&start).map(|size| size.area());
        Ok(Work {
            size: request.size,
            batch: request.batch(),
            prompts: request.items.len(),
            steps: resolved.steps as usize - resolved.skipped(),
            text_tokens: resolved.max_sequence_length,
            reference_pixels: references.iter().map(|size| size.area()).sum(),
            input_pixels: inputs.max().unwrap_or_default(),
            guided: resolved.true_cfg > 1.0,
        })
    }
}
