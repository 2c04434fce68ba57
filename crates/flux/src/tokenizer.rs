//! The two tokenizers of a FLUX folder: text in, a fixed number of ids out.
//!
//! Called by the pipeline as `FluxPipeline` calls them: `padding="max_length"`,
//! `truncation=True`. No prompt fails: what a vocabulary does not know becomes its unknown token
//! (T5) or falls apart into bytes (CLIP).

use serde::Deserialize;
use serde_json::{Value, json};

/// CLIP's context, where `tokenizer_config.json` names none.
const CLIP_LENGTH: usize = 77;

/// Longer contexts than this are `transformers`' way of saying "none was set".
const LONGEST_PLAUSIBLE: f64 = 1e6;

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No vocabulary at all.
    #[error("{folder} holds no tokenizer.json{alternative}")]
    Missing {
        /// `tokenizer` or `tokenizer_2`.
        folder: &'static str,
        /// What else would have done.
        alternative: &'static str,
    },
    /// A file that cannot be understood.
    #[error("{folder}/{file} cannot be read: {reason}")]
    Broken {
        /// `tokenizer` or `tokenizer_2`.
        folder: &'static str,
        /// The file's name.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The vocabulary cannot spell the text.
    #[error("the tokenizer in {folder} cannot encode the prompt: {reason}")]
    Encode {
        /// `tokenizer` or `tokenizer_2`.
        folder: &'static str,
        /// What the library says.
        reason: String,
    },
}

/// The contents of a tokenizer's folder, as far as they are there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files<'a> {
    /// `tokenizer.json`: everything in one file.
    pub tokenizer_json: Option<&'a [u8]>,
    /// `vocab.json`: CLIP's vocabulary in its first form.
    pub vocab_json: Option<&'a [u8]>,
    /// `merges.txt`: the merges that belong to it.
    pub merges_txt: Option<&'a [u8]>,
    /// `tokenizer_config.json`: padding token and longest sequence.
    pub tokenizer_config_json: Option<&'a [u8]>,
}

/// One tokenizer with its padding rule.
#[derive(Debug)]
pub struct Tokenizer {
    folder: &'static str,
    inner: tokenizers::Tokenizer,
    pad_id: u32,
    model_max_length: Option<usize>,
}

impl Tokenizer {
    /// CLIP's tokenizer, from `tokenizer.json`, or from `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Broken`] when the folder's files do not make a tokenizer.
    pub fn clip(files: Files<'_>) -> Result<Self, Error> {
        let folder = "tokenizer";
        let json = match (files.tokenizer_json, files.vocab_json, files.merges_txt) {
            (Some(json), _, _) => json.to_vec(),
            (None, Some(vocab), Some(merges)) => clip_json(folder, vocab, merges)?,
            _ => {
                return Err(Error::Missing {
                    folder,
                    alternative: ", nor vocab.json with merges.txt",
                });
            }
        };
        Self::from_json(folder, &json, files.tokenizer_config_json, "<|endoftext|>")
    }

    /// T5's tokenizer, from `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Broken`] when the folder's files do not make a tokenizer.
    pub fn t5(files: Files<'_>) -> Result<Self, Error> {
        let folder = "tokenizer_2";
        let json = files.tokenizer_json.ok_or(Error::Missing {
            folder,
            alternative: " (a spiece.model alone is not enough: save the folder with transformers once)",
        })?;
        Self::from_json(folder, json, files.tokenizer_config_json, "<pad>")
    }

    fn from_json(
        folder: &'static str,
        json: &[u8],
        config: Option<&[u8]>,
        default_pad: &str,
    ) -> Result<Self, Error> {
        let broken = |file, reason: String| Error::Broken {
            folder,
            file,
            reason,
        };
        let mut inner = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|e| broken("tokenizer.json", e.to_string()))?;
        // Both are done here, for a length that only the request knows.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| broken("tokenizer.json", e.to_string()))?;
        let config: Config = match config {
            Some(bytes) => serde_json::from_slice(bytes)
                .map_err(|e| broken("tokenizer_config.json", e.to_string()))?,
            None => Config::default(),
        };
        let pad = config.pad_token.as_ref().map_or(default_pad, Token::text);
        let pad_id = inner.token_to_id(pad).ok_or_else(|| {
            broken(
                "tokenizer.json",
                format!("the padding token {pad} is not in the vocabulary"),
            )
        })?;
        Ok(Self {
            folder,
            inner,
            pad_id,
            model_max_length: config.max_length(),
        })
    }

    /// The longest sequence that the tokenizer's own configuration names.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// How many ids there are, special tokens included.
    pub fn ids(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The length that CLIP prompts are padded to.
    pub fn clip_length(&self) -> usize {
        self.model_max_length.unwrap_or(CLIP_LENGTH)
    }

    /// Exactly `length` ids: the text's, cut so that its last special token stays, then padding.
    ///
    /// # Errors
    /// [`Error::Encode`] only where a vocabulary has no unknown token.
    pub fn encode(&self, text: &str, length: usize) -> Result<Vec<u32>, Error> {
        let encoding = self.inner.encode(text, true).map_err(|e| Error::Encode {
            folder: self.folder,
            reason: e.to_string(),
        })?;
        let mut ids = encoding.get_ids().to_vec();
        if ids.len() > length {
            let end = ids.last().copied();
            ids.truncate(length.saturating_sub(1));
            ids.extend(end);
        }
        ids.resize(length, self.pad_id);
        Ok(ids)
    }
}

/// The part of `tokenizer_config.json` that matters here.
#[derive(Debug, Default, Deserialize)]
struct Config {
    pad_token: Option<Token>,
    model_max_length: Option<f64>,
}

impl Config {
    fn max_length(&self) -> Option<usize> {
        self.model_max_length
            .filter(|length| (1.0..LONGEST_PLAUSIBLE).contains(length))
            .map(|length| length as usize)
    }
}

/// A special token, written as a string or as an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Added { content: String },
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Added { content: text } => text,
        }
    }
}

/// Writes the `tokenizer.json` that belongs to CLIP's `vocab.json` and `merges.txt`: the steps
/// are those of `CLIPTokenizer` in `transformers`.
fn clip_json(folder: &'static str, vocab: &[u8], merges: &[u8]) -> Result<Vec<u8>, Error> {
    let broken = |file, reason: String| Error::Broken {
        folder,
        file,
        reason,
    };
    let vocab: Value =
        serde_json::from_slice(vocab).map_err(|e| broken("vocab.json", e.to_string()))?;
    let merges = std::str::from_utf8(merges).map_err(|e| broken("merges.txt", e.to_string()))?;
    let merges: Vec<&str> = merges
        .lines()
        .filter(|line| !line.starts_with("#version") && !line.is_empty())
        .collect();
    let id = |token: &str| {
        vocab[token]
            .as_u64()
            .ok_or_else(|| broken("vocab.json", format!("it lacks the token {token}")))
    };
    let (start, end) = ("<|startoftext|>", "<|endoftext|>");
    let special = |token: &str, id: u64| {
        json!({
            "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    let words = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";
    let document = json!({
        "version": "1.0",
        "added_tokens": [special(start, id(start)?), special(end, id(end)?)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": words}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": {
            "type": "RobertaProcessing", "sep": [end, id(end)?], "cls": [start, id(start)?],
            "trim_offsets": false, "add_prefix_space": false,
        },
        "model": {
            "type": "BPE", "unk_token": end, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "vocab": vocab, "merges": merges,
        },
    });
    serde_json::to_vec(&document).map_err(|e| broken("vocab.json", e.to_string()))
}
