//! The T5 encoder: the prompt as a sequence of token features (transformers 5, modeling_t5.py).
//!
//! FLUX passes no attention mask, so padding tokens attend and are attended to like any other.

use std::sync::Arc;

use tintype_compute::{Activation, Attention, Device, Epilogue, Linear, Mask, Segment, Tensor};

use crate::{
    config::T5Config,
    weights::{
        Error, Table, Weights,
        layers::{Loader, Width},
    },
};

/// A T5 encoder, ready to run on one device.
#[derive(Debug)]
pub struct T5Encoder {
    config: T5Config,
    device: Arc<dyn Device>,
    /// `(vocab_size, d_model)`, in its file: a prompt reads some hundred rows of it.
    embedding: Table,
    /// `(relative_attention_num_buckets, num_heads)`
    relative_bias: Tensor,
    blocks: Vec<T5Block>,
    final_norm: Tensor,
}

impl T5Encoder {
    /// Builds the encoder that `config_json` describes and takes all of `weights`.
    pub fn load(
        config_json: &str,
        mut weights: Weights,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let config = T5Config::parse(config_json)?;
        let embedding = take_embedding(&mut weights, &config)?;
        let mut loader = Loader {
            weights: &mut weights,
            device: &*device,
        };
        let relative_bias = loader.weights.take(
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            &[config.relative_attention_num_buckets, config.num_heads],
        )?;
        let blocks = (0..config.num_layers)
            .map(|index| T5Block::load(&mut loader, &config, index, device.clone()))
            .collect::<Result<_, _>>()?;
        let final_norm = loader.vector("encoder.final_layer_norm", config.d_model)?;
        weights.finish()?;
        Ok(Self {
            config,
            device,
            embedding,
            relative_bias,
            blocks,
            final_norm,
        })
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// The blocks in order, for tests that look inside.
    pub fn blocks(&self) -> &[T5Block] {
        &self.blocks
    }

    /// Encodes `batch` sequences of one length, `ids` one after the other.
    /// Returns `(batch, sequence, d_model)`.
    pub fn forward(&self, ids: &[u32], batch: usize) -> Tensor {
        let mut hidden = self.embed(ids, batch);
        let bias = self.position_bias(hidden.dim(1));
        for block in &self.blocks {
            hidden = block.forward(&hidden, &bias);
        }
        let eps = self.config.layer_norm_epsilon;
        self.device.rms_norm(&hidden, &self.final_norm, eps)
    }

    /// The token embeddings, `(batch, sequence, d_model)`.
    pub fn embed(&self, ids: &[u32], batch: usize) -> Tensor {
        let rows = self.embedding.look_up(&*self.device, ids);
        let sequence = ids.len() / batch;
        rows.reshape([batch, sequence, self.embedding.columns()])
    }

    /// What every block adds to its scores, by distance: `(num_heads, 2 * sequence - 1)`.
    pub fn position_bias(&self, sequence: usize) -> Tensor {
        let heads = self.config.num_heads;
        let distances = 2 * sequence - 1;
        let mut bias = Tensor::zeros([heads, distances]);
        for column in 0..distances {
            let bucket = bucket(column as i64 - (sequence as i64 - 1), &self.config);
            for head in 0..heads {
                bias.data_mut()[head * distances + column] =
                    self.relative_bias.data()[bucket * heads + head];
            }
        }
        bias
    }
}

/// The embedding goes by either of two names; files may carry both for the one tensor.
fn take_embedding(weights: &mut Weights, config: &T5Config) -> Result<Table, Error> {
    const SHARED: &str = "shared.weight";
    const ALIAS: &str = "encoder.embed_tokens.weight";
    let only_alias = weights.contains(ALIAS) && !weights.contains(SHARED);
    let name = if only_alias { ALIAS } else { SHARED };
    let embedding = weights.table(name, [config.vocab_size, config.d_model])?;
    weights.discard(ALIAS);
    Ok(embedding)
}

/// The class of a distance (key position minus query position) in both directions
/// (modeling_t5.py, `_relative_position_bucket`). In f32, as there: the class changes where the
/// logarithm rounds.
fn bucket(distance: i64, config: &T5Config) -> usize {
    let per_direction = config.relative_attention_num_buckets / 2;
    let exact = per_direction / 2;
    let forward = if distance > 0 { per_direction } else { 0 };
    let distance = distance.unsigned_abs() as usize;
    if distance < exact {
        return forward + distance;
    }
    let span = (config.relative_attention_max_distance as f64 / exact as f64).ln() as f32;
    let position = (distance as f32 / exact as f32).ln() / span * (per_direction - exact) as f32;
    forward + (exact + position as usize).min(per_direction - 1)
}

/// One block: self-attention, then feed-forward, each normalised before and added back.
#[derive(Debug)]
pub struct T5Block {
    device: Arc<dyn Device>,
    heads: usize,
    eps: f32,
    attention_norm: Tensor,
    qkv: Linear,
    output: Linear,
    feed_forward_norm: Tensor,
    activation: Activation,
    /// The projection that goes through the activation.
    up: Linear,
    /// The projection that the activated one gates, if the feed-forward is gated.
    gated: Option<Linear>,
    down: Linear,
}

impl T5Block {
    fn load(
        loader: &mut Loader<'_>,
        config: &T5Config,
        index: usize,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let (activation, gated) = config.feed_forward()?;
        let attention = format!("encoder.block.{index}.layer.0");
        let feed_forward = format!("encoder.block.{index}.layer.1");
        let inner = Width {
            input: config.d_model,
            output: config.num_heads * config.d_kv,
        };
        let up = Width {
            input: config.d_model,
            output: config.d_ff,
        };
        let reverse = |width: Width| Width {
            input: width.output,
            output: width.input,
        };
        let qkv = ["q", "k", "v"].map(|part| format!("{attention}.SelfAttention.{part}"));
        let dense = |part: &str| format!("{feed_forward}.DenseReluDense.{part}");
        Ok(Self {
            device,
            heads: config.num_heads,
            eps: config.layer_norm_epsilon,
            attention_norm: loader.vector(&format!("{attention}.layer_norm"), config.d_model)?,
            qkv: loader.joined(&qkv, inner, false)?,
            output: loader
                .linear_without_bias(&format!("{attention}.SelfAttention.o"), reverse(inner))?,
            feed_forward_norm: loader
                .vector(&format!("{feed_forward}.layer_norm"), config.d_model)?,
            activation,
            up: loader.linear_without_bias(&dense(if gated { "wi_0" } else { "wi" }), up)?,
            gated: match gated {
                true => Some(loader.linear_without_bias(&dense("wi_1"), up)?),
                false => None,
            },
            down: loader.linear_without_bias(&dense("wo"), reverse(up))?,
        })
    }

