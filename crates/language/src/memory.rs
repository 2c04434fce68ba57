//! What a model takes in memory, said before it is loaded.

use crate::Config;

/// Bytes that a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Weights, as the device keeps them.
    pub weights_bytes: u64,
    /// Keys and values of a full context, and the rotations of its positions. Those of tokens that never
    /// come take no memory.
    pub context_bytes: u64,
    /// What lies between the ops while a chunk of a prompt is read, at most.
    pub work_bytes: u64,
}

/// Buffers of a device's workspace are up to a quarter larger than asked for.
const ROUNDING: f64 = 1.25;

impl Memory {
    /// Of a model with `weights_bytes`, a full context, and chunks of `chunk_tokens`.
    pub(crate) fn new(
        config: &Config,
        weights_bytes: u64,
        context_tokens: usize,
        chunk_tokens: usize,
    ) -> Self {
        let keys = config.key_value_heads() * config.head_dim;
        let token = 2 * config.num_hidden_layers * keys + config.head_dim;
        let queries = config.num_attention_heads * config.head_dim;
        // In the attention: the input, normalised and not, queries with keys and values, the result; in
        // the feed-forward part: the same two, and twice its width.
        let attention = 2 * config.hidden_size + 2 * queries + 2 * keys;
        let feed_forward = 3 * config.hidden_size + 2 * config.intermediate_size;
        let work = chunk_tokens * attention.max(feed_forward) + config.vocab_size;
        let bytes = |values: usize| (values * size_of::<f32>()) as u64;
        Self {
            weights_bytes,
            context_bytes: bytes(context_tokens * token),
            work_bytes: (bytes(work) as f64 * ROUNDING) as u64,
        }
    }

    /// All of it.
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes + self.context_bytes + self.work_bytes
    }
}
