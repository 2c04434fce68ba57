//! Attention beyond the plain cases: a decoder's cache, odd sizes, and what is not finite.

use tintype_compute::{
    Attention, CacheSize, CachedAttention, Device, Mask, QkNorm, ReferenceDevice, RopeLayout,
    RopeTable, Segment, Tensor,
};

use super::{Draw, check, check_batch, families, relative_rms, rope};

/// New tokens call by call, and what they attend with.
struct Conversation {
    size: CacheSize,
    heads: usize,
    /// `(batch, all tokens, features)`
    qkv: Tensor,
    norm: Option<[Tensor; 2]>,
    rope: Option<RopeTable>,
}

impl Conversation {
    fn draw(draw: &mut Draw, size: CacheSize, heads: usize, layout: Option<RopeLayout>) -> Self {
        let CacheSize {
            batch,
            key_value_heads,
            head_dim,
            capacity,
        } = size;
        let features = (heads + 2 * key_value_heads) * head_dim;
        Self {
            size,
            heads,
            qkv: draw.tensor(&[batch, capacity, features]),
            norm: layout.map(|_| [draw.tensor(&[head_dim]), draw.tensor(&[head_dim])]),
            rope: layout.map(|layout| RopeTable {
                layout,
                ..rope(draw, capacity, head_dim)
            }),
        }
    }

    fn attention<'a>(&'a self, qkv: &'a Tensor) -> CachedAttention<'a> {
        CachedAttention {
            qkv,
            heads: self.heads,
            norm: self.norm.as_ref().map(|[query, key]| QkNorm {
                query,
                key,
                eps: 1e-6,
            }),
            scale: 1.0 / (self.size.head_dim as f32).sqrt(),
            rope: self.rope.as_ref(),
        }
    }

    /// The outputs of calls with `lengths` new tokens each.
    fn run(&self, device: &dyn Device, lengths: &[usize]) -> Vec<Tensor> {
        let mut cache = device.key_value_cache(self.size);
        let mut calls = Vec::new();
        for &new in lengths {
            let qkv = self.qkv.narrow_sequence(cache.tokens(), new);
            calls.push(device.cached_attention(&mut cache, &self.attention(&qkv)));
        }
        calls
    }
}

fn size(batch: usize, key_value_heads: usize, head_dim: usize, capacity: usize) -> CacheSize {
    CacheSize {
        batch,
        key_value_heads,
        head_dim,
        capacity,
    }
}

#[test]
fn new_tokens_attend_to_a_cache() {
    let mut draw = Draw::new();
    // One token; calls that end within panels and blocks; groups that do not divide a panel.
    for (size, heads, lengths) in [
        (size(1, 1, 4, 1), 1, vec![1]),
        (size(2, 2, 16, 40), 4, vec![7, 1, 1, 20, 11]),
        (size(1, 1, 8, 50), 3, vec![33, 5, 1]),
        (size(1, 2, 32, 450), 10, vec![190, 1, 3, 200, 56]),
        (size(1, 1, 300, 90), 1, vec![60, 30]),
    ] {
        for layout in [
            None,
            Some(RopeLayout::Interleaved),
            Some(RopeLayout::Halves),
        ] {
            let conversation = Conversation::draw(&mut draw, size, heads, layout);
            let what = format!("cached attention, {heads} heads, {size:?}, {layout:?}");
            check(&what, draw.seed, |device| {
                conversation.run(device, &lengths)
            });
        }
    }
}

#[test]
fn how_tokens_are_spread_over_calls_changes_no_bit() {
    let mut draw = Draw::new();
    let layout = Some(RopeLayout::Halves);
    let conversation = Conversation::draw(&mut draw, size(2, 2, 16, 210), 6, layout);
    for device in families().concat() {
        let together = conversation.run(&*device, &[210]);
        let mut lengths = vec![1; 100];
        lengths.extend([99, 1, 10]);
        let spread = conversation.run(&*device, &lengths);
        let spread = Tensor::concat_sequence(&spread.iter().collect::<Vec<_>>());
        assert_eq!(spread, together[0], "{device:?} (seed {})", draw.seed);
    }
}

#[test]
fn a_shortened_cache_takes_another_continuation() {
    let mut draw = Draw::new();
    let conversation = Conversation::draw(&mut draw, size(1, 2, 8, 30), 4, None);
    let mut devices = families().concat();
    devices.push(std::sync::Arc::new(ReferenceDevice));
    for device in devices {
        let expected = &conversation.run(&*device, &[9, 12])[1];
        let mut cache = device.key_value_cache(conversation.size);
        let mut attend = |start: usize, new| {
            let qkv = conversation.qkv.narrow_sequence(start, new);
            cache.truncate(start.min(9));
            device.cached_attention(&mut cache, &conversation.attention(&qkv))
        };
        attend(0, 9);
        attend(15, 14);
        assert_eq!(&attend(9, 12), expected, "{device:?} (seed {})", draw.seed);
    }
}

