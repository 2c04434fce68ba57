//! The decoder (transformers 5, modeling_qwen3.py): token ids to the scores of what follows.

use std::sync::Arc;

use tintype_compute::{
    Activation, CacheSize, CachedAttention, Device, Epilogue, KeyValueCache, Linear, QkNorm,
    RopeLayout, RopeTable, Tensor,
};
use tintype_weights::{
    Error, Table, Weights,
    layers::{Loader, Width},
};

use crate::Config;

/// Room for fewer tokens is not worth a difference: a device may cut its cache by its capacity, and
/// from here on the cut is the same, so that no result depends on the room.
const MIN_CAPACITY: usize = 256;

/// A decoder, ready to run on one device.
#[derive(Debug)]
pub struct Decoder {
    config: Config,
    device: Arc<dyn Device>,
    /// `(vocab_size, hidden_size)`, read where it is stored.
    embedding: Table,
    blocks: Vec<Block>,
    norm: Tensor,
    /// `hidden_size -> vocab_size`
    head: Linear,
}

/// What a decoder has read so far.
#[derive(Debug)]
pub struct Session {
    caches: Vec<KeyValueCache>,
    rope: RopeTable,
    capacity: usize,
    tokens: Vec<u32>,
}

impl Session {
    /// The tokens that were read.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many tokens there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets all tokens from the first `tokens` on.
    pub fn truncate(&mut self, tokens: usize) {
        self.tokens.truncate(tokens);
        for cache in &mut self.caches {
            cache.truncate(self.tokens.len());
        }
    }
}

