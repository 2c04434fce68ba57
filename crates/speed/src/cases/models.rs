//! The models around the transformer: VAE and text encoder.

use anyhow::bail;
use clap::Args;
use tintype_flux::config::T5Config;
use tintype_flux::t5::T5Encoder;
use tintype_flux::vae::Vae;

use super::{Case, MAX_BLOCKS, attention_flops, check_finite, check_sizes, product_flops};
use crate::device::Chosen;
use crate::geometry::{Component, Geometry};
use crate::random::Random;

/// The command line of `bench vae-decode`.
#[derive(Debug, Args)]
pub struct VaeArguments {
    /// Whose sizes: flux1, nano, or the path of a VAE's config.json.
    #[arg(long, value_name = "NAME", default_value_t = Geometry::Flux1)]
    geometry: Geometry,
    /// Width and height of the picture in pixels.
    #[arg(long, value_name = "N", default_value_t = 512)]
    size: usize,
}

/// One picture decoded.
pub(crate) fn vae_decode(what: &VaeArguments, chosen: &Chosen) -> anyhow::Result<Case> {
    check_sizes(&[("size", what.size)])?;
    let json = what.geometry.config(Component::Vae, &[])?;
    let vae = Vae::load(&json, Random::new().weights(), chosen.device.clone())?;
    let downscale = vae.config().downscale();
    if !what.size.is_multiple_of(downscale) {
        bail!("--size must be a multiple of {downscale}");
    }
    let side = what.size / downscale;
    let latents = Random::new().tensor(&[1, side, side, vae.config().latent_channels]);
    let case = Case::new("vae-decode", move || check_finite(&vae.decode(&latents)));
    Ok(case
        .fact("geometry", what.geometry.to_string())
        .fact("size", what.size))
}

/// The command line of `bench text-encoder`.
#[derive(Debug, Args)]
pub struct TextEncoderArguments {
    /// Whose sizes: t5-xxl, nano, or the path of a T5 encoder's config.json.
    #[arg(long, value_name = "NAME", default_value_t = Geometry::T5Xxl)]
    geometry: Geometry,
    /// Blocks; T5-XXL has 24.
    #[arg(long, value_name = "N", default_value_t = 2)]
    layers: usize,
    /// Tokens of the prompt.
    #[arg(long, value_name = "N", default_value_t = 512)]
    tokens: usize,
}

/// One prompt encoded.
pub(crate) fn text_encoder(what: &TextEncoderArguments, chosen: &Chosen) -> anyhow::Result<Case> {
    check_sizes(&[("layers", what.layers), ("tokens", what.tokens)])?;
    if what.layers > MAX_BLOCKS {
        bail!("--layers must be {MAX_BLOCKS} at most");
    }
    let replaced = [("num_layers", what.layers)];
    let json = what.geometry.config(Component::T5, &replaced)?;
    let config = T5Config::parse(&json)?;
    let flops = what.layers as f64 * layer_flops(&config, what.tokens)?;
    let encoder = T5Encoder::load(&json, Random::new().weights(), chosen.device.clone())?;
    let vocabulary = config.vocab_size as u32;
    let ids: Vec<u32> = (0..what.tokens as u32).map(|id| id % vocabulary).collect();
    let case = Case::new("text-encoder", move || {
        check_finite(&encoder.forward(&ids, 1))
    });
    Ok(case
        .fact("geometry", what.geometry.to_string())
        .fact("layers", what.layers)
        .fact("tokens", what.tokens)
        .flops(flops))
}

fn layer_flops(config: &T5Config, tokens: usize) -> anyhow::Result<f64> {
    let (_, gated) = config.feed_forward()?;
    let inner = config.num_heads * config.d_kv;
    let feed_forward = config.d_ff * if gated { 3 } else { 2 };
    let products = product_flops(tokens, config.d_model, 4 * inner + feed_forward);
    Ok(products + attention_flops(tokens, inner))
}
