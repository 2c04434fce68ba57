//! The `config.json` of each model component, as diffusers and transformers write them.
//!
//! Nothing is hard-wired to FLUX.1's sizes: whatever these files describe is built, and what this
//! program does not know is refused with a reason. Defaults are those of the Python classes named at
//! each struct (diffusers 0.42, transformers 5).

use serde::Deserialize;
use tintype_compute::Activation;
use tintype_weights::config::{MAX_SIZE, activation, check, check_sizes, parse};

pub use tintype_weights::config::Error;

/// `FluxTransformer2DModel`
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub struct TransformerConfig {
    /// Pixels per side that the last layer writes for each token. FLUX packs its 2 × 2 patches before
    /// the model, so 1.
    pub patch_size: usize,
    /// Features of an input token.
    pub in_channels: usize,
    /// Features of an output token; as many as of an input token if absent.
    pub out_channels: Option<usize>,
    /// Double-stream blocks.
    pub num_layers: usize,
    /// Single-stream blocks.
    pub num_single_layers: usize,
    /// Features of a head.
    pub attention_head_dim: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// Features of a text token, as T5 gives it.
    pub joint_attention_dim: usize,
    /// Features of the pooled prompt, as CLIP gives it.
    pub pooled_projection_dim: usize,
    /// Whether the guidance scale is an input (dev, Kontext) or not (schnell).
    pub guidance_embeds: bool,
    /// How the features of a head are shared out to the axes of a token's position.
    pub axes_dims_rope: [usize; 3],
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            patch_size: 1,
            in_channels: 64,
            out_channels: None,
            num_layers: 19,
            num_single_layers: 38,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 4096,
            pooled_projection_dim: 768,
            guidance_embeds: false,
            axes_dims_rope: [16, 56, 56],
        }
    }
}

impl TransformerConfig {
    const COMPONENT: &str = "transformer";

    /// Reads and checks a `config.json`.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let config: Self = parse(
            Self::COMPONENT,
            "_class_name",
            &["FluxTransformer2DModel"],
            json,
        )?;
        let sizes = [
            config.patch_size,
            config.in_channels,
            config.attention_head_dim,
            config.num_attention_heads,
            config.joint_attention_dim,
            config.pooled_projection_dim,
            config.out_channels.unwrap_or(config.in_channels),
        ];
        check_sizes(Self::COMPONENT, &sizes)?;
        let axes = config.axes_dims_rope;
        check(
            Self::COMPONENT,
            axes.iter().all(|axis| axis % 2 == 0 && *axis <= MAX_SIZE)
                && axes.iter().sum::<usize>() == config.attention_head_dim,
            "axes_dims_rope must be even and sum to attention_head_dim",
        )?;
        Ok(config)
    }

    /// The width of the residual stream.
    pub fn hidden_size(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Features of an output token.
    pub fn output_features(&self) -> usize {
        self.patch_size * self.patch_size * self.out_channels.unwrap_or(self.in_channels)
    }
}

/// `AutoencoderKL`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct VaeConfig {
    /// Channels of the picture that goes in.
    pub in_channels: usize,
    /// Channels of the picture that comes out.
    pub out_channels: usize,
    /// One name for each level of the encoder.
    pub down_block_types: Vec<String>,
    /// One name for each level of the decoder.
    pub up_block_types: Vec<String>,
    /// Channels of each level, the outermost first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each level of the encoder; the decoder has one more.
    pub layers_per_block: usize,
    /// The activation's name.
    pub act_fn: String,
    /// Channels of a latent.
    pub latent_channels: usize,
    /// Groups of every group norm.
    pub norm_num_groups: usize,
    /// What latents are multiplied by before diffusion.
    pub scaling_factor: f32,
    /// What is subtracted from latents before they are scaled.
    pub shift_factor: Option<f32>,
    /// Whether a 1 × 1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1 × 1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the innermost level attends over the whole picture.
    pub mid_block_add_attention: bool,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec!["DownEncoderBlock2D".to_owned()],
            up_block_types: vec!["UpDecoderBlock2D".to_owned()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: "silu".to_owned(),
            latent_channels: 4,
            norm_num_groups: 32,
            scaling_factor: 0.182_15,
            shift_factor: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl VaeConfig {
    const COMPONENT: &str = "VAE";

    /// Reads and checks a `config.json`.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let config: Self = parse(Self::COMPONENT, "_class_name", &["AutoencoderKL"], json)?;
        let levels = config.block_out_channels.len();
        let plain = |types: &[String], name: &str| {
            types.len() == levels && types.iter().all(|found| found == name)
        };
        check(
            Self::COMPONENT,
            (1..=MAX_LEVELS).contains(&levels)
                && plain(&config.down_block_types, "DownEncoderBlock2D")
                && plain(&config.up_block_types, "UpDecoderBlock2D"),
            "every level must be a DownEncoderBlock2D and an UpDecoderBlock2D",
        )?;
        check(
            Self::COMPONENT,
            ["silu", "swish"].contains(&config.act_fn.as_str()),
            "act_fn must be silu",
        )?;
        let groups = config.norm_num_groups;
        check(
            Self::COMPONENT,
            groups > 0 && config.block_out_channels.iter().all(|c| c % groups == 0),
            "block_out_channels must be multiples of norm_num_groups",
        )?;
        let sizes = [
            config.in_channels,
            config.out_channels,
            config.latent_channels,
            config.layers_per_block,
        ];
        check_sizes(Self::COMPONENT, &config.block_out_channels)?;
        check_sizes(Self::COMPONENT, &sizes)?;
        Ok(config)
    }

    /// How many pixels one latent spans, in each direction.
    pub fn downscale(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

/// `T5Config`, the encoder's part
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct T5Config {
    /// Pieces of the vocabulary.
    pub vocab_size: usize,
    /// Features of a token.
    pub d_model: usize,
    /// Features of a head.
    pub d_kv: usize,
    /// Features between the two layers of a feed-forward block.
    pub d_ff: usize,
    /// Blocks.
    pub num_layers: usize,
    /// Heads.
    pub num_heads: usize,
    /// Into how many classes distances between tokens fall.
    pub relative_attention_num_buckets: usize,
    /// From which distance on all are in the last class.
    pub relative_attention_max_distance: usize,
    /// Added to the mean square of every norm.
    pub layer_norm_epsilon: f32,
    /// `relu`, `gated-gelu`, or another activation, gated or not.
    pub feed_forward_proj: String,
}

impl Default for T5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32_128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".to_owned(),
        }
    }
}

