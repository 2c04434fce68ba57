//! The CLIP text encoder: the prompt as one vector (transformers 5, modeling_clip.py).

use std::sync::Arc;

use tintype_compute::{Activation, Attention, Device, Epilogue, Linear, Mask, Segment, Tensor};

use crate::{
    config::ClipConfig,
    weights::{
        Error, Weights,
        layers::{Loader, Width},
    },
};

/// `eos_token_id` of configurations that were written before transformers read it: not the end of the
/// text in any vocabulary of CLIP.
const LEGACY_EOS: u32 = 2;

/// A CLIP text encoder, ready to run on one device.
#[derive(Debug)]
pub struct ClipTextEncoder {
    config: ClipConfig,
    device: Arc<dyn Device>,
    /// `(vocab_size, hidden_size)`
    tokens: Tensor,
    /// `(max_position_embeddings, hidden_size)`
    positions: Tensor,
    blocks: Vec<ClipBlock>,
    final_norm: LayerNorm,
}

impl ClipTextEncoder {
    /// Builds the encoder that `config_json` describes and takes all of `weights`.
    pub fn load(
        config_json: &str,
        mut weights: Weights,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let config = ClipConfig::parse(config_json)?;
        // transformers writes the names with this prefix; its newest module tree has none.
        let token_embedding = "embeddings.token_embedding.weight";
        let prefix = match weights.contains(token_embedding) {
            true => "",
            false => "text_model.",
        };
        weights.discard(&format!("{prefix}embeddings.position_ids"));
        let mut table = |name: &str, rows| {
            weights.take(
                &format!("{prefix}embeddings.{name}.weight"),
                &[rows, config.hidden_size],
            )
        };
        let tokens = table("token_embedding", config.vocab_size)?;
        let positions = table("position_embedding", config.max_position_embeddings)?;
        let mut loader = Loader {
            weights: &mut weights,
            device: &*device,
        };
        let blocks = (0..config.num_hidden_layers)
            .map(|index| {
                let name = format!("{prefix}encoder.layers.{index}");
                ClipBlock::load(&mut loader, &config, &name, device.clone())
            })
            .collect::<Result<_, _>>()?;
        let final_norm =
            LayerNorm::load(&mut loader, &format!("{prefix}final_layer_norm"), &config)?;
        weights.finish()?;
        Ok(Self {
            config,
            device,
            tokens,
            positions,
            blocks,
            final_norm,
        })
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// The blocks in order, for tests that look inside.
    pub fn blocks(&self) -> &[ClipBlock] {
        &self.blocks
    }

    /// Encodes `batch` sequences of one length, `ids` one after the other, to the normalised features
    /// of each one's end-of-text token. Returns `(batch, hidden_size)`.
    pub fn forward_pooled(&self, ids: &[u32], batch: usize) -> Tensor {
        let hidden = self.forward(ids, batch);
        let (sequence, width) = (hidden.dim(1), hidden.width());
        let pooled = ids
            .chunks_exact(sequence)
            .enumerate()
            .flat_map(|(sample, ids)| {
                let position = end_of_text(ids, self.config.eos_token_id);
                &hidden.sample(sample)[position * width..][..width]
            })
            .copied()
            .collect();
        Tensor::from_vec([batch, width], pooled)
    }

    /// The normalised features of all tokens, `(batch, sequence, hidden_size)`.
    pub fn forward(&self, ids: &[u32], batch: usize) -> Tensor {
        let mut hidden = self.embed(ids, batch);
        for block in &self.blocks {
            hidden = block.forward(&hidden);
        }
        self.final_norm.forward(&*self.device, &hidden)
    }

    /// Token plus position embeddings, `(batch, sequence, hidden_size)`.
    ///
    /// # Panics
    /// If a sequence is longer than the model's positions: the tokenizer cuts before that.
    pub fn embed(&self, ids: &[u32], batch: usize) -> Tensor {
        let sequence = (ids.len() / batch) as u32;
        let positions: Vec<u32> = (0..batch).flat_map(|_| 0..sequence).collect();
        let tokens = self.device.embedding(&self.tokens, ids, batch);
        let positions = self.device.embedding(&self.positions, &positions, batch);
        self.device.add(&tokens, &positions)
    }
}

/// Where the end-of-text token stands; 0 if nowhere, as `argmax` over a row of zeros gives.
fn end_of_text(ids: &[u32], eos_token_id: u32) -> usize {
    let wanted = match eos_token_id {
        LEGACY_EOS => ids.iter().copied().max().unwrap_or(0),
        id => id,
    };
    ids.iter().position(|&id| id == wanted).unwrap_or(0)
}

/// One block: causal self-attention, then feed-forward, each normalised before and added back.
#[derive(Debug)]
pub struct ClipBlock {
    device: Arc<dyn Device>,
    heads: usize,
    scale: f32,
    attention_norm: LayerNorm,
    qkv: Linear,
    output: Linear,
    feed_forward_norm: LayerNorm,
    activation: Activation,
    up: Linear,
    down: Linear,
}

impl ClipBlock {
    fn load(
        loader: &mut Loader<'_>,
        config: &ClipConfig,
        name: &str,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let hidden = config.hidden_size;
        let square = Width {
            input: hidden,
            output: hidden,
        };
        let up = Width {
            input: hidden,
            output: config.intermediate_size,
        };
        let down = Width {
            input: config.intermediate_size,
            output: hidden,
        };
        let qkv = ["q", "k", "v"].map(|part| format!("{name}.self_attn.{part}_proj"));
        Ok(Self {
            device,
            heads: config.num_attention_heads,
            scale: 1.0 / ((hidden / config.num_attention_heads) as f32).sqrt(),
            attention_norm: LayerNorm::load(loader, &format!("{name}.layer_norm1"), config)?,
            qkv: loader.joined(&qkv, square, true)?,
            output: loader.linear(&format!("{name}.self_attn.out_proj"), square)?,
            feed_forward_norm: LayerNorm::load(loader, &format!("{name}.layer_norm2"), config)?,
            activation: config.activation()?,
            up: loader.linear(&format!("{name}.mlp.fc1"), up)?,
            down: loader.linear(&format!("{name}.mlp.fc2"), down)?,
        })
    }

