//! A model that is loaded for a while and draws soon: the tiny one with a T5 whose feed-forward layers are
//! very wide.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::tiny_model;

/// T5's blocks: each is three layers of a packed cache.
const BLOCKS: usize = 12;

/// The width of their feed-forward layers: 75 million weights in all.
const WIDE: usize = 1 << 16;

/// Bytes that are written together.
const PIECE_BYTES: usize = 1 << 20;

/// Writes it into a folder, which must not be there.
pub fn write(folder: &Path) {
    for entry in entries(&tiny_model()) {
        let target = folder.join(entry.file_name().expect("a name"));
        match entry.is_dir() {
            true => copy(&entry, &target),
            false => {
                fs::create_dir_all(folder).expect("a folder");
                fs::copy(&entry, &target).expect("a copy");
            }
        }
    }
    widen(&folder.join("text_encoder_2"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for file in entries(from) {
        fs::copy(&file, to.join(file.file_name().expect("a name"))).expect("a copy");
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// Puts another T5 of the same width into the place of the tiny one.
fn widen(folder: &Path) {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).expect("a configuration");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["d_ff"] = WIDE.into();
    config["num_layers"] = BLOCKS.into();
    fs::write(&path, config.to_string()).expect("writable");
    let size = |name: &str| config[name].as_u64().expect("a size") as usize;
    let (model, inner) = (size("d_model"), size("d_kv") * size("num_heads"));
    let mut tensors = vec![
        ("shared.weight".to_owned(), vec![size("vocab_size"), model]),
        ("encoder.final_layer_norm.weight".to_owned(), vec![model]),
        (
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight".to_owned(),
            vec![size("relative_attention_num_buckets"), size("num_heads")],
        ),
    ];
    for block in 0..BLOCKS {
        let block = format!("encoder.block.{block}.layer");
        let mut tensor =
            |name: &str, shape| tensors.push((format!("{block}.{name}.weight"), shape));
        tensor("0.layer_norm", vec![model]);
        tensor("0.SelfAttention.o", vec![model, inner]);
        for part in ["q", "k", "v"] {
            tensor(&format!("0.SelfAttention.{part}"), vec![inner, model]);
        }
        tensor("1.layer_norm", vec![model]);
        tensor("1.DenseReluDense.wi_0", vec![WIDE, model]);
        tensor("1.DenseReluDense.wi_1", vec![WIDE, model]);
        tensor("1.DenseReluDense.wo", vec![model, WIDE]);
    }
    write_weights(&folder.join("model.safetensors"), &tensors);
}

/// Weights in bf16, of either sign and between 2⁻⁷ and 2⁻⁵.
fn write_weights(path: &Path, tensors: &[(String, Vec<usize>)]) {
    let mut header = Map::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let said = json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), said);
    }
    let header = Value::Object(header).to_string();
    let mut file = BufWriter::new(File::create(path).expect("writable"));
    let mut write = |bytes: &[u8]| file.write_all(bytes).expect("room for the model");
    write(&(header.len() as u64).to_le_bytes());
    write(header.as_bytes());
    let piece = piece();
    for start in (0..end).step_by(PIECE_BYTES) {
        write(&piece[..PIECE_BYTES.min(end - start)]);
    }
}

/// Numbers that a linear congruential generator draws.
fn piece() -> Vec<u8> {
    let mut state = 1_u32;
    let values = (0..PIECE_BYTES / 2).flat_map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Its lowest bits repeat soon.
        let [sign, low, ..] = state.to_be_bytes();
        [low, sign & 0x80 | 0x3c]
    });
    values.collect()
}