impl Decoder {
    /// Builds the decoder that `config` describes and takes all of `weights`.
    ///
    /// # Errors
    /// A tensor is missing, misshapen or left over.
    pub fn load(
        config: Config,
        mut weights: Weights,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        const HEAD: &str = "lm_head";
        let shape = [config.vocab_size, config.hidden_size];
        let embedding = weights.table("model.embed_tokens.weight", shape)?;
        let mut loader = Loader {
            weights: &mut weights,
            device: &*device,
        };
        let blocks = (0..config.num_hidden_layers)
            .map(|index| Block::load(&mut loader, &config, index))
            .collect::<Result<_, _>>()?;
        let norm = loader.vector("model.norm", config.hidden_size)?;
        let head = if config.tie_word_embeddings {
            // Some files store it a second time.
            loader.weights.discard(&format!("{HEAD}.weight"));
            loader.linear_of_table(HEAD, &embedding)
        } else {
            let width = Width {
                input: config.hidden_size,
                output: config.vocab_size,
            };
            loader.linear_without_bias(HEAD, width)?
        };
        weights.finish()?;
        Ok(Self {
            config,
            device,
            embedding,
            blocks,
            norm,
            head,
        })
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A session that has read nothing, with room for `tokens`.
    pub fn session(&self, tokens: usize) -> Session {
        let room = tokens.max(MIN_CAPACITY);
        let size = CacheSize {
            batch: 1,
            key_value_heads: self.config.key_value_heads(),
            head_dim: self.config.head_dim,
            capacity: room,
        };
        Session {
            caches: (0..self.blocks.len())
                .map(|_| self.device.key_value_cache(size))
                .collect(),
            rope: rope(&self.config, room),
            capacity: tokens,
            tokens: Vec::new(),
        }
    }

    /// Reads more tokens. Returns the last block's output for each, `(1, ids, hidden_size)`, to the bit
    /// the same however the tokens are spread over calls.
    ///
    /// # Panics
    /// If there is no room for them, or an id is not in the vocabulary.
    pub fn read(&self, session: &mut Session, ids: &[u32]) -> Tensor {
        let end = session.tokens.len() + ids.len();
        assert!(end <= session.capacity, "this is a bug");
        let mut hidden = self.embed(ids);
        for (block, cache) in self.blocks.iter().zip(&mut session.caches) {
            hidden = block.forward(&*self.device, &hidden, cache, &session.rope);
        }
        session.tokens.extend_from_slice(ids);
        hidden
    }

    /// The embeddings of tokens, `(1, ids, hidden_size)`.
    pub fn embed(&self, ids: &[u32]) -> Tensor {
        self.embedding.look_up(&*self.device, ids)
    }

    /// The scores of every word as the next one, `(1, tokens, vocab_size)`, of what [`Decoder::read`]
    /// gave.
    pub fn scores(&self, hidden: &Tensor) -> Tensor {
        let device = &*self.device;
        let normal = device.rms_norm(hidden, &self.norm, self.config.rms_norm_eps);
        device.linear(&self.head, &normal, Epilogue::None)
    }
}

/// The rotations of the first `positions` tokens. Frequencies and angles are rounded to f32, as
/// transformers does (`ROPE_INIT_FUNCTIONS["default"]`).
fn rope(config: &Config, positions: usize) -> RopeTable {
    let (head_dim, theta) = (config.head_dim, config.rope_theta());
    let frequencies: Vec<f32> = (0..head_dim / 2)
        .map(|pair| theta.powf(-((2 * pair) as f64) / head_dim as f64) as f32)
        .collect();
    let angles = || {
        let positions = 0..positions;
        positions.flat_map(|position| {
            let angle = move |frequency: &f32| f64::from(position as f32 * frequency);
            frequencies.iter().map(angle)
        })
    };
    let shape = [positions, head_dim / 2];
    RopeTable {
        layout: RopeLayout::Halves,
        cos: Tensor::from_vec(shape, angles().map(|angle| angle.cos() as f32).collect()),
        sin: Tensor::from_vec(shape, angles().map(|angle| angle.sin() as f32).collect()),
    }
}

/// One block: self-attention, then feed-forward, each normalised before and added back.
#[derive(Debug)]
struct Block {
    heads: usize,
    scale: f32,
    eps: f32,
    attention_norm: Tensor,
    query_norm: Tensor,
    key_norm: Tensor,
    /// Queries, keys and values side by side.
    qkv: Linear,
    output: Linear,
    feed_forward_norm: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Block {
    fn load(loader: &mut Loader<'_>, config: &Config, index: usize) -> Result<Self, Error> {
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let attention = |part: &str| name(&format!("self_attn.{part}"));
        let hidden = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.key_value_heads() * config.head_dim;
        let parts = [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)]
            .map(|(part, width)| (attention(part), width));
        let (inner, up) = (
            Width {
                input: queries,
                output: hidden,
            },
            Width {
                input: hidden,
                output: config.intermediate_size,
            },
        );
        let down = Width {
            input: up.output,
            output: up.input,
        };
        let (bias, output) = (config.attention_bias, [attention("o_proj")]);
        Ok(Self {
            heads: config.num_attention_heads,
            scale: (config.head_dim as f32).sqrt().recip(),
            eps: config.rms_norm_eps,
            attention_norm: loader.vector(&name("input_layernorm"), hidden)?,
            query_norm: loader.vector(&attention("q_norm"), config.head_dim)?,
            key_norm: loader.vector(&attention("k_norm"), config.head_dim)?,
            qkv: loader.stacked(&parts, hidden, bias)?,
            output: loader.joined(&output, inner, bias)?,
            feed_forward_norm: loader.vector(&name("post_attention_layernorm"), hidden)?,
            gate: loader.linear_without_bias(&name("mlp.gate_proj"), up)?,
            up: loader.linear_without_bias(&name("mlp.up_proj"), up)?,
            down: loader.linear_without_bias(&name("mlp.down_proj"), down)?,
        })
    }

    /// `hidden` is `(1, new tokens, hidden_size)`, and so is the result.
    fn forward(
        &self,
        device: &dyn Device,
        hidden: &Tensor,
        cache: &mut KeyValueCache,
        rope: &RopeTable,
    ) -> Tensor {
        let normal = device.rms_norm(hidden, &self.attention_norm, self.eps);
        let qkv = device.linear(&self.qkv, &normal, Epilogue::None);
        let attention = CachedAttention {
            qkv: &qkv,
            heads: self.heads,
            norm: Some(QkNorm {
                query: &self.query_norm,
                key: &self.key_norm,
                eps: self.eps,
            }),
            scale: self.scale,
            rope: Some(rope),
        };
        let attended = device.cached_attention(cache, &attention);
        let hidden = device.linear(&self.output, &attended, Epilogue::Residual(hidden));

        let normal = device.rms_norm(&hidden, &self.feed_forward_norm, self.eps);
        let silu = Epilogue::Activation(Activation::Silu);
        let gate = device.linear(&self.gate, &normal, silu);
        let up = device.linear(&self.up, &normal, Epilogue::Multiply(&gate));
        device.linear(&self.down, &up, Epilogue::Residual(&hidden))
    }
}
