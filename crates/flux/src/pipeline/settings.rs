//! What a model is and how it likes to be run: `model_index.json`, and `tintype.json` where there
//! is one.

use serde::Deserialize;

use crate::config::TransformerConfig;
use crate::schedule::SchedulerConfig;
use crate::size::Native;

use super::{Error, ModelFiles};

/// What a model can do, by the class that `model_index.json` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `FluxPipeline`: text to image.
    Text,
    /// `FluxKontextPipeline`: text to image, and edits of a reference.
    Kontext,
}

/// A model's own defaults. Requests may override all but the first three.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The model's name.
    pub name: String,
    /// What it can do.
    pub kind: Kind,
    /// The sizes that suit it.
    pub native: Native,
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale of models with a guidance embedding.
    pub guidance: f32,
    /// Classifier-free guidance with an empty prompt; 1 is none.
    pub true_cfg: f32,
    /// T5 tokens of a prompt.
    pub max_sequence_length: usize,
}

/// `model_index.json`, as far as it matters.
#[derive(Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
}

/// `tintype.json`: all of it optional.
#[derive(Default, Deserialize)]
struct Overrides {
    name: Option<String>,
    steps: Option<u32>,
    guidance: Option<f32>,
    true_cfg: Option<f32>,
    native_area: Option<u32>,
    multiple: Option<u32>,
    max_sequence_length: Option<usize>,
}

impl Settings {
    /// Reads both files; what `tintype.json` does not say is as FLUX.1 has it.
    ///
    /// `token_pixels` is the side of the square of pixels that one token stands for.
    pub(super) fn load(
        files: &ModelFiles,
        transformer: &TransformerConfig,
        scheduler: &SchedulerConfig,
        token_pixels: u32,
    ) -> Result<Self, Error> {
        let kind = read_kind(files)?;
        let overrides: Overrides = match files.read("tintype.json")? {
            Some(bytes) => {
                serde_json::from_slice(&bytes).map_err(|e| files.broken("tintype.json", e))?
            }
            None => Overrides::default(),
        };
        // schnell needs four steps and fewer tokens; dev and Kontext are distilled differently.
        let schnell = !transformer.guidance_embeds && !scheduler.use_dynamic_shifting;
        let settings = Self {
            name: overrides.name.unwrap_or_else(|| files.name()),
            kind,
            native: Native {
                area: overrides.native_area.unwrap_or(Native::FLUX.area),
                multiple: overrides.multiple.unwrap_or(token_pixels),
            },
            steps: overrides.steps.unwrap_or(if schnell { 4 } else { 28 }),
            guidance: overrides.guidance.unwrap_or(match kind {
                Kind::Text => 3.5,
                Kind::Kontext => 2.5,
            }),
            true_cfg: overrides.true_cfg.unwrap_or(1.0),
            max_sequence_length: overrides.max_sequence_length.unwrap_or(if schnell {
                256
            } else {
                512
            }),
        };
        settings.check(files, token_pixels)?;
        Ok(settings)
    }

    fn check(&self, files: &ModelFiles, token_pixels: u32) -> Result<(), Error> {
        let Native { area, multiple } = self.native;
        let complaint = if multiple == 0 || !multiple.is_multiple_of(token_pixels) {
            format!("multiple is {multiple}, but must be a multiple of {token_pixels}")
        } else if u64::from(area) < u64::from(multiple).pow(2) {
            format!("native_area is {area}, less than one square of {multiple} pixels")
        } else if self.steps == 0 || self.max_sequence_length == 0 {
            "steps and max_sequence_length must be at least 1".to_owned()
        } else {
            return Ok(());
        };
        Err(files.broken("tintype.json", complaint))
    }
}

fn read_kind(files: &ModelFiles) -> Result<Kind, Error> {
    let Some(bytes) = files.read("model_index.json")? else {
        return Err(Error::NotAModel {
            place: files.place(),
        });
    };
    let index: ModelIndex =
        serde_json::from_slice(&bytes).map_err(|e| files.broken("model_index.json", e))?;
    match index.class_name.as_str() {
        "FluxPipeline" => Ok(Kind::Text),
        "FluxKontextPipeline" => Ok(Kind::Kontext),
        other => Err(files.broken(
            "model_index.json",
            format!("its class is {other}; FluxPipeline and FluxKontextPipeline are supported"),
        )),
    }
}