impl T5Config {
    const COMPONENT: &str = "T5 text encoder";

    /// Reads and checks a `config.json`.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let config: Self = parse(Self::COMPONENT, "model_type", &["t5"], json)?;
        let sizes = [
            config.vocab_size,
            config.d_model,
            config.d_kv,
            config.d_ff,
            config.num_heads,
            config.relative_attention_num_buckets,
            config.relative_attention_max_distance,
        ];
        check_sizes(Self::COMPONENT, &sizes)?;
        // Two directions, each half exact and half logarithmic.
        let exact = config.relative_attention_num_buckets / 4;
        check(
            Self::COMPONENT,
            exact > 0 && config.relative_attention_max_distance > exact,
            "relative_attention_num_buckets must be at least 4 and below 4 times \
             relative_attention_max_distance",
        )?;
        config.feed_forward()?;
        Ok(config)
    }

    /// The activation of the feed-forward blocks and whether it gates a second projection.
    pub fn feed_forward(&self) -> Result<(Activation, bool), Error> {
        let (name, gated) = match self.feed_forward_proj.strip_prefix("gated-") {
            // transformers reads T5 v1.1's `gated-gelu` as the tanh approximation.
            Some("gelu") => ("gelu_new", true),
            Some(name) => (name, true),
            None => (self.feed_forward_proj.as_str(), false),
        };
        Ok((activation(Self::COMPONENT, name)?, gated))
    }
}

/// `CLIPTextConfig`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default)]
pub struct ClipConfig {
    /// Pieces of the vocabulary.
    pub vocab_size: usize,
    /// Features of a token.
    pub hidden_size: usize,
    /// Features between the two layers of a feed-forward block.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads.
    pub num_attention_heads: usize,
    /// The longest sequence.
    pub max_position_embeddings: usize,
    /// The activation's name.
    pub hidden_act: String,
    /// Added to the variance of every norm.
    pub layer_norm_eps: f32,
    /// The piece whose features stand for the whole prompt. 2 is the value of old files that never
    /// meant it: the greatest id of the sequence is taken instead.
    pub eos_token_id: u32,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
            eos_token_id: 49_407,
        }
    }
}

impl ClipConfig {
    const COMPONENT: &str = "CLIP text encoder";

    /// Reads and checks a `config.json`.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let config: Self = parse(Self::COMPONENT, "model_type", &["clip_text_model"], json)?;
        let sizes = [
            config.vocab_size,
            config.hidden_size,
            config.intermediate_size,
            config.num_attention_heads,
            config.max_position_embeddings,
        ];
        check_sizes(Self::COMPONENT, &sizes)?;
        check(
            Self::COMPONENT,
            config
                .hidden_size
                .is_multiple_of(config.num_attention_heads),
            "hidden_size must be a multiple of num_attention_heads",
        )?;
        config.activation()?;
        Ok(config)
    }

    /// The activation of the feed-forward blocks.
    pub fn activation(&self) -> Result<Activation, Error> {
        activation(Self::COMPONENT, &self.hidden_act)
    }
}

/// No VAE has more levels: it would shrink a picture 32,768-fold.
const MAX_LEVELS: usize = 16;

#[cfg(test)]
mod tests {
    use super::{ClipConfig, T5Config, TransformerConfig, VaeConfig};

    #[test]
    fn an_empty_transformer_config_is_flux_schnell() {
        let config = TransformerConfig::parse("{}").expect("defaults hold");
        assert_eq!(config.hidden_size(), 3072);
        assert_eq!(config.output_features(), 64);
        assert!(!config.guidance_embeds);
    }

    #[test]
    fn configurations_of_other_models_are_refused() {
        let error = TransformerConfig::parse(r#"{"_class_name":"SD3Transformer2DModel"}"#);
        let error = error.expect_err("another class").to_string();
        assert!(error.contains("SD3Transformer2DModel"), "{error}");
        let error = TransformerConfig::parse(r#"{"axes_dims_rope":[16,56,55]}"#);
        assert!(
            error
                .expect_err("odd axis")
                .to_string()
                .contains("axes_dims_rope")
        );
        let error = TransformerConfig::parse(r#"{"num_attention_heads":18446744073709551615}"#);
        assert!(error.expect_err("absurd").to_string().contains("a size is"));
        let error = VaeConfig::parse(r#"{"down_block_types":["AttnDownEncoderBlock2D"]}"#);
        assert!(
            error
                .expect_err("another block")
                .to_string()
                .contains("DownEncoderBlock2D")
        );
        let error = T5Config::parse(r#"{"feed_forward_proj":"gated-tanhshrink"}"#);
        assert!(
            error
                .expect_err("unknown")
                .to_string()
                .contains("tanhshrink")
        );
        let error = ClipConfig::parse(r#"{"hidden_size":65}"#);
        assert!(
            error
                .expect_err("odd size")
                .to_string()
                .contains("hidden_size")
        );
    }
}
