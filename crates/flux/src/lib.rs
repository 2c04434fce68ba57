//! FLUX.1 and FLUX.1 Kontext as a library: tokenizers, text encoders, MMDiT, VAE, sampler, noise,
//! weights and pipelines. It knows no socket and no database; the engine crate calls it.

mod adapted;
pub mod clip;
pub mod config;
pub mod latents;
pub mod lora;
pub mod mmdit;
pub mod noise;
pub mod picture;
pub mod pipeline;
pub mod schedule;
pub mod size;
pub mod sources;
pub mod t5;
pub mod tokenizer;
pub mod vae;

/// The models' weights, whose types stand in the signatures here.
pub use tintype_weights as weights;