    /// `(batch, sequence, hidden_size)` in and out.
    pub fn forward(&self, hidden: &Tensor) -> Tensor {
        let device = &*self.device;
        let normal = self.attention_norm.forward(device, hidden);
        let qkv = device.linear(&self.qkv, &normal, Epilogue::None);
        let attended = device.attention(&Attention {
            segments: &[Segment {
                qkv: &qkv,
                norm: None,
            }],
            heads: self.heads,
            scale: self.scale,
            rope: None,
            mask: Mask::Causal,
        });
        let hidden = device.linear(&self.output, &attended[0], Epilogue::Residual(hidden));

        let normal = self.feed_forward_norm.forward(device, &hidden);
        let up = device.linear(&self.up, &normal, Epilogue::Activation(self.activation));
        device.linear(&self.down, &up, Epilogue::Residual(&hidden))
    }
}

#[derive(Debug)]
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    fn load(loader: &mut Loader<'_>, name: &str, config: &ClipConfig) -> Result<Self, Error> {
        Ok(Self {
            weight: loader.vector(name, config.hidden_size)?,
            bias: loader.bias(name, config.hidden_size)?,
            eps: config.layer_norm_eps,
        })
    }

    fn forward(&self, device: &dyn Device, x: &Tensor) -> Tensor {
        device.layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

#[cfg(test)]
mod tests {
    use super::end_of_text;

    #[test]
    fn the_end_of_text_is_found_by_both_conventions() {
        assert_eq!(end_of_text(&[98, 5, 6, 99, 99, 99], 99), 3);
        assert_eq!(end_of_text(&[98, 5, 6, 99, 0, 0], 2), 3);
        assert_eq!(end_of_text(&[98, 5, 6], 99), 0);
    }
}
