//! A decoder's self-attention: new tokens attend to a cache of the tokens before them and to each other.

use std::any::Any;

use crate::{QkNorm, RopeTable, Tensor, ops::Packed};

/// How large a [`KeyValueCache`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSize {
    /// Sequences that grow side by side, all of one length.
    pub batch: usize,
    /// Heads of keys and values. Each serves one or several heads of queries (grouped-query attention,
    /// Ainslie et al. 2023).
    pub key_value_heads: usize,
    /// Features of a head.
    pub head_dim: usize,
    /// The most tokens of a sequence.
    pub capacity: usize,
}

/// Keys and values of the tokens that one layer of a decoder has seen, normalised and rotated, as the
/// device that made it keeps them ([`Device::key_value_cache`](crate::Device::key_value_cache)).
pub struct KeyValueCache {
    size: CacheSize,
    tokens: usize,
    packed: Packed,
}

impl KeyValueCache {
    /// For devices: an empty cache over the device's own `packed` form.
    pub fn new<T: Any + Send + Sync>(size: CacheSize, packed: T) -> Self {
        Self {
            size,
            tokens: 0,
            packed: Packed(Box::new(packed)),
        }
    }

    /// How large it is.
    pub fn size(&self) -> CacheSize {
        self.size
    }

    /// How many tokens of each sequence it holds.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Forgets all tokens from the first `tokens` on, so that another continuation can follow.
    ///
    /// # Panics
    /// If it does not hold that many.
    pub fn truncate(&mut self, tokens: usize) {
        assert!(tokens <= self.tokens, "this is a bug");
        self.tokens = tokens;
    }

    /// For devices: takes `new` tokens in; gives the packed form to write them to.
    ///
    /// # Panics
    /// If they exceed the capacity, or another device made this cache.
    pub fn grow<T: Any>(&mut self, new: usize) -> &mut T {
        self.tokens += new;
        assert!(self.tokens <= self.size.capacity, "this is a bug");
        self.packed.get_mut()
    }
}

impl std::fmt::Debug for KeyValueCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "KeyValueCache({} tokens of {:?})",
            self.tokens, self.size
        )
    }
}

/// Self-attention of the tokens that follow those in a cache: each attends to those before it and to
/// itself.
#[derive(Clone, Copy, Debug)]
pub struct CachedAttention<'a> {
    /// `(batch, new tokens, (heads + 2 * key_value_heads) * head_dim)`: all queries, then all keys, then
    /// all values. Neighbouring heads of queries share a head of keys and values.
    pub qkv: &'a Tensor,
    /// The number of heads of queries, a multiple of the cache's heads.
    pub heads: usize,
    /// RMS norm of each head's queries and keys, before the rotation.
    pub norm: Option<QkNorm<'a>>,
    /// What the scores are multiplied by, usually `1 / sqrt(head_dim)`.
    pub scale: f32,
    /// Rotation of queries and keys: one row for every position from the sequence's first token on, at
    /// least up to the last new one.
    pub rope: Option<&'a RopeTable>,
}

impl CachedAttention<'_> {
    /// The number of new tokens, checked against the cache that they follow.
    pub(crate) fn new_tokens(&self, cache: &KeyValueCache) -> usize {
        let CacheSize {
            batch,
            key_value_heads,
            head_dim,
            capacity,
        } = cache.size;
        let [found, new, width] = self.qkv.rank3();
        let features = (self.heads + 2 * key_value_heads) * head_dim;
        assert_eq!((found, width), (batch, features), "this is a bug");
        assert_eq!(self.heads % key_value_heads, 0, "this is a bug");
        assert!(cache.tokens + new <= capacity, "this is a bug");
        if let Some(rope) = self.rope {
            assert_eq!(rope.cos.width(), head_dim / 2, "this is a bug");
            assert!(cache.tokens + new <= rope.cos.rows(), "this is a bug");
        }
        new
    }
}
