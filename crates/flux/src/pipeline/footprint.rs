//! What a model takes in memory, said before it is loaded.
//!
//! Weights are counted by the files' headers as the device would keep them. What a request takes besides is
//! a formula of the geometry, with f32 values throughout; each counts what is alive at the widest point:
//!
//! ```text
//! text     tokens × max(3 d_model + 2 d_ff, 2 d_model + 6 inner)        a block of T5
//! encode   pixels × (c₁ + 2 c₀ + 2 × 3)                                 the VAE's outermost level, c₀ and c₁ channels
//! denoise  tokens × (12 hidden + 3 in)                                  a single-stream block, its input and output; latents
//!          + prompts × steps × (12 double + 3 single + 2) × hidden      the modulation of all steps
//! picture  pixels × (c₁ + 2 c₀ + 2 × 3)                                 as above; then the pictures that are done
//! ```
//!
//! What the VAE's convolutions take on all threads comes to `encode` and `picture`.
//!
//! `text` is for each prompt, `denoise` for each picture; input pictures of a number are encoded together,
//! pictures decoded one by one. `tokens` of the third line are those of picture, references and text;
//! `prompts` is 2 where there is one to steer away from, whose text is kept, too. Buffers of the workspace are up to
//! a quarter larger than what is asked for: [`ROUNDING`] stands for that. Measured peaks lie between half
//! of what the formula says and the whole of it (`crates/flux/tests/residency.rs`).

use std::fmt;

use tintype_compute::Device;
use tintype_words::Bytes;

use crate::config::{T5Config, TransformerConfig, VaeConfig};
use crate::latents::PATCH;

use super::{Residency, Work};

/// Buffers come in sizes at most this much larger than asked for.
const ROUNDING: f64 = 1.25;

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
        work.prompts * work.text_tokens * widest
    }

    /// A single-stream block, and the modulation of all steps.
    fn denoise_values(&self, work: &Work) -> usize {
        let hidden = self.transformer.hidden_size();
        let token_pixels = self.vae.downscale() * PATCH;
        let pixels = (work.size.area() + work.reference_pixels) as usize;
        let tokens = pixels.div_ceil(token_pixels * token_pixels) + work.text_tokens;
        let modulations =
            12 * self.transformer.num_layers + 3 * self.transformer.num_single_layers + 2;
        let steered = if work.guided {
            work.text_tokens + work.steps * modulations
        } else {
            0
        };
        let latents = 3 * self.transformer.in_channels * tokens;
        work.batch * (latents + hidden * (12 * tokens + work.steps * modulations + steered))
    }

    /// The channels of the VAE's outermost level and of what comes into it.
    fn picture_channels(&self) -> [usize; 2] {
        let channels = &self.vae.block_out_channels;
        let outer = channels[0];
        [outer, channels.get(1).copied().unwrap_or(outer)]
    }

    /// What the VAE's convolutions take on `device` while they run on that level.
    pub fn convolution_bytes(&self, device: &dyn Device) -> u64 {
        let [outer, next] = self.picture_channels();
        device.conv2d_work_bytes([outer.max(next); 2]) as u64
    }

    /// The VAE's outermost level.
    fn picture_values(&self, pixels: usize) -> usize {
        let [outer, next] = self.picture_channels();
        pixels * (next + 2 * outer + 2 * self.vae.out_channels)
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
    /// What its convolutions take while they run.
    pub(super) convolution_bytes: u64,
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
        self.stages(work).into_iter().max().unwrap_or_default()
    }

    /// Weights and work together, at the moment when they are most.
    pub fn peak_bytes(&self, residency: Residency, work: &Work) -> u64 {
        let [text, encode, denoise, picture] = self.stages(work);
        let beside = |weights: u64| match residency {
            Residency::Resident => self.weights_bytes(residency),
            Residency::TextApart => weights + self.vae_bytes,
            Residency::OneByOne => weights,
        };
        // The transformer waits while the VAE works, unless each stands alone.
        let with_vae = match residency {
            Residency::OneByOne => self.vae_bytes,
            Residency::Resident | Residency::TextApart => beside(self.transformer_bytes),
        };
        let stages = [
            beside(self.text_bytes) + text,
            with_vae + encode,
            beside(self.transformer_bytes) + denoise,
            with_vae + picture,
        ];
        stages.into_iter().max().unwrap_or_default()
    }

    /// The way to hold the model that loads least often and stays within a limit.
    pub fn residency_within(&self, limit_bytes: u64, work: &Work) -> Option<Residency> {
        Residency::ALL
            .into_iter()
            .find(|residency| self.peak_bytes(*residency, work) <= limit_bytes)
    }

    /// The bound on the VAE's pictures with which the request would take no more than a limit, however
    /// the model is held; `None` if there is none.
    pub fn vae_bound_within(&self, limit_bytes: u64, work: &Work) -> Option<u64> {
        let strictest = Self {
            vae_memory_bytes: Some(0),
            ..self.clone()
        };
        let fits = strictest.residency_within(limit_bytes, work).is_some();
        fits.then(|| {
            strictest
                .encoded_bytes(work)
                .max(strictest.decoded_bytes(work))
        })
    }

    /// The VAE's pictures as the input pictures go in together.
    fn encoded_bytes(&self, work: &Work) -> u64 {
        self.picture_bytes(work.prompts as u64 * work.input_pixels)
    }

    /// The same as one picture comes out.
    fn decoded_bytes(&self, work: &Work) -> u64 {
        self.picture_bytes(work.size.area())
    }

    /// The VAE's pictures of so many pixels within its bound, which strips of an input and an output, half
    /// of them, cannot undercut.
    fn picture_bytes(&self, pixels: u64) -> u64 {
        let whole = bytes_of(self.geometry.picture_values(pixels as usize));
        let bound = self.vae_memory_bytes.map_or(whole, |bound| bound as u64);
        whole.min(bound.max(whole / 2))
    }

    /// Text, what goes in, denoising and what comes out.
    fn stages(&self, work: &Work) -> [u64; 4] {
        let encode = match work.input_pixels {
            0 => 0,
            _ => self.encoded_bytes(work) + self.convolution_bytes,
        };
        let done = work.batch as u64 * work.size.area() * self.geometry.vae.out_channels as u64;
        [
            bytes_of(self.geometry.text_values(work)),
            encode,
            bytes_of(self.geometry.denoise_values(work)),
            self.decoded_bytes(work) + self.convolution_bytes + done,
        ]
    }
}

/// Bytes of so many f32 as buffers hold them.
fn bytes_of(values: usize) -> u64 {
    (values as f64 * size_of::<f32>() as f64 * ROUNDING) as u64
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
