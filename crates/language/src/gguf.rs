//! A GGUF file as llama.cpp's converter writes it of such a model: configuration, tokenizer and names
//! of the tensors (gguf-py, constants.py).

use serde_json::{Map, Value, json};
use tintype_weights::{Metadata, Naming, Part, config::Error as ConfigError};

use crate::{Config, Error, Tokenizer};

/// The architecture, and the beginning of its keys.
const ARCHITECTURE: &str = "qwen3";

/// Types of words in `tokenizer.ggml.token_type`.
const NORMAL: u64 = 1;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// How Qwen's tokenizers cut a text before its words are joined: `tokenizer.ggml.pre` names it only.
const CUT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What a file says that is asked for with every model.
#[derive(Debug, Clone, Copy)]
pub struct Gguf<'a> {
    /// The file's name for messages.
    pub name: &'a str,
    /// What it says of itself.
    pub metadata: Metadata<'a>,
}

impl Gguf<'_> {
    /// What `config.json` would say. `vocabulary` is the number of rows of the embeddings, `tied`
    /// whether the file has no `output.weight`.
    ///
    /// # Errors
    /// A key is missing, or the model is of another architecture.
    pub fn config(&self, vocabulary: usize, tied: bool) -> Result<Config, Error> {
        let refused = |reason: String| ConfigError {
            component: "language model",
            reason: format!("{}: {reason}", self.name),
        };
        let architecture = self.metadata.text("general.architecture");
        if architecture != Some(ARCHITECTURE) {
            let found = architecture.unwrap_or("not named");
            return Err(refused(format!(
                "its architecture is `{found}`; expected `{ARCHITECTURE}`"
            ))
            .into());
        }
        let mut config = Map::new();
        config.insert("model_type".to_owned(), ARCHITECTURE.into());
        config.insert("vocab_size".to_owned(), vocabulary.into());
        config.insert("tie_word_embeddings".to_owned(), tied.into());
        let key = |name: &str| format!("{ARCHITECTURE}.{name}");
        for (name, ours, needed) in KEYS {
            match self.metadata.get(&key(name)) {
                Some(value) => config.insert(ours.to_owned(), number(&value)),
                None if needed => {
                    return Err(refused(format!("it lacks the key `{}`", key(name))).into());
                }
                None => None,
            };
        }
        if let Some(kind) = self
            .metadata
            .text(&key("rope.scaling.type"))
            .filter(|&k| k != "none")
        {
            config.insert("rope_scaling".to_owned(), json!({ "rope_type": kind }));
        }
        Ok(Config::parse(&Value::Object(config).to_string())?)
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// It is missing, or of another kind.
    pub fn tokenizer(&self) -> Result<Tokenizer, Error> {
        let broken = |reason: &str| Error::Tokenizer {
            file: self.name.to_owned(),
            reason: reason.to_owned(),
        };
        let text = |key: &str| self.metadata.text(key).unwrap_or("not named");
        let (kind, cut) = (text("tokenizer.ggml.model"), text("tokenizer.ggml.pre"));
        if (kind, cut) != ("gpt2", "qwen2") {
            return Err(broken(&format!(
                "its tokenizer is `{kind}`, cut as `{cut}`; expected `gpt2` and `qwen2`. \
                 A tokenizer.json beside the file is used in its place"
            )));
        }
        let texts = |key: &str| self.metadata.array(key).and_then(|array| array.texts());
        let words = texts("tokenizer.ggml.tokens").ok_or_else(|| broken("it has no words"))?;
        let merges = texts("tokenizer.ggml.merges").ok_or_else(|| broken("it has no merges"))?;
        let kinds = self.metadata.array("tokenizer.ggml.token_type");
        let kinds: Vec<Option<u64>> = match kinds {
            Some(kinds) if kinds.len() == words.len() => {
                kinds.iter().map(|kind| kind.as_unsigned()).collect()
            }
            _ => return Err(broken("its words have no types")),
        };
        let (mut vocabulary, mut added) = (Map::new(), Vec::new());
        for (id, (word, kind)) in words.into_iter().zip(kinds).enumerate() {
            match kind {
                Some(NORMAL) => {
                    vocabulary.insert(word.to_owned(), id.into());
                }
                Some(kind @ (CONTROL | USER_DEFINED)) => added.push(json!({
                    "id": id, "content": word, "special": kind == CONTROL, "normalized": false,
                    "single_word": false, "lstrip": false, "rstrip": false,
                })),
                // Rows of the embeddings without a word.
                _ => {}
            }
        }
        let document = json!({
            "version": "1.0",
            "added_tokens": added,
            "normalizer": { "type": "NFC" },
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": CUT }, "behavior": "Isolated", "invert": false },
                { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
            ] },
            "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
            "model": { "type": "BPE", "vocab": vocabulary, "merges": merges },
        });
        Tokenizer::from_json(self.name, document.to_string().as_bytes())
    }

    /// The word that ends an answer, if the file names one.
    pub fn end(&self) -> Option<u32> {
        let id = self.metadata.unsigned("tokenizer.ggml.eos_token_id")?;
        u32::try_from(id).ok()
    }

    /// The chat's template, if the file has one.
    pub fn template(&self) -> Option<&str> {
        self.metadata.text("tokenizer.chat_template")
    }
}

/// Keys behind the architecture's name, what `config.json` calls them, and whether a file must have
/// them.
const KEYS: [(&str, &str, bool); 9] = [
    ("block_count", "num_hidden_layers", true),
    ("embedding_length", "hidden_size", true),
    ("feed_forward_length", "intermediate_size", true),
    ("attention.head_count", "num_attention_heads", true),
    ("attention.head_count_kv", "num_key_value_heads", false),
    ("attention.key_length", "head_dim", true),
    ("attention.layer_norm_rms_epsilon", "rms_norm_eps", true),
    ("rope.freq_base", "rope_theta", false),
    ("context_length", "max_position_embeddings", true),
];

fn number(value: &tintype_weights::Value<'_>) -> Value {
    match value.as_unsigned() {
        Some(whole) => whole.into(),
        None => value.as_float().into(),
    }
}

/// The names of the tensors.
pub fn naming() -> Naming {
    Naming::new("qwen3-gguf", |name| {
        stored_name(name).map(Part::whole).into_iter().collect()
    })
}

/// Parts of a block: transformers' name, llama.cpp's.
const BLOCK_PARTS: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

fn stored_name(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    let stored = match module {
        "model.embed_tokens" => "token_embd".to_owned(),
        "model.norm" => "output_norm".to_owned(),
        "lm_head" => "output".to_owned(),
        _ => {
            let (block, part) = module.strip_prefix("model.layers.")?.split_once('.')?;
            let (_, stored) = BLOCK_PARTS.iter().find(|(ours, _)| *ours == part)?;
            format!("blk.{block}.{stored}")
        }
    };
    Some(format!("{stored}.{kind}"))
}
