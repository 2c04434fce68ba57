//! A decoder's attention: the packed keys and values stay, and new ones are packed behind them.
//!
//! The heads of queries that share a head of keys and values are lanes of one panel, token by token, so
//! that the cache is read once for all of them.
//!
//! Blocks of keys begin at the same tokens whatever is new, and a hidden key adds an exact zero: so a
//! token's result is the same to the bit whether it came alone or with others.

use super::{Heads, Inputs, Shared, Sizes, attend_all, outputs, pack_blocks, tasks};
use crate::{CacheSize, CachedAttention, KeyValueCache, Mask, Segment, Tensor, cpu::CpuDevice};

/// Packed blocks of keys and values, `(key_value_heads, batch, blocks)`.
struct Packed(Vec<f32>);

pub(in crate::cpu) fn cache(device: &CpuDevice, size: CacheSize) -> KeyValueCache {
    let sizes = Sizes::new(
        device.kernels,
        heads(size, size.key_value_heads),
        size.capacity,
    );
    let heads = size.batch * size.key_value_heads;
    // Memory that comes as zeros is only there once it is written to.
    KeyValueCache::new(size, Packed(vec![0.0; heads * sizes.packed_head()]))
}

pub(in crate::cpu) fn run(
    device: &CpuDevice,
    cache: &mut KeyValueCache,
    attention: &CachedAttention<'_>,
) -> Tensor {
    let new = attention.new_tokens(cache);
    let (size, past) = (cache.size(), cache.tokens());
    let sizes = Sizes::new(device.kernels, heads(size, attention.heads), size.capacity);
    let segment = Segment {
        qkv: attention.qkv,
        norm: attention.norm,
    };
    let inputs = Inputs {
        segments: &[segment],
        past,
        scale: attention.scale,
        rope: attention.rope,
        mask: Mask::Causal,
    };
    let shared = Shared::new(device, inputs, sizes);
    let Packed(packed) = cache.grow(new);
    let blocks = packed.chunks_exact_mut(sizes.packed_block()).enumerate();
    let touched = past / sizes.key_block..(past + new).div_ceil(sizes.key_block);
    let blocks =
        blocks.map(|(index, packed)| (index / sizes.blocks(), index % sizes.blocks(), packed));
    let blocks = blocks.filter(|(_, block, _)| touched.contains(block));
    pack_blocks(device, &shared, blocks.collect::<Vec<_>>().into_iter());
    let mut outputs = outputs(device, &shared);
    let tasks = tasks(&mut outputs, &shared);
    attend_all(device, &shared, tasks.into_iter(), (0, packed));
    outputs.remove(0)
}

fn heads(size: CacheSize, queries: usize) -> Heads {
    Heads {
        key_value_heads: size.key_value_heads,
        group: queries / size.key_value_heads,
        head_dim: size.head_dim,
    }
}
