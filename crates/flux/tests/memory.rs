//! Loading streams: besides what is kept, it takes the memory of a few megabytes, whatever the size of
//! the file. In a binary of its own, because it looks at the memory of the whole process.
#![cfg(target_os = "linux")]

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use safetensors::{Dtype, tensor::TensorView};
use tintype_compute::CpuDevice;
use tintype_flux::{config::T5Config, t5::T5Encoder, weights::Weights};

const CONFIG: &str = r#"{"model_type": "t5", "vocab_size": 64, "d_model": 512, "d_kv": 64, "d_ff": 8192,
    "num_layers": 6, "num_heads": 8, "feed_forward_proj": "gated-gelu",
    "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128}"#;

/// What may come on top: scratch of the threads, tables, the allocator's own.
const SLACK_BYTES: u64 = 24_000_000;

fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux says");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.expect("Linux says").trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().expect("a number") * 1024
}

/// A T5 of random bf16; returns the bytes of its tensors.
fn write_model(folder: &Path) -> u64 {
    let config = T5Config::parse(CONFIG).expect("a configuration");
    let (model, inner, wide) = (config.d_model, config.num_heads * config.d_kv, config.d_ff);
    let mut tensors = vec![
        ("shared.weight".to_owned(), vec![config.vocab_size, model]),
        ("encoder.final_layer_norm.weight".to_owned(), vec![model]),
        (
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight".to_owned(),
            vec![32, config.num_heads],
        ),
    ];
    for block in 0..config.num_layers {
        for (name, shape) in [
            ("layer.0.SelfAttention.q", vec![inner, model]),
            ("layer.0.SelfAttention.k", vec![inner, model]),
            ("layer.0.SelfAttention.v", vec![inner, model]),
            ("layer.0.SelfAttention.o", vec![model, inner]),
            ("layer.0.layer_norm", vec![model]),
            ("layer.1.DenseReluDense.wi_0", vec![wide, model]),
            ("layer.1.DenseReluDense.wi_1", vec![wide, model]),
            ("layer.1.DenseReluDense.wo", vec![model, wide]),
            ("layer.1.layer_norm", vec![model]),
        ] {
            tensors.push((format!("encoder.block.{block}.{name}.weight"), shape));
        }
    }
    let longest = tensors
        .iter()
        .map(|(_, shape)| shape.iter().product::<usize>());
    // One below 2: bf16 that differ.
    let values: Vec<u8> = (0..longest.max().expect("some"))
        .flat_map(|i: usize| [(i * 7919 % 128) as u8 | 0x80, 0x3f])
        .collect();
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = &values[..2 * shape.iter().product::<usize>()];
        let view = TensorView::new(Dtype::BF16, shape.clone(), bytes).expect("a valid tensor");
        (name.as_str(), view)
    });
    let path = folder.join("model.safetensors");
    safetensors::serialize_to_file(views, None::<HashMap<String, String>>, &path)
        .expect("writable");
    fs::metadata(path).expect("just written").len()
}

#[test]
fn loading_needs_little_more_memory_than_the_packed_model() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // In a process of its own, so that its memory does not count.
    if let Some(path) = std::env::var_os("TINTYPE_TEST_MODEL") {
        write_model(Path::new(&path));
        return;
    }
    let written = std::process::Command::new(std::env::current_exe().expect("this test"))
        .env("TINTYPE_TEST_MODEL", folder.path())
        .status();
    assert!(written.expect("runs").success());
    let size = fs::metadata(folder.path().join("model.safetensors"))
        .expect("written")
        .len();
    assert!(size > 4 * SLACK_BYTES, "{size} bytes would show nothing");

    let device = Arc::new(CpuDevice::new(2));
    let before = peak_bytes();
    let weights = Weights::open(folder.path()).expect("opens");
    let model = T5Encoder::load(CONFIG, weights, device).expect("loads");
    let growth = peak_bytes() - before;
    // Packed, bf16 stays bf16, so the model is as large as its file.
    assert!(
        growth <= size + SLACK_BYTES,
        "{size} bytes of weights took {growth} at most"
    );
    drop(model);
}