#[test]
fn cached_attention_does_not_see_the_batch() {
    let mut draw = Draw::new();
    let inputs = [draw.tensor(&[3, 30, 8 * 8]), draw.tensor(&[3, 1, 8 * 8])];
    check_batch("cached attention", &inputs, |device, inputs| {
        let mut cache = device.key_value_cache(size(inputs[0].dim(0), 2, 8, 31));
        let attend = |qkv| {
            let attention = CachedAttention {
                qkv,
                heads: 4,
                norm: None,
                scale: 0.35,
                rope: None,
            };
            device.cached_attention(&mut cache, &attention)
        };
        inputs.iter().map(attend).collect()
    });
}

/// Attention of `heads` over one sequence.
fn plain(device: &dyn Device, qkv: &Tensor, heads: usize, mask: Mask<'_>) -> Vec<Tensor> {
    device.attention(&Attention {
        segments: &[Segment { qkv, norm: None }],
        heads,
        scale: 0.3,
        rope: None,
        mask,
    })
}

#[test]
fn attention_of_odd_sizes() {
    let mut draw = Draw::new();
    for (heads, dim, sequence) in [
        (1, 512, 130),
        (1, 300, 37),
        (2, 1, 200),
        (3, 13, 1),
        (1, 7, 385),
    ] {
        let qkv = draw.tensor(&[1, sequence, 3 * heads * dim]);
        for mask in [Mask::None, Mask::Causal] {
            let what = format!("attention, {heads} x {dim}, {sequence} tokens, {mask:?}");
            check(&what, draw.seed, |device| plain(device, &qkv, heads, mask));
        }
    }
}

/// Where the oracle has a NaN or an infinity, so must every device, and nowhere else.
fn check_not_finite(what: &str, draw: &Draw, op: impl Fn(&dyn Device) -> Tensor) {
    let expected = op(&ReferenceDevice);
    assert!(expected.data().iter().any(|v| v.is_nan()), "{what}: no NaN");
    assert!(
        expected.data().iter().any(|v| v.is_finite()),
        "{what}: only"
    );
    let tame = |tensor: &Tensor| {
        let values = tensor.data().iter();
        let values = values.map(|&v| if v.is_finite() { v } else { 0.0 });
        Tensor::from_vec(tensor.shape(), values.collect())
    };
    for device in families().concat() {
        let found = op(&*device);
        for (found, expected) in found.data().iter().zip(expected.data()) {
            let same = (found.is_finite() && expected.is_finite())
                || (found.is_nan() && expected.is_nan())
                || found == expected;
            let seed = draw.seed;
            assert!(
                same,
                "{what} on {device:?}: {found} for {expected} (seed {seed})"
            );
        }
        let error = relative_rms(&tame(&found), &tame(&expected));
        assert!(error <= super::TOLERANCE, "{what} on {device:?}: {error:e}");
    }
}

#[test]
fn attention_hands_on_what_is_not_finite() {
    const TOKENS: usize = 400;
    const DIM: usize = 16;
    let mut draw = Draw::new();
    let clean = draw.tensor(&[1, TOKENS, 3 * 2 * DIM]);
    let spoilt = |token: usize, feature: usize, value: f32| {
        let mut qkv = clean.to_vec();
        qkv[token * 3 * 2 * DIM + feature] = value;
        Tensor::from_vec(clean.shape(), qkv)
    };
    let (query, key, value) = (3, 2 * DIM + 3, 4 * DIM + 3);
    for (what, qkv) in [
        ("a NaN in a query", spoilt(7, query, f32::NAN)),
        ("a NaN in a value", spoilt(300, value, f32::NAN)),
        // Queries of the other sign weigh it nothing.
        ("an infinity in a key", spoilt(250, key, f32::INFINITY)),
        ("an infinity in an early key", spoilt(0, key, f32::INFINITY)),
        ("an infinity in a query", spoilt(7, query, f32::INFINITY)),
    ] {
        check_not_finite(what, &draw, |d| plain(d, &qkv, 2, Mask::None).remove(0));
    }
    let qkv = spoilt(200, key, f32::NAN);
    check_not_finite("a NaN in a later key", &draw, |d| {
        plain(d, &qkv, 2, Mask::Causal).remove(0)
    });
}

#[test]
fn a_query_that_only_sees_minus_infinity_is_nan() {
    let mut draw = Draw::new();
    let qkv = draw.tensor(&[1, 20, 3 * 8]);
    let mut bias = draw.tensor(&[1, 39]);
    // The first query sees keys at distances from 0 on only; later ones have some before them.
    bias.data_mut()[19..].fill(f32::NEG_INFINITY);
    check_not_finite("a row of -infinity", &draw, |d| {
        plain(d, &qkv, 1, Mask::RelativeBias(&bias)).remove(0)
    });
}
