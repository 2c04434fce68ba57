//! Attention of new tokens to those in a cache, by its definition.

use super::{rms_normalised, rotated, softmax};
use crate::{CacheSize, CachedAttention, KeyValueCache, QkNorm, Tensor};

/// Keys and values of every head of every sample, sample by sample, each `(tokens)(head_dim)`.
struct Lists(Vec<[Vec<Vec<f64>>; 2]>);

pub(super) fn cache(size: CacheSize) -> KeyValueCache {
    let heads = size.batch * size.key_value_heads;
    KeyValueCache::new(size, Lists(vec![Default::default(); heads]))
}

pub(super) fn attention(cache: &mut KeyValueCache, attention: &CachedAttention<'_>) -> Tensor {
    let new = attention.new_tokens(cache);
    let (size, before) = (cache.size(), cache.tokens());
    let group = attention.heads / size.key_value_heads;
    let width = attention.heads * size.head_dim;
    let lists: &mut Lists = cache.grow(new);
    let mut output = Vec::with_capacity(size.batch * new * width);
    for sample in 0..size.batch {
        for token in 0..new {
            let position = before + token;
            let row = Row {
                attention,
                size,
                values: &attention.qkv.sample(sample)[token * attention.qkv.width()..],
                position,
            };
            let lists = &mut lists.0[sample * size.key_value_heads..][..size.key_value_heads];
            for (head, [keys, values]) in lists.iter_mut().enumerate() {
                keys.truncate(position);
                keys.push(row.key(head));
                values.truncate(position);
                values.push(row.value(head));
            }
            for head in 0..attention.heads {
                let [keys, values] = &lists[head / group];
                output.extend(attend(&row.query(head), keys, values, attention.scale));
            }
        }
    }
    Tensor::from_vec([size.batch, new, width], output)
}

/// One token's queries, keys and values.
struct Row<'a> {
    attention: &'a CachedAttention<'a>,
    size: CacheSize,
    /// `((heads + 2 * key_value_heads) * head_dim)`, then the tokens after it.
    values: &'a [f32],
    position: usize,
}

impl Row<'_> {
    fn query(&self, head: usize) -> Vec<f64> {
        let norm = self.attention.norm;
        let norm = norm.map(|QkNorm { query, eps, .. }| (query, eps));
        self.prepared(head, norm)
    }

    fn key(&self, head: usize) -> Vec<f64> {
        let norm = self.attention.norm;
        let norm = norm.map(|QkNorm { key, eps, .. }| (key, eps));
        self.prepared(self.attention.heads + head, norm)
    }

    fn value(&self, head: usize) -> Vec<f64> {
        let head = self.attention.heads + self.size.key_value_heads + head;
        self.head(head).iter().map(|&x| f64::from(x)).collect()
    }

    fn head(&self, head: usize) -> &[f32] {
        &self.values[head * self.size.head_dim..][..self.size.head_dim]
    }

    fn prepared(&self, head: usize, norm: Option<(&Tensor, f32)>) -> Vec<f64> {
        let x = self.head(head);
        let x = match norm {
            Some((weight, eps)) => rms_normalised(x, weight.data(), eps),
            None => x.iter().map(|&x| f64::from(x)).collect(),
        };
        rotated(self.attention.rope, self.position, x)
    }
}

fn attend(query: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>], scale: f32) -> Vec<f32> {
    let product = |key: &Vec<f64>| -> f64 { query.iter().zip(key).map(|(q, k)| q * k).sum() };
    let weights = softmax(keys.iter().map(|k| product(k) * f64::from(scale)).collect());
    (0..query.len())
        .map(|d| {
            let sum: f64 = weights.iter().zip(values).map(|(w, v)| w * v[d]).sum();
            sum as f32
        })
        .collect()
}
