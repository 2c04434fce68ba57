//! The folders of `full_size.rs`: one for each kind of files that people have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::{Value, json};
use tintype_compute::Encoding;

use super::maker::{self, Stored};
use super::scene;
use super::sparse::{self, Tensor, Tensors};

/// What eight-bit weights with scales are multiplied by.
const SCALE: f32 = 2.0;

/// The name of a kind that a test asks for.
pub const MAKERS: &str = "the makers' files in bf16, text encoders apart in f16";

/// One way of packaging the model.
pub struct Kind {
    pub name: &'static str,
    /// Bytes that a transformer's weight is kept in, for each that it is stored in.
    pub kept: f64,
    write: fn(&Path) -> Bytes,
}

impl Kind {
    /// Writes it into an empty folder.
    pub fn write(&self, folder: &Path) -> Bytes {
        (self.write)(folder)
    }
}

/// What was written.
pub struct Bytes {
    /// All tensors of the transformer.
    pub transformer: usize,
}

impl Bytes {
    fn of(transformer: &Tensors) -> Self {
        Self {
            transformer: transformer.values().map(Tensor::size_bytes).sum(),
        }
    }
}

/// All kinds; what is loaded from the first is what must be loaded from the others.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "a diffusers folder in bf16, sharded",
        kept: 1.0,
        write: diffusers_folder,
    },
    Kind {
        name: MAKERS,
        kept: 1.0,
        write: makers_files,
    },
    Kind {
        name: "fp8 without scales",
        kept: 1.0,
        write: fp8,
    },
    Kind {
        name: "fp8 with scales",
        kept: 1.0,
        write: scaled_fp8,
    },
    Kind {
        name: "ComfyUI's checkpoint of everything in fp8",
        kept: 1.0,
        write: checkpoint,
    },
    Kind {
        name: "GGUF: the transformer in Q4_K, T5 in Q8_0",
        kept: 148.0 / 144.0,
        write: gguf,
    },
];

/// Where names and shapes are written down.
pub fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/full_size.json")
}

/// The tensors of a component in diffusers' names. Instead of bytes each has one mark for each row, so that
/// the maker's renaming, joining and swapping of rows moves the marks.
pub fn tensors(component: &str) -> maker::Tensors {
    let model = &scene::read_json(&golden())[component];
    let mut tensors = BTreeMap::new();
    for (pattern, shape) in model["tensors"].as_object().expect("tensors") {
        for name in expanded(pattern, &model["blocks"]) {
            // The published folder's second name of the embedding.
            if name == "encoder.embed_tokens.weight" {
                continue;
            }
            let shape: Vec<usize> = serde_json::from_value(shape.clone()).expect("a shape");
            let stored = Stored {
                dtype: Dtype::BF16,
                bytes: sparse::marks(&name, shape[0]),
                shape,
            };
            tensors.insert(name, stored);
        }
    }
    maker::Tensors(tensors)
}

/// The names that a name with a `*` stands for.
fn expanded(pattern: &str, blocks: &Value) -> Vec<String> {
    match pattern.split_once(".*.") {
        None => vec![pattern.to_owned()],
        Some((list, leaf)) => {
            let count = blocks[list].as_u64().expect("a number of blocks");
            (0..count)
                .map(|block| format!("{list}.{block}.{leaf}"))
                .collect()
        }
    }
}

/// The same in the names of the component's makers.
pub fn original(component: &str) -> maker::Tensors {
    let tensors = tensors(component);
    match component {
        "transformer" => maker::original_transformer_of(tensors),
        "vae" => maker::original_vae_of(tensors),
        _ => tensors,
    }
}

fn marked(stored: Stored, encoding: Encoding, scale: f32) -> Tensor {
    Tensor::Marked {
        shape: stored.shape,
        marks: stored.bytes,
        encoding,
        scale,
    }
}

/// Every tensor in one encoding.
pub fn in_one_encoding(tensors: maker::Tensors, encoding: Encoding) -> Tensors {
    let tensors = tensors.0.into_iter();
    tensors
        .map(|(name, stored)| (name, marked(stored, encoding, 1.0)))
        .collect()
}

