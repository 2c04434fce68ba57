//! The CLIP text encoder: the prompt as one vector (transformers 5, modeling_clip.py).

use std::sync::Arc;

use tintype_compute::{Activation, Attention, Device, Epilogue, Mask, Segment, Tensor};

use crate::{
    adapted::{AdaptedLinear, Target},
    config::ClipConfig,
    lora::Applied,
    weights::{
        Error, Weights,
        layers::{LayerNorm, Loader, Width},
    },
};

/// `eos_token_id` of configurations that were written before transformers read it: not the end of the
/// text in any vocabulary of CLIP.
const LEGACY_EOS: u32 = 2;

/// A CLIP text encoder, ready to run on one device. Copies share the weights.
#[derive(Clone, Debug)]
pub struct ClipTextEncoder {
    config: ClipConfig,
    device: Arc<dyn Device>,
    /// `(vocab_size, hidden_size)`
    tokens: Arc<Tensor>,
    /// `(max_position_embeddings, hidden_size)`
    positions: Arc<Tensor>,
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
            .map(|index| ClipBlock::load(&mut loader, &config, (prefix, index), device.clone()))
            .collect::<Result<_, _>>()?;
        let final_norm = loader.layer_norm(
            &format!("{prefix}final_layer_norm"),
            config.hidden_size,
            config.layer_norm_eps,
        )?;
        weights.finish()?;
        Ok(Self {
            config,
            device,
            tokens: Arc::new(tokens),
            positions: Arc::new(positions),
            blocks,
            final_norm,
        })
    }

    /// The same model with these adapters, and none that it had.
    pub(crate) fn adapted(&self, loras: &[Applied]) -> Self {
        let mut adapted = self.clone();
        adapted.layers_mut().for_each(|layer| layer.adapt(loras));
        adapted
    }

    fn layers_mut(&mut self) -> impl Iterator<Item = &mut AdaptedLinear> {
        self.blocks.iter_mut().flat_map(ClipBlock::layers_mut)
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
#[derive(Clone, Debug)]
pub struct ClipBlock {
    device: Arc<dyn Device>,
    heads: usize,
    scale: f32,
    attention_norm: LayerNorm,
    qkv: AdaptedLinear,
    output: AdaptedLinear,
    feed_forward_norm: LayerNorm,
    activation: Activation,
    up: AdaptedLinear,
    down: AdaptedLinear,
}

/// All linear layers of an encoder: what adapters can be hung on.
pub(crate) fn targets(config: &ClipConfig) -> Vec<Target> {
    let blocks = 0..config.num_hidden_layers;
    blocks
        .flat_map(|index| block_targets(config, index))
        .collect()
}

fn block_name(index: usize) -> String {
    format!("encoder.layers.{index}")
}

/// Queries with keys and values, output, and the feed-forward's two.
fn block_targets(config: &ClipConfig, index: usize) -> [Target; 4] {
    let (name, hidden) = (block_name(index), config.hidden_size);
    let inner = config.intermediate_size;
    let width = |input, output| Width { input, output };
    let qkv = ["q", "k", "v"].map(|part| format!("{name}.self_attn.{part}_proj"));
    [
        Target {
            names: qkv.to_vec(),
            width: width(hidden, hidden),
        },
        Target::new(format!("{name}.self_attn.out_proj"), width(hidden, hidden)),
        Target::new(format!("{name}.mlp.fc1"), width(hidden, inner)),
        Target::new(format!("{name}.mlp.fc2"), width(inner, hidden)),
    ]
}

impl ClipBlock {
    fn load(
        loader: &mut Loader<'_>,
        config: &ClipConfig,
        (prefix, index): (&str, usize),
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let name = format!("{prefix}{}", block_name(index));
        let [qkv, output, up, down] = block_targets(config, index)
            .map(|target| AdaptedLinear::load_under(prefix, loader, &target));
        let head_dim = config.hidden_size / config.num_attention_heads;
        Ok(Self {
            device,
            heads: config.num_attention_heads,
            scale: 1.0 / (head_dim as f32).sqrt(),
            attention_norm: loader.layer_norm(
                &format!("{name}.layer_norm1"),
                config.hidden_size,
                config.layer_norm_eps,
            )?,
            qkv: qkv?,
            output: output?,
            feed_forward_norm: loader.layer_norm(
                &format!("{name}.layer_norm2"),
                config.hidden_size,
                config.layer_norm_eps,
            )?,
            activation: config.activation()?,
            up: up?,
            down: down?,
        })
    }

    fn layers_mut(&mut self) -> [&mut AdaptedLinear; 4] {
        [
            &mut self.qkv,
            &mut self.output,
            &mut self.up,
            &mut self.down,
        ]
    }

    /// `(batch, sequence, hidden_size)` in and out.
    pub fn forward(&self, hidden: &Tensor) -> Tensor {
        let device = &*self.device;
        let normal = self.attention_norm.forward(device, hidden);
        let qkv = self.qkv.run(device, &normal, Epilogue::None);
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
        let hidden = self
            .output
            .run(device, &attended[0], Epilogue::Residual(hidden));

        let normal = self.feed_forward_norm.forward(device, &hidden);
        let up = self
            .up
            .run(device, &normal, Epilogue::Activation(self.activation));
        self.down.run(device, &up, Epilogue::Residual(&hidden))
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
