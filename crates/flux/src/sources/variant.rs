//! Which FLUX.1 a transformer is. schnell shows in the tensors; dev, Krea and Kontext have the same
//! ones, and are told apart by what the file is called, what it says of itself, or what a person says.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

/// The open FLUX.1 models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// FLUX.1 \[schnell\]: four steps, no guidance.
    Schnell,
    /// FLUX.1 \[dev\].
    Dev,
    /// FLUX.1 Krea \[dev\].
    Krea,
    /// FLUX.1 Kontext \[dev\]: edits pictures.
    Kontext,
}

impl Variant {
    /// The variant of a transformer with or without a guidance embedding. `words` are the names of the
    /// file and of its model, in small letters.
    pub fn guess<'a>(guidance: bool, words: impl Iterator<Item = &'a str> + Clone) -> Self {
        let says = |name: &str| words.clone().any(|word| word.contains(name));
        match guidance {
            false => Self::Schnell,
            true if says("kontext") => Self::Kontext,
            true if says("krea") => Self::Krea,
            true => Self::Dev,
        }
    }

    /// The pipeline's class in `model_index.json`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Kontext => "FluxKontextPipeline",
            _ => "FluxPipeline",
        }
    }

    /// `scheduler_config.json`, as the model's own folder has it.
    pub fn scheduler(self) -> Value {
        let dynamic = self != Self::Schnell;
        json!({
            "_class_name": "FlowMatchEulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "shift": if dynamic { 3.0 } else { 1.0 },
            "use_dynamic_shifting": dynamic,
            "base_shift": 0.5,
            "max_shift": 1.15,
            "base_image_seq_len": 256,
            "max_image_seq_len": 4096,
        })
    }

    /// The guidance scale that its makers recommend, where it is not that of its class.
    pub fn guidance(self) -> Option<f32> {
        (self == Self::Krea).then_some(4.5)
    }

    /// The word for it in `tintype.json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Schnell => "schnell",
            Self::Dev => "dev",
            Self::Krea => "krea",
            Self::Kontext => "kontext",
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Schnell => "FLUX.1 [schnell]",
            Self::Dev => "FLUX.1 [dev]",
            Self::Krea => "FLUX.1 Krea [dev]",
            Self::Kontext => "FLUX.1 Kontext [dev]",
        })
    }
}