    /// `hidden` is `(batch, sequence, d_model)`, `position_bias` as [`T5Encoder::position_bias`] gives
    /// it. Returns `(batch, sequence, d_model)`.
    pub fn forward(&self, hidden: &Tensor, position_bias: &Tensor) -> Tensor {
        let device = &*self.device;
        let normal = device.rms_norm(hidden, &self.attention_norm, self.eps);
        let qkv = device.linear(&self.qkv, &normal, Epilogue::None);
        let attended = device.attention(&Attention {
            segments: &[Segment {
                qkv: &qkv,
                norm: None,
            }],
            heads: self.heads,
            // T5 folds the scale into its initialisation.
            scale: 1.0,
            rope: None,
            mask: Mask::RelativeBias(position_bias),
        });
        let hidden = device.linear(&self.output, &attended[0], Epilogue::Residual(hidden));

        let normal = device.rms_norm(&hidden, &self.feed_forward_norm, self.eps);
        let mut up = device.linear(&self.up, &normal, Epilogue::Activation(self.activation));
        if let Some(gated) = &self.gated {
            up = device.linear(gated, &normal, Epilogue::Multiply(&up));
        }
        device.linear(&self.down, &up, Epilogue::Residual(&hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::{T5Config, bucket};

    #[test]
    fn distances_fall_into_the_buckets_of_transformers() {
        // T5Attention._relative_position_bucket(d, True, 32, 128) of transformers 5.23.
        let config = T5Config::default();
        for (distance, expected) in [
            (0, 0),
            (-1, 1),
            (1, 17),
            (-7, 7),
            (8, 24),
            (-8, 8),
            (-12, 9),
            (16, 26),
            (-64, 14),
            (91, 31),
            (127, 31),
            (-500, 15),
        ] {
            assert_eq!(bucket(distance, &config), expected, "distance {distance}");
        }
    }
}
