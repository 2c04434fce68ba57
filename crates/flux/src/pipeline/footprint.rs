//! What a model takes in memory, said before it is loaded.
//!
//! Weights are counted by the files' headers as the device would keep them. What a request takes besides is
//! a formula of the geometry, with f32 values throughout; each counts what is alive at the widest point:
//!
//! ```text
//! text     tokens × max(3 d_model + 2 d_ff, 2 d_model + 6 inner)        a block of T5
//! denoise  tokens × 12 hidden                                           a single-stream block, its input and output
//!          + steps × (12 double + 3 single + 2) × hidden                the modulation of all steps
//! picture  pixels × (c₁ + 2 c₀ + 2 × 3)                                 the VAE's outermost level, c₀ and c₁ channels
//! ```
//!
//! `tokens` of the second line are those of picture, reference and text. Buffers of the workspace are up to
//! a quarter larger than what is asked for: [`ROUNDING`] stands for that. Measured peaks lie between half
//! of what the formula says and the whole of it (`crates/flux/tests/residency.rs`).

use std::fmt;

use tintype_words::Bytes;

use crate::config::{T5Config, TransformerConfig, VaeConfig};
use crate::latents::PATCH;
use crate::size::Size;

use super::Residency;

/// Buffers come in sizes at most this much larger than asked for.
const ROUNDING: f64 = 1.25;

/// What decides how much a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Pixels of the picture.
    pub size: Size,
    /// Pictures at once.
    pub batch: usize,
    /// Denoising steps.
    pub steps: usize,
    /// T5 tokens of a prompt.
    pub text_tokens: usize,
    /// Whether there is a reference, which has as many tokens as the picture.
    pub with_reference: bool,
}

/// A model's widths, as far as they decide about memory.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Geometry {
    transformer: TransformerConfig,
    t5: T5Config,
    vae: VaeConfig,
}

impl Geometry {
    pub fn new(transformer: TransformerConfig, t5: T5Config, vae: VaeConfig) -> Self {
        Self {
            transformer,
            t5,
            vae,
        }
    }

    /// A block of T5.
    fn text_values(&self, work: &Work) -> usize {
        let T5Config {
            d_model,
            d_kv,
            num_heads,
            d_ff,
            ..
        } = self.t5;
        let inner = d_kv * num_heads;
        let widest = (3 * d_model + 2 * d_ff).max(2 * d_model + 6 * inner);
        work.batch * work.text_tokens * widest
    }

    /// A single-stream block, and the modulation of all steps.
    fn denoise_values(&self, work: &Work) -> usize {
        let hidden = self.transformer.hidden_size();
        let token_pixels = self.vae.downscale() * PATCH;
        let pixels = work.size.area() as usize;
        let picture = pixels.div_ceil(token_pixels * token_pixels);
        let pictures = if work.with_reference { 2 } else { 1 };
        let tokens = pictures * picture + work.text_tokens;
        let modulations =
            12 * self.transformer.num_layers + 3 * self.transformer.num_single_layers + 2;
        work.batch * hidden * (12 * tokens + work.steps * modulations)
    }

    /// The VAE's outermost level.
    fn picture_values(&self, work: &Work) -> usize {
        let channels = &self.vae.block_out_channels;
        let outer = channels[0];
        let next = channels.get(1).copied().unwrap_or(outer);
        work.batch * work.size.area() as usize * (next + 2 * outer + 2 * self.vae.out_channels)
    }
}

/// What a model takes in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Footprint {
    /// Both text encoders' weights.
    pub text_bytes: u64,
    /// The transformer's.
    pub transformer_bytes: u64,
    /// The VAE's.
    pub vae_bytes: u64,
    pub(super) geometry: Geometry,
    /// See [`super::LoadOptions::vae_memory_bytes`].
    pub(super) vae_memory_bytes: Option<usize>,
}

impl Footprint {
    /// The weights that are in memory together, at most.
    pub fn weights_bytes(&self, residency: Residency) -> u64 {
        let Self {
            text_bytes: text,
            transformer_bytes: transformer,
            vae_bytes: vae,
            ..
        } = *self;
        match residency {
            Residency::Resident => text + transformer + vae,
            Residency::TextApart => text.max(transformer) + vae,
            Residency::OneByOne => text.max(transformer).max(vae),
        }
    }

    /// What a request takes besides, at most.
    pub fn work_bytes(&self, work: &Work) -> u64 {
        let [text, denoise, picture] = self.stages(work);
        text.max(denoise).max(picture)
    }

    /// Weights and work together, at the moment when they are most.
    pub fn peak_bytes(&self, residency: Residency, work: &Work) -> u64 {
        let [text, denoise, picture] = self.stages(work);
        let beside = |weights: u64| match residency {
            Residency::Resident => self.weights_bytes(residency),
            Residency::TextApart => weights + self.vae_bytes,
            Residency::OneByOne => weights,
        };
        // The transformer waits while the VAE decodes, unless each stands alone.
        let decoding = match residency {
            Residency::OneByOne => self.vae_bytes,
            Residency::Resident | Residency::TextApart => beside(self.transformer_bytes),
        };
        let stages = [
            beside(self.text_bytes) + text,
            beside(self.transformer_bytes) + denoise,
            decoding + picture,
        ];
        stages.into_iter().max().unwrap_or_default()
    }

    /// The way to hold the model that loads least often and stays within a limit.
    pub fn residency_within(&self, limit_bytes: u64, work: &Work) -> Option<Residency> {
        Residency::ALL
            .into_iter()
            .find(|residency| self.peak_bytes(*residency, work) <= limit_bytes)
    }

    /// Text, denoising and the picture.
    fn stages(&self, work: &Work) -> [u64; 3] {
        let bytes = |values: usize| (values as f64 * size_of::<f32>() as f64 * ROUNDING) as u64;
        let picture = bytes(self.geometry.picture_values(work));
        // The least that strips take is the level's input and output.
        let bounded = self.vae_memory_bytes.map_or(picture, |bound| bound as u64);
        [
            bytes(self.geometry.text_values(work)),
            bytes(self.geometry.denoise_values(work)),
            picture.min(bounded.max(picture / 2)),
        ]
    }
}

impl fmt::Display for Footprint {
    /// The parts, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [text, transformer, vae] =
            [self.text_bytes, self.transformer_bytes, self.vae_bytes].map(Bytes);
        write!(
            f,
            "text encoders {text}, transformer {transformer}, VAE {vae}"
        )
    }
}
