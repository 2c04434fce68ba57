//! The sizes of the models that are measured: what their `config.json` would say.

use std::path::PathBuf;
use std::str::FromStr;
use std::{fmt, fs};

use anyhow::{Context, anyhow};
use serde_json::{Map, Value, json};

use crate::cases::QWEN3;

/// A model whose sizes are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Geometry {
    /// FLUX.1 dev: its transformer and VAE.
    Flux1,
    /// T5-XXL, FLUX.1's text encoder.
    T5Xxl,
    /// The bundled model.
    Nano,
    /// A language model, by its name.
    Qwen3(&'static str),
    /// A `config.json` somewhere.
    File(PathBuf),
}

/// A part of a model that has a `config.json` of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Component {
    Transformer,
    Vae,
    T5,
    Language,
}

impl Component {
    fn folder(self) -> &'static str {
        match self {
            Self::Transformer => "transformer",
            Self::Vae => "vae",
            Self::T5 => "text_encoder_2",
            Self::Language => "language_model",
        }
    }
}

impl FromStr for Geometry {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name {
            "flux1" => Self::Flux1,
            "t5-xxl" => Self::T5Xxl,
            "nano" => Self::Nano,
            other => match QWEN3.into_iter().find(|name| *name == other) {
                Some(name) => Self::Qwen3(name),
                None => Self::File(PathBuf::from(other)),
            },
        })
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flux1 => f.write_str("flux1"),
            Self::T5Xxl => f.write_str("t5-xxl"),
            Self::Nano => f.write_str("nano"),
            Self::Qwen3(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Geometry {
    /// The `config.json` of a component, some of its numbers replaced.
    pub(crate) fn config(
        &self,
        component: Component,
        replaced: &[(&str, usize)],
    ) -> anyhow::Result<String> {
        let mut config = self.read(component)?;
        for &(name, number) in replaced {
            config.insert(name.to_owned(), number.into());
        }
        Ok(Value::Object(config).to_string())
    }

    fn read(&self, component: Component) -> anyhow::Result<Map<String, Value>> {
        let text = match (self, component) {
            (Self::Flux1, Component::Transformer) => flux1_transformer(),
            (Self::Flux1, Component::Vae) => flux1_vae(),
            (Self::Flux1 | Self::T5Xxl, Component::T5) => t5_xxl(),
            (Self::Nano, component) => nano(component)?,
            (Self::File(path), _) => fs::read_to_string(path).with_context(|| {
                let path = path.display();
                format!("cannot read {path}; --geometry takes flux1, t5-xxl, nano or a config.json")
            })?,
            (Self::Qwen3(name), Component::Language) => qwen3(name),
            (Self::T5Xxl, _) => return Err(anyhow!("t5-xxl is a text encoder's geometry")),
            (Self::Qwen3(name), _) => return Err(anyhow!("{name} is a language model's geometry")),
            (Self::Flux1, Component::Language) => {
                return Err(anyhow!(
                    "flux1 has no language model; name {}",
                    QWEN3.join(", ")
                ));
            }
        };
        serde_json::from_str(&text).with_context(|| format!("{self} is no config.json"))
    }
}

/// As published with FLUX.1-dev.
fn flux1_transformer() -> String {
    json!({ "guidance_embeds": true }).to_string()
}

/// As published with FLUX.1-dev.
fn flux1_vae() -> String {
    json!({
        "down_block_types": vec!["DownEncoderBlock2D"; 4],
        "up_block_types": vec!["UpDecoderBlock2D"; 4],
        "block_out_channels": [128, 256, 512, 512],
        "layers_per_block": 2,
        "latent_channels": 16,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "use_quant_conv": false,
        "use_post_quant_conv": false
    })
    .to_string()
}

/// As published with T5 v1.1 XXL. The vocabulary is cut down: looking tokens up costs nothing, and
/// its table half a gigabyte.
fn t5_xxl() -> String {
    json!({
        "vocab_size": 1024,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu"
    })
    .to_string()
}

/// As published with Qwen3.
fn qwen3(name: &str) -> String {
    let (hidden, feed_forward, blocks, heads) = match name {
        "qwen3-0.6b" => (1024, 3072, 28, 16),
        "qwen3-1.7b" => (2048, 6144, 28, 16),
        _ => (2560, 9728, 36, 32),
    };
    json!({
        "model_type": "qwen3",
        "vocab_size": 151_936,
        "hidden_size": hidden,
        "intermediate_size": feed_forward,
        "num_hidden_layers": blocks,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "rope_theta": 1e6,
        "max_position_embeddings": 40_960,
        "tie_word_embeddings": true
    })
    .to_string()
}

fn nano(component: Component) -> anyhow::Result<String> {
    let path = format!("{}/config.json", component.folder());
    let files = tintype_nano::files().iter();
    let (_, bytes) = files
        .copied()
        .find(|(name, _)| *name == path)
        .with_context(|| format!("the bundled model has no {path}"))?;
    Ok(std::str::from_utf8(bytes)?.to_owned())
}
