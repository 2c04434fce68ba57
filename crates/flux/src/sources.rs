//! Models out of the files that people have: original single files, GGUF, text encoders by themselves.
//!
//! A diffusers folder says all of itself in its `config.json`s. Everything else is made to look like one:
//! what a file holds is recognised by the names of its tensors, the configuration is read from their
//! shapes, and the names are translated. The pipeline sees a [`Composition`] through
//! [`crate::pipeline::ModelFiles`], as it sees a folder.

mod composition;
mod embedded_tokenizer;
mod file;
mod geometry;
mod inspection;
mod lacks;
mod listing;
mod names;
mod recognise;
mod said;
mod survey;
mod variant;

pub use composition::Composition;
pub use file::FoundFile;
pub use inspection::{InspectedPart, Inspection, MemoryUse};
pub use listing::Listing;
pub use recognise::{Content, Part, content};
pub use survey::{Source, Survey, describe};
pub use variant::Variant;

/// What a FLUX model consists of, beside the tokenizers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The MMDiT.
    Transformer,
    /// The autoencoder between pictures and latents.
    Vae,
    /// CLIP-L, which gives the prompt as one vector.
    Clip,
    /// T5-XXL, which gives the prompt as a sequence.
    T5,
}

impl Component {
    /// All, in the order in which people name them.
    pub const ALL: [Self; 4] = [Self::Transformer, Self::Vae, Self::Clip, Self::T5];

    /// Its folder in a diffusers folder, and its key in `tintype.json`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Transformer => "transformer",
            Self::Vae => "vae",
            Self::Clip => "text_encoder",
            Self::T5 => "text_encoder_2",
        }
    }

    /// For people.
    pub fn description(self) -> &'static str {
        match self {
            Self::Transformer => "transformer",
            Self::Vae => "VAE",
            Self::Clip => "CLIP-L text encoder",
            Self::T5 => "T5-XXL text encoder",
        }
    }

    /// The file that most people have of it.
    pub fn usual_file(self) -> &'static str {
        match self {
            Self::Transformer => "flux1-schnell.safetensors, flux1-dev-Q4_K_S.gguf",
            Self::Vae => "ae.safetensors",
            Self::Clip => "clip_l.safetensors",
            Self::T5 => {
                "t5xxl_fp16.safetensors, t5xxl_fp8_e4m3fn.safetensors, t5-v1_1-xxl-encoder-Q8_0.gguf"
            }
        }
    }
}

/// How a file calls a component's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// As diffusers and transformers do.
    Diffusers,
    /// As Black Forest Labs' own code does.
    Original,
    /// As llama.cpp does.
    LlamaCpp,
}
