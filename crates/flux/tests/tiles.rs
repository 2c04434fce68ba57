//! What tiles cost: blocks of the models with weights of bf16, on a device that multiplies in bf16,
//! against the oracle. The tiles are modelled in software, bit for bit, so that this runs anywhere.
//!
//! Heads have FLUX.1's and T5's widths; there are fewer of them.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tintype_compute::{CpuDevice, CpuOptions, Device, ReferenceDevice, Tensor};
use tintype_flux::{mmdit::Mmdit, t5::T5Encoder, vae::Vae, weights::Weights};

/// Relative RMS error that a block may have: the goal.
const TOLERANCE: f64 = 1e-2;

/// Less than this, and nothing was rounded: the tiles were not used.
const ROUNDED: f64 = 2e-4;

const TRANSFORMER: &str = r#"{
    "attention_head_dim": 128, "axes_dims_rope": [16, 56, 56], "guidance_embeds": false,
    "in_channels": 64, "joint_attention_dim": 64, "num_attention_heads": 2, "num_layers": 1,
    "num_single_layers": 1, "out_channels": null, "patch_size": 1, "pooled_projection_dim": 64
}"#;

const TEXT_ENCODER: &str = r#"{
    "d_ff": 320, "d_kv": 64, "d_model": 192, "feed_forward_proj": "gated-gelu",
    "layer_norm_epsilon": 1e-06, "num_heads": 3, "num_layers": 1, "is_gated_act": true,
    "dense_act_fn": "gelu_new", "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32, "vocab_size": 100, "model_type": "t5"
}"#;

const VAE: &str = r#"{
    "act_fn": "silu", "block_out_channels": [32, 64],
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"], "in_channels": 3,
    "latent_channels": 16, "layers_per_block": 1, "mid_block_add_attention": true,
    "norm_num_groups": 8, "out_channels": 3, "sample_size": 32, "scaling_factor": 0.3611,
    "shift_factor": 0.1159, "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    "use_post_quant_conv": false, "use_quant_conv": false
}"#;

/// Values in `-scale..scale` that bf16 holds.
fn values(seed: &impl Hash, shape: &[usize], scale: f32) -> Tensor {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    let mut rng = StdRng::seed_from_u64(hasher.finish());
    let mut value = || {
        let value: f32 = rng.random_range(-scale..scale);
        f32::from_bits(value.to_bits() & 0xffff_0000)
    };
    let count = shape.iter().product();
    Tensor::from_vec(shape, (0..count).map(|_| value()).collect())
}

/// Weights by which values keep their size: products have a variance of about 1, norms lie around 1,
/// biases are small.
fn weights() -> Weights {
    Weights::generated(|name, shape| {
        if name.ends_with(".bias") {
            return values(&name, shape, 0.0625);
        }
        if let [_] = shape {
            let mut weight = values(&name, shape, 0.125);
            weight.data_mut().iter_mut().for_each(|value| *value += 1.0);
            return weight;
        }
        let inputs: usize = shape[1..].iter().product();
        values(&name, shape, (3.0 / inputs as f32).sqrt())
    })
}

/// Runs `block` on the oracle and in tiles, with one thread and with three.
fn check(what: &str, block: impl Fn(Arc<dyn Device>) -> Vec<Tensor>) {
    let expected = block(Arc::new(ReferenceDevice));
    let in_tiles = |threads| {
        let options = CpuOptions {
            threads,
            ..CpuOptions::default()
        };
        let device = CpuDevice::over_modelled_tiles(options).expect("the best is available");
        block(Arc::new(device))
    };
    let found = in_tiles(1);
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found.shape(), expected.shape(), "{what}");
        let pairs = || found.data().iter().zip(expected.data());
        let error: f64 = pairs().map(|(f, e)| f64::from(f - e).powi(2)).sum();
        let power: f64 = pairs().map(|(_, e)| f64::from(*e).powi(2)).sum();
        let error = (error / power).sqrt();
        println!("{what}: relative RMS error {error:.1e}");
        assert!(
            (ROUNDED..=TOLERANCE).contains(&error),
            "{what}: relative RMS error {error:e}"
        );
    }
    assert_eq!(found, in_tiles(3), "{what}: threads change the result");
}

/// Tokens of the text, then of the picture: no multiple of a tile's rows.
const TOKENS: [usize; 2] = [41, 90];

/// The inputs of a block of the transformer: conditioning vector, text, picture, all as wide as it is.
fn inputs(model: &Mmdit) -> [Tensor; 3] {
    let hidden = model.config().hidden_size();
    let [text, image] = TOKENS;
    [("condition", 1), ("text", text), ("image", image)]
        .map(|(name, rows)| values(&name, &[1, rows, hidden], 1.7))
}

fn positions(image: bool, count: usize) -> Vec<[f32; 3]> {
    let position = |i: usize| match image {
        true => [0.0, (i / 10) as f32, (i % 10) as f32],
        false => [0.0; 3],
    };
    (0..count).map(position).collect()
}

#[test]
fn double_stream_block() {
    check("double-stream block", |device| {
        let model = Mmdit::load(TRANSFORMER, weights(), device).expect("loads");
        let [condition, text, image] = inputs(&model);
        let rope = model.rope(&positions(false, TOKENS[0]), &positions(true, TOKENS[1]));
        let block = &model.double_blocks()[0];
        let modulation = &block.modulations(&condition)[0];
        let (image, text) = block.forward(&image, &text, modulation, &rope);
        vec![image, text]
    });
}

#[test]
fn single_stream_block() {
    check("single-stream block", |device| {
        let model = Mmdit::load(TRANSFORMER, weights(), device).expect("loads");
        let [condition, text, image] = inputs(&model);
        let rope = model.rope(&positions(false, TOKENS[0]), &positions(true, TOKENS[1]));
        let joined = Tensor::concat_sequence(&[&text, &image]);
        let block = &model.single_blocks()[0];
        vec![block.forward(&joined, &block.modulations(&condition)[0], &rope)]
    });
}

#[test]
fn text_encoder_layer() {
    check("T5 layer", |device| {
        let model = T5Encoder::load(TEXT_ENCODER, weights(), device).expect("loads");
        let hidden = values(&"hidden", &[1, 77, 192], 1.7);
        vec![model.blocks()[0].forward(&hidden, &model.position_bias(77))]
    });
}

#[test]
fn vae_blocks() {
    check("VAE, innermost block with attention", |device| {
        let model = Vae::load(VAE, weights(), device).expect("loads");
        let picture = values(&"picture", &[1, 9, 13, 64], 1.7);
        vec![model.decoder().mid().forward(&picture)]
    });
    check("VAE, levels of decoder and encoder", |device| {
        let model = Vae::load(VAE, weights(), device).expect("loads");
        let picture = values(&"picture", &[1, 9, 13, 64], 1.7);
        let wide = values(&"wide", &[1, 18, 26, 32], 1.7);
        vec![
            model.decoder().forward_level(0, &picture),
            model.encoder().forward_level(0, &wide),
        ]
    });
}
