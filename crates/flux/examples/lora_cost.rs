//! What LoRAs over all layers cost a denoising step, applied on the fly: FLUX.1's widths, random weights.
//!
//! `cargo run --release -p tintype-flux --example lora_cost -- [image tokens] [text tokens] [rounds]`
//!
//! One double-stream block and one single-stream block on one thread; steps without and with LoRAs take
//! turns, and the median of the processor times is compared. The layers around the two blocks count too,
//! so these are upper bounds for the whole model.

use std::{fs, path::Path, sync::Arc};

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use tintype_compute::{CpuDevice, CpuOptions, Device, Tensor, WeightFormat};
use tintype_flux::{
    config::TransformerConfig,
    latents::{Role, image_ids, text_ids},
    lora::{Applied, Lora},
    mmdit::Mmdit,
    weights::Weights,
};

const CONFIG: &str = r#"{
    "in_channels": 64, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 128,
    "num_attention_heads": 24, "joint_attention_dim": 4096, "pooled_projection_dim": 768,
    "guidance_embeds": true, "axes_dims_rope": [16, 56, 56]
}"#;

/// FLUX.1's.
const HIDDEN: usize = 3072;

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .map(|number| number.parse().expect("a number"))
        .collect();
    let number = |place: usize, default| numbers.get(place).copied().unwrap_or(default);
    let (image, text, rounds) = (number(0, 512), number(1, 256), number(2, 5));
    let side = image.isqrt();
    for weights in [WeightFormat::Bf16, WeightFormat::Int8] {
        let options = CpuOptions {
            threads: 1,
            weights,
            ..CpuOptions::default()
        };
        let device = Arc::new(CpuDevice::with_options(options).expect("a processor"));
        let mmdit = Mmdit::load(CONFIG, generated(), device.clone()).expect("a model");
        let latents = filled(&[1, side * side, 64]);
        let prompt = mmdit.embed_text(&filled(&[1, text, 4096]));
        let rope = mmdit.rope(&text_ids(text), &image_ids(Role::Target, side, side));
        let models: Vec<(String, Mmdit)> = choices(&mmdit, &*device);
        let mut times = vec![Vec::new(); models.len()];
        for _ in 0..rounds {
            for ((_, model), times) in models.iter().zip(&mut times) {
                let condition = &model.conditions(&[0.5], Some(3.5), &filled(&[1, 768]))[0];
                let before = busy_seconds();
                drop(model.denoise(&latents, &prompt, condition, &rope));
                times.push(busy_seconds() - before);
            }
        }
        let base = median(&mut times[0]);
        println!(
            "{device:?}, {} + {text} tokens: {:.0} ms a step without LoRAs",
            side * side,
            base * 1e3
        );
        for ((name, _), times) in models.iter().zip(&mut times).skip(1) {
            println!("  {name}: {:.3} times as long", median(times) / base);
        }
    }
}

/// The model without, and with LoRAs of several ranks.
fn choices(mmdit: &Mmdit, device: &dyn Device) -> Vec<(String, Mmdit)> {
    let config = TransformerConfig::parse(CONFIG).expect("a configuration");
    let folder = tempfile::tempdir().expect("a folder");
    let lora = |rank| {
        let path = folder.path().join(format!("{rank}.safetensors"));
        write(&path, rank);
        let lora = Lora::open_for_transformer(&path, &config, device).expect("a LoRA");
        Applied {
            lora: Arc::new(lora),
            weight: 0.8,
        }
    };
    let [r16, r32, r64] = [16, 32, 64].map(lora);
    let named = |name: &str, loras: &[Applied]| (name.to_owned(), mmdit.adapted(loras));
    vec![
        ("none".to_owned(), mmdit.clone()),
        named("rank 16", std::slice::from_ref(&r16)),
        named("rank 32", std::slice::from_ref(&r32)),
        named("rank 64", std::slice::from_ref(&r64)),
        named("ranks 16, 32 and 64 at once", &[r16, r32, r64]),
    ]
}

/// All layers of both blocks, each with matrices of its own, as diffusers trains them.
fn write(path: &Path, rank: usize) {
    let double = "transformer_blocks.0";
    let single = "single_transformer_blocks.0";
    let mut layers = Vec::new();
    let attention = [
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
        "add_q_proj",
        "add_k_proj",
        "add_v_proj",
        "to_add_out",
    ];
    for part in attention {
        layers.push((format!("{double}.attn.{part}"), HIDDEN, HIDDEN));
    }
    for stream in ["ff", "ff_context"] {
        layers.push((format!("{double}.{stream}.net.0.proj"), HIDDEN, 4 * HIDDEN));
        layers.push((format!("{double}.{stream}.net.2"), 4 * HIDDEN, HIDDEN));
    }
    for part in &attention[..3] {
        layers.push((format!("{single}.attn.{part}"), HIDDEN, HIDDEN));
    }
    layers.push((format!("{single}.proj_mlp"), HIDDEN, 4 * HIDDEN));
    layers.push((format!("{single}.proj_out"), 5 * HIDDEN, HIDDEN));
    let tensors = layers.iter().flat_map(|(name, input, output)| {
        [
            (format!("{name}.lora_A.weight"), vec![rank, *input]),
            (format!("{name}.lora_B.weight"), vec![*output, rank]),
        ]
    });
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .map(|(name, shape)| {
            let values = filled(&shape);
            // bf16: the upper half of an f32.
            let halves = values
                .data()
                .iter()
                .flat_map(|v| v.to_le_bytes().into_iter().skip(2));
            (name, shape, halves.collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::BF16, shape.clone(), bytes).expect("values");
        (name, view)
    });
    serialize_to_file(views, None, path).expect("a file");
}

fn generated() -> Weights {
    Weights::generated(|_, shape| filled(shape))
}

/// Small values of bf16 that differ from place to place.
fn filled(shape: &[usize]) -> Tensor {
    let value = |i: usize| {
        let value = ((i * 7919) % 1009) as f32 / 504.0 - 1.0;
        f32::from_bits((value / 64.0).to_bits() & 0xffff_0000)
    };
    Tensor::from_vec(shape, (0..shape.iter().product()).map(value).collect())
}

/// How long this thread has been on a processor.
fn busy_seconds() -> f64 {
    let statistics = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics
        .split(' ')
        .next()
        .and_then(|n| n.parse::<f64>().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e9
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