/// Large matrices in an encoding, the rest in another one.
fn with_large(tensors: maker::Tensors, large: Encoding, rest: Encoding) -> Tensors {
    let tensors = tensors.0.into_iter();
    tensors
        .map(|(name, stored)| {
            let encoding = if is_large(&stored, large) {
                large
            } else {
                rest
            };
            (name, marked(stored, encoding, 1.0))
        })
        .collect()
}

fn is_large(stored: &Stored, encoding: Encoding) -> bool {
    let whole_blocks = |width: &usize| width.is_multiple_of(encoding.block_values());
    stored.shape.len() == 2 && stored.shape[0] > 64 && whole_blocks(&stored.shape[1])
}

fn tokenizers(folder: &Path) {
    for name in ["tokenizer", "tokenizer_2"] {
        copy_folder(&scene::golden("dev").join(name), &folder.join(name));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

fn diffusers_folder(folder: &Path) -> Bytes {
    tokenizers(folder);
    let golden_folder = scene::golden("dev");
    copy_folder(&golden_folder.join("scheduler"), &folder.join("scheduler"));
    let index = "model_index.json";
    std::fs::copy(golden_folder.join(index), folder.join(index)).expect("a copy");
    let model = scene::read_json(&golden());
    let mut bytes = None;
    for (component, file, shards) in [
        ("transformer", "diffusion_pytorch_model", 3),
        ("vae", "diffusion_pytorch_model", 1),
        ("text_encoder", "model", 1),
        ("text_encoder_2", "model", 2),
    ] {
        let place = folder.join(component);
        std::fs::create_dir(&place).expect("a folder");
        let config = model[component]["config"].to_string();
        std::fs::write(place.join("config.json"), config).expect("writable");
        let tensors = in_one_encoding(tensors(component), Encoding::Bf16);
        bytes.get_or_insert_with(|| Bytes::of(&tensors));
        write_shards(&place.join(file), tensors, shards);
    }
    bytes.expect("the transformer is the first")
}

/// Shards of as many tensors each and their index, or one file.
fn write_shards(path: &Path, tensors: Tensors, shards: usize) {
    let file = |ending: String| path.with_file_name(name_of(path) + &ending);
    if shards == 1 {
        sparse::safetensors(&file(".safetensors".to_owned()), &tensors, &[]);
        return;
    }
    let size = tensors.len().div_ceil(shards);
    let mut places = serde_json::Map::new();
    let mut left = tensors.into_iter();
    for shard in 1..=shards {
        let shard = file(format!("-{shard:05}-of-{shards:05}.safetensors"));
        let tensors: Tensors = left.by_ref().take(size).collect();
        let names = tensors.keys().cloned();
        places.extend(names.map(|name| (name, name_of(&shard).into())));
        sparse::safetensors(&shard, &tensors, &[("format", "pt")]);
    }
    let index = json!({"metadata": {}, "weight_map": places});
    std::fs::write(
        file(".safetensors.index.json".to_owned()),
        index.to_string(),
    )
    .expect("writable");
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().expect("a name");
    name.to_string_lossy().into_owned()
}

/// Tokenizers, `ae.safetensors` and `clip_l.safetensors`.
fn usual_files(folder: &Path) {
    tokenizers(folder);
    let write = |name: &str, tensors| sparse::safetensors(&folder.join(name), &tensors, &[]);
    let vae = in_one_encoding(original("vae"), Encoding::F32);
    write("ae.safetensors", vae);
    let clip = in_one_encoding(tensors("text_encoder"), Encoding::F16);
    write("clip_l.safetensors", clip);
}

fn makers_files(folder: &Path) -> Bytes {
    usual_files(folder);
    let transformer = in_one_encoding(original("transformer"), Encoding::Bf16);
    sparse::safetensors(&folder.join("flux1-dev.safetensors"), &transformer, &[]);
    let t5 = in_one_encoding(tensors("text_encoder_2"), Encoding::F16);
    sparse::safetensors(&folder.join("t5xxl_fp16.safetensors"), &t5, &[]);
    Bytes::of(&transformer)
}

fn fp8(folder: &Path) -> Bytes {
    usual_files(folder);
    let transformer = in_one_encoding(original("transformer"), Encoding::F8E4m3);
    sparse::safetensors(&folder.join("flux1-dev-fp8.safetensors"), &transformer, &[]);
    let t5 = in_one_encoding(tensors("text_encoder_2"), Encoding::F8E4m3);
    sparse::safetensors(&folder.join("t5xxl_fp8_e4m3fn.safetensors"), &t5, &[]);
    Bytes::of(&transformer)
}

/// Large matrices in eight bits with a scale, the rest in `rest`; `leaves` are the names of the scale and of
/// an input's.
fn scaled(tensors: maker::Tensors, rest: Encoding, leaves: [&str; 2]) -> Tensors {
    let mut written = Tensors::new();
    for (name, stored) in tensors.0 {
        let module = name.strip_suffix(".weight").unwrap_or(&name).to_owned();
        let large = is_large(&stored, Encoding::F8E4m3) && module != name;
        let tensor = match large {
            true => marked(stored, Encoding::F8E4m3, SCALE),
            false => marked(stored, rest, 1.0),
        };
        written.insert(name, tensor);
        for (leaf, value) in leaves.into_iter().zip([SCALE, 1.0]).filter(|_| large) {
            let scalar = Tensor::Raw {
                shape: Vec::new(),
                dtype: "F32",
                bytes: value.to_le_bytes().to_vec(),
            };
            written.insert(format!("{module}.{leaf}"), scalar);
        }
    }
    written
}

fn scaled_fp8(folder: &Path) -> Bytes {
    usual_files(folder);
    let leaves = ["weight_scale", "input_scale"];
    let transformer = scaled(original("transformer"), Encoding::Bf16, leaves);
    let path = folder.join("flux1-dev-fp8-scaled.safetensors");
    let said = r#"{"format_version":"1.0","layers":{}}"#;
    sparse::safetensors(&path, &transformer, &[("_quantization_metadata", said)]);
    let leaves = ["scale_weight", "scale_input"];
    let mut t5 = scaled(tensors("text_encoder_2"), Encoding::F16, leaves);
    let mark = Tensor::Raw {
        shape: vec![0],
        dtype: "F8_E4M3",
        bytes: Vec::new(),
    };
    t5.insert("scaled_fp8".to_owned(), mark);
    let path = folder.join("t5xxl_fp8_e4m3fn_scaled.safetensors");
    sparse::safetensors(&path, &t5, &[]);
    Bytes::of(&transformer)
}

fn checkpoint(folder: &Path) -> Bytes {
    tokenizers(folder);
    let transformer = in_one_encoding(original("transformer"), Encoding::F8E4m3);
    let bytes = Bytes::of(&transformer);
    let parts = [
        ("model.diffusion_model.", transformer),
        ("vae.", in_one_encoding(original("vae"), Encoding::F32)),
        (
            "text_encoders.clip_l.transformer.",
            in_one_encoding(tensors("text_encoder"), Encoding::F16),
        ),
        (
            "text_encoders.t5xxl.transformer.",
            in_one_encoding(tensors("text_encoder_2"), Encoding::F8E4m3),
        ),
    ];
    let named = parts.into_iter().flat_map(|(prefix, tensors)| {
        let named = move |(name, tensor)| (format!("{prefix}{name}"), tensor);
        tensors.into_iter().map(named)
    });
    let path = folder.join("flux1-dev-fp8.safetensors");
    sparse::safetensors(&path, &named.collect(), &[]);
    bytes
}

fn gguf(folder: &Path) -> Bytes {
    usual_files(folder);
    let transformer = with_large(original("transformer"), Encoding::Q4K, Encoding::F32);
    sparse::gguf(&folder.join("flux1-dev-Q4_K_S.gguf"), &transformer, "flux");
    let t5 = maker::llama_cpp_t5_of(tensors("text_encoder_2"));
    let t5 = with_large(t5, Encoding::Q8_0, Encoding::F32);
    let path = folder.join("t5-v1_1-xxl-encoder-Q8_0.gguf");
    sparse::gguf(&path, &t5, "t5encoder");
    Bytes::of(&transformer)
}
