//! What `config.json` says of a decoder (transformers 5, configuration_qwen3.py).

use serde::Deserialize;
use tintype_weights::config::{self, Error, check, check_sizes};

const COMPONENT: &str = "language model";

/// The one architecture.
const MODEL_TYPE: &str = "qwen3";

/// No model of this kind has more blocks: the largest Qwen3 has 94.
const MAX_BLOCKS: usize = 512;

/// No model of this kind has a longer context.
const MAX_POSITIONS: usize = 1 << 20;

/// A decoder's sizes.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// The architecture; `qwen3` is the one that is supported.
    model_type: Option<String>,
    /// Rows of the embeddings; at least as many as the tokenizer has words.
    pub vocab_size: usize,
    /// Features of a token.
    pub hidden_size: usize,
    /// Features inside the feed-forward part.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads of queries.
    pub num_attention_heads: usize,
    /// Heads of keys and values; as many as there are of queries where none are named.
    num_key_value_heads: Option<usize>,
    /// Features of a head.
    #[serde(default = "default_head_dim")]
    pub head_dim: usize,
    /// Added to the mean square of every norm.
    #[serde(default = "default_eps")]
    pub rms_norm_eps: f32,
    /// Whether the scores are products with the embeddings.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// Whether the attention's layers have biases.
    #[serde(default)]
    pub attention_bias: bool,
    /// Positions that the model was made for.
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    #[serde(default = "default_activation")]
    hidden_act: String,
    rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<RopeParameters>,
    layer_types: Option<Vec<String>>,
    #[serde(default)]
    use_sliding_window: bool,
    /// What ends an answer, unless `generation_config.json` says otherwise.
    #[serde(default)]
    pub eos_token_id: Ids,
}

/// `rope_parameters` of newer files, `rope_scaling` of older ones.
#[derive(Debug, Clone, Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

/// One id, several, or none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged)]
pub enum Ids {
    /// `null`
    #[default]
    None,
    /// A number.
    One(u32),
    /// A list.
    Many(Vec<u32>),
}

impl Ids {
    /// All of them.
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

// The defaults of the class in transformers, for what a file leaves out.

fn default_head_dim() -> usize {
    128
}

fn default_eps() -> f32 {
    1e-6
}

fn default_positions() -> usize {
    32_768
}

fn default_activation() -> String {
    "silu".to_owned()
}

const DEFAULT_THETA: f64 = 10_000.0;

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// It is not JSON, of another architecture, or asks for what is not supported.
    pub fn parse(json: &str) -> Result<Self, Error> {
        let config: Self = config::parse(COMPONENT, "model_type", &[MODEL_TYPE], json)?;
        let checked = |holds, reason: &str| check(COMPONENT, holds, reason);
        checked(
            config.model_type.is_some(),
            &format!("it names no model_type; expected `{MODEL_TYPE}`"),
        )?;
        let key_value_heads = config.key_value_heads();
        check_sizes(
            COMPONENT,
            &[
                config.vocab_size,
                config.hidden_size,
                config.intermediate_size,
                config.num_hidden_layers,
                config.num_attention_heads,
                key_value_heads,
                config.head_dim,
            ],
        )?;
        checked(
            config.num_hidden_layers <= MAX_BLOCKS,
            &format!("num_hidden_layers is above {MAX_BLOCKS}"),
        )?;
        checked(
            (1..=MAX_POSITIONS).contains(&config.max_position_embeddings),
            &format!("max_position_embeddings is 0 or above {MAX_POSITIONS}"),
        )?;
        checked(
            config.num_attention_heads.is_multiple_of(key_value_heads),
            "num_attention_heads is no multiple of num_key_value_heads",
        )?;
        let width = config.num_attention_heads * config.head_dim;
        checked(
            config.head_dim.is_multiple_of(2) && width <= config::MAX_SIZE,
            "head_dim is odd, or the heads are too wide",
        )?;
        checked(
            config.rms_norm_eps >= 0.0 && config.rms_norm_eps < 1.0,
            "rms_norm_eps is not between 0 and 1",
        )?;
        config.check_variants(checked)?;
        Ok(config)
    }

