//! GGUF files as llama.cpp's converter names things, made of the golden models on the fly.

use std::{fs, path::Path, sync::Arc};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tintype_compute::CpuDevice;
use tintype_language::{GenerationOptions, LanguageModel, Message, OpenOptions, Sampling};
use tintype_weights::{
    Encoding,
    test_support::{GgufValue, gguf},
};

use crate::common::{copy, folder, ids, json};

/// What a converter does to a name.
fn name_in_gguf(name: &str) -> String {
    let pairs = [
        ("model.layers.", "blk."),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    let name = name.to_owned();
    pairs
        .iter()
        .fold(name, |name, (from, to)| name.replace(from, to))
}

/// What a file says of itself.
type Keys = Vec<(&'static str, GgufValue)>;

fn keys(case: &str) -> Keys {
    let read = |file: &str| -> Value {
        let bytes = fs::read(folder(case).join(file)).expect("golden file");
        serde_json::from_slice(&bytes).expect("golden JSON")
    };
    let (config, tokenizer) = (read("config.json"), read("tokenizer.json"));
    let number = |name: &str| GgufValue::U32(config[name].as_u64().expect("a number") as u32);
    let float = |value: &Value| GgufValue::F32(value.as_f64().expect("a number") as f32);
    let text = |text: &str| GgufValue::Text(text.to_owned());
    let rows = config["vocab_size"].as_u64().expect("a number") as usize;
    let mut words: Vec<String> = (0..rows).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![5; rows];
    for (word, id) in tokenizer["model"]["vocab"].as_object().expect("words") {
        let id = id.as_u64().expect("an id") as usize;
        (words[id], types[id]) = (word.clone(), 1);
    }
    for added in tokenizer["added_tokens"].as_array().expect("words") {
        let id = added["id"].as_u64().expect("an id") as usize;
        words[id] = added["content"].as_str().expect("a word").to_owned();
        types[id] = if added["special"] == true { 3 } else { 4 };
    }
    let merges = tokenizer["model"]["merges"]
        .as_array()
        .expect("pairs")
        .iter();
    let part = |pair: &Value, index: usize| pair[index].as_str().expect("a word").to_owned();
    let merges = merges.map(|pair| part(pair, 0) + " " + &part(pair, 1));
    vec![
        ("general.architecture", text("qwen3")),
        ("general.name", text("Tiny")),
        ("qwen3.block_count", number("num_hidden_layers")),
        ("qwen3.context_length", number("max_position_embeddings")),
        ("qwen3.embedding_length", number("hidden_size")),
        ("qwen3.feed_forward_length", number("intermediate_size")),
        ("qwen3.attention.head_count", number("num_attention_heads")),
        (
            "qwen3.attention.head_count_kv",
            number("num_key_value_heads"),
        ),
        ("qwen3.attention.key_length", number("head_dim")),
        ("qwen3.attention.value_length", number("head_dim")),
        (
            "qwen3.attention.layer_norm_rms_epsilon",
            float(&config["rms_norm_eps"]),
        ),
        (
            "qwen3.rope.freq_base",
            float(&config["rope_parameters"]["rope_theta"]),
        ),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("qwen2")),
        ("tokenizer.ggml.tokens", GgufValue::Texts(words)),
        ("tokenizer.ggml.token_type", GgufValue::I32s(types)),
        ("tokenizer.ggml.merges", GgufValue::Texts(merges.collect())),
        ("tokenizer.ggml.eos_token_id", GgufValue::U32(416)),
        (
            "tokenizer.chat_template",
            text("{% if enable_thinking is false %}{% endif %}"),
        ),
    ]
}

/// Writes the model of the case that is tied, which has no biases, as one file.
fn write(path: &Path, keys: &[(&str, GgufValue)]) {
    let bytes = fs::read(folder("tied").join("model.safetensors")).expect("golden file");
    let file = SafeTensors::deserialize(&bytes).expect("golden file");
    let tensors: Vec<_> = file
        .iter()
        .map(|(name, view)| {
            // Converters keep norms in f32.
            let widened = || {
                let halves = view.data().as_chunks().0.iter();
                let widened = halves.map(|&bytes| u32::from(u16::from_le_bytes(bytes)) << 16);
                widened.flat_map(u32::to_le_bytes).collect::<Vec<u8>>()
            };
            assert_eq!(view.dtype(), Dtype::BF16);
            let (encoding, bytes) = match view.shape() {
                [_] => (Encoding::F32, widened()),
                _ => (Encoding::Bf16, view.data().to_vec()),
            };
            (name_in_gguf(name), view.shape().to_vec(), encoding, bytes)
        })
        .collect();
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, shape, encoding, bytes)| (&name[..], &shape[..], *encoding, &bytes[..]))
        .collect();
    fs::write(path, gguf(keys, &tensors)).expect("writable");
}

