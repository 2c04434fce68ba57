//! What a model takes is known before it is loaded.

use std::{fs, sync::Arc};

use tintype_compute::{CpuDevice, CpuOptions, Isa, WeightFormat};
use tintype_language::{Config, LanguageModel, OpenOptions};

use crate::common::{change, copy, folder};

#[test]
fn memory_is_counted_by_the_headers() {
    for (case, format, value_bytes) in [
        ("tied", WeightFormat::Exact, 2),
        ("tied", WeightFormat::Int8, 1),
        ("untied", WeightFormat::Exact, 4),
        ("untied", WeightFormat::Bf16, 2),
    ] {
        let options = CpuOptions {
            threads: 1,
            weights: format,
            // Layers this small do not fill a tile.
            isa: Some(Isa::best_in_f32()),
            ..CpuOptions::default()
        };
        let device = Arc::new(CpuDevice::with_options(options).expect("a device"));
        let options = OpenOptions {
            context_tokens: 100,
            ..OpenOptions::default()
        };
        let memory = LanguageModel::memory(&folder(case), device, &options).expect("counts");
        let json = fs::read_to_string(folder(case).join("config.json")).expect("golden file");
        let config = Config::parse(&json).expect("a known model");
        let values = config.block_values() + config.vocab_size * config.hidden_size;
        let least = (values * value_bytes) as u64;
        // Panels are filled up, scales and norms come on top: much, with layers this small.
        let found = memory.weights_bytes;
        assert!(
            (least..2 * least).contains(&found),
            "{case} {format}: {found}, {least}"
        );
        let token = 2 * config.num_hidden_layers * config.key_value_heads() * config.head_dim;
        assert_eq!(
            memory.context_bytes,
            (400 * (token + config.head_dim)) as u64
        );
        assert!(memory.total_bytes() > found + memory.context_bytes);
    }
}

#[test]
fn what_could_not_be_opened_is_not_counted_either() {
    let folder = copy("tied");
    change(
        folder.path(),
        "config.json",
        "\"num_hidden_layers\": 2",
        "\"num_hidden_layers\": 1",
    );
    let device = Arc::new(CpuDevice::new(1));
    let error = LanguageModel::memory(folder.path(), device, &OpenOptions::default());
    let message = error.expect_err("surplus tensors").to_string();
    assert!(message.contains("`model.layers.1."), "{message}");
}