    /// What the architecture's class can be told, and no published model of it is.
    fn check_variants(
        &self,
        checked: impl Fn(bool, &str) -> Result<(), Error>,
    ) -> Result<(), Error> {
        checked(
            self.hidden_act == "silu",
            &format!("hidden_act is `{}`; expected `silu`", self.hidden_act),
        )?;
        let full = |kind: &String| kind == "full_attention";
        checked(
            !self.use_sliding_window && self.layer_types.iter().flatten().all(full),
            "sliding windows of attention are not supported",
        )?;
        let ropes = [&self.rope_parameters, &self.rope_scaling];
        for rope in ropes.into_iter().flatten() {
            let kind = rope.rope_type.as_deref().unwrap_or("default");
            checked(
                kind == "default",
                &format!("rope_type is `{kind}`; expected `default`"),
            )?;
        }
        let theta = self.rope_theta();
        checked(
            theta.is_finite() && theta > 1.0,
            &format!("rope_theta is {theta}; expected a number above 1"),
        )
    }

    /// Heads of keys and values.
    pub fn key_value_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Values of all layers of all blocks, biases and norms left out.
    pub fn block_values(&self) -> usize {
        let queries = self.num_attention_heads * self.head_dim;
        let keys = self.key_value_heads() * self.head_dim;
        let attention = 2 * queries + 2 * keys;
        self.num_hidden_layers * self.hidden_size * (attention + 3 * self.intermediate_size)
    }

    /// The base of the rotations' frequencies.
    pub fn rope_theta(&self) -> f64 {
        let newer = self.rope_parameters.as_ref().and_then(|p| p.rope_theta);
        newer.or(self.rope_theta).unwrap_or(DEFAULT_THETA)
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    const GOOD: &str = r#"{"model_type": "qwen3", "vocab_size": 9, "hidden_size": 8,
        "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "rope_theta": 1e6, "rope_scaling": null, "eos_token_id": 3}"#;

    fn refused(from: &str, to: &str) -> String {
        let changed = GOOD.replace(from, to);
        assert_ne!(changed, GOOD);
        Config::parse(&changed).expect_err(to).to_string()
    }

    #[test]
    fn what_a_file_leaves_out_is_as_the_class_has_it() {
        let config = Config::parse(GOOD).expect("good");
        assert_eq!((config.head_dim, config.key_value_heads()), (128, 2));
        assert_eq!(config.rope_theta(), 1e6);
        assert_eq!(config.eos_token_id.as_slice(), [3]);
        let newer = GOOD.replace(
            r#""rope_theta": 1e6"#,
            r#""rope_parameters": {"rope_type": "default", "rope_theta": 5e6}"#,
        );
        assert_eq!(Config::parse(&newer).expect("good").rope_theta(), 5e6);
    }

    #[test]
    fn other_architectures_and_variants_are_refused_by_name() {
        let message = refused("\"qwen3\"", "\"llama\"");
        assert!(
            message.contains("`llama`") && message.contains("`qwen3`"),
            "{message}"
        );
        let message = refused("\"model_type\": \"qwen3\",", "");
        assert!(message.contains("names no model_type"), "{message}");
        for (from, to, named) in [
            ("\"hidden_size\": 8", "\"hidden_size\": 0", "a size is 0"),
            (
                "\"num_key_value_heads\": 2",
                "\"num_key_value_heads\": 3",
                "no multiple",
            ),
            ("null", r#"{"type": "yarn", "factor": 4.0}"#, "`yarn`"),
            (
                "\"rope_theta\": 1e6",
                "\"rope_theta\": 0",
                "rope_theta is 0",
            ),
            (
                "\"vocab_size\"",
                "\"hidden_act\": \"gelu\", \"vocab_size\"",
                "`gelu`",
            ),
            (
                "\"vocab_size\"",
                "\"use_sliding_window\": true, \"vocab_size\"",
                "sliding",
            ),
            (
                "\"num_hidden_layers\": 1",
                "\"num_hidden_layers\": 1000000",
                "num_hidden_layers",
            ),
            (
                "\"vocab_size\"",
                "\"head_dim\": 7, \"vocab_size\"",
                "head_dim is odd",
            ),
        ] {
            let message = refused(from, to);
            assert!(message.contains(named), "{to}: {message}");
        }
    }
}