fn open(path: &Path) -> Result<LanguageModel, tintype_language::Error> {
    LanguageModel::open(path, Arc::new(CpuDevice::new(1)), &OpenOptions::default())
}

fn answer(model: &mut LanguageModel) -> (Vec<u32>, String) {
    let messages = [
        Message::system("Rewrite."),
        Message::user("a red circle <|im_end|>"),
    ];
    let options = GenerationOptions {
        sampling: Sampling {
            seed: 3,
            ..Sampling::default()
        },
        max_new_tokens: 20,
    };
    let prompt = model.prompt(&messages).expect("encodes");
    let mut on = |_: &tintype_language::Progress<'_>| std::ops::ControlFlow::Continue(());
    let reply = model.chat(&messages, &options, &mut on).expect("answers");
    (prompt, reply.text)
}

#[test]
fn a_file_of_its_own_answers_as_the_folder_that_it_was_made_of() {
    let expected = answer(&mut open(&folder("tied")).expect("opens"));
    let place = tempfile::tempdir().expect("a temporary folder");
    let path = place.path().join("tiny-bf16.gguf");
    write(&path, &keys("tied"));
    // The file, and the folder that it lies in.
    for path in [&path, place.path()] {
        let mut model = open(path).expect("opens");
        assert_eq!(model.context_tokens(), 512);
        assert_eq!(answer(&mut model), expected);
    }
    let model = open(&path).expect("opens");
    for entry in json("texts.json")["texts"].as_array().expect("a list") {
        let text = entry["text"].as_str().expect("a text");
        let found = model.tokenizer().encode(text).expect("encodes");
        assert_eq!(found, ids(&entry["ids"]), "{text:?}");
    }
}

#[test]
fn files_beside_it_count() {
    let place = copy("tied");
    fs::remove_file(place.path().join("model.safetensors")).expect("is there");
    let mut without: Vec<_> = keys("tied");
    without.retain(|(key, _)| !key.starts_with("tokenizer") && !key.starts_with("qwen3"));
    write(&place.path().join("weights.gguf"), &without);
    let expected = answer(&mut open(&folder("tied")).expect("opens"));
    assert_eq!(answer(&mut open(place.path()).expect("opens")), expected);
}

#[test]
fn other_files_are_refused_with_the_reason() {
    let refused = |change: &dyn Fn(&mut Keys)| {
        let place = tempfile::tempdir().expect("a temporary folder");
        let path = place.path().join("model.gguf");
        let mut keys = keys("tied");
        change(&mut keys);
        write(&path, &keys);
        open(&path).expect_err("refused").to_string()
    };
    let set = |name: &'static str, text: &'static str| {
        move |keys: &mut Keys| {
            keys.retain(|(key, _)| *key != name);
            keys.push((name, GgufValue::Text(text.to_owned())));
        }
    };
    let without = |name: &'static str| move |keys: &mut Keys| keys.retain(|(key, _)| *key != name);
    let message = refused(&set("general.architecture", "llama"));
    assert!(message.contains("`llama`; expected `qwen3`"), "{message}");
    let message = refused(&set("qwen3.rope.scaling.type", "yarn"));
    assert!(message.contains("`yarn`"), "{message}");
    let message = refused(&set("tokenizer.ggml.pre", "llama-bpe"));
    assert!(message.contains("cut as `llama-bpe`"), "{message}");
    let message = refused(&without("qwen3.block_count"));
    assert!(
        message.contains("lacks the key `qwen3.block_count`"),
        "{message}"
    );
    let message = refused(&without("tokenizer.ggml.merges"));
    assert!(message.contains("no merges"), "{message}");
    let message = refused(&without("tokenizer.ggml.token_type"));
    assert!(message.contains("no types"), "{message}");
    let message = refused(&|keys: &mut Keys| {
        without("qwen3.block_count")(keys);
        keys.push(("qwen3.block_count", GgufValue::U32(3)));
    });
    assert!(message.contains("`model.layers.2."), "{message}");
}
