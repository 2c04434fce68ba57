//! T5's tokenizer out of a GGUF file: llama.cpp's converter keeps the whole vocabulary in there.
//!
//! What is made is the `tokenizer.json` that transformers keeps for T5: a unigram model over
//! SentencePiece's pieces (`tokenizer.ggml.*` in ggml's `docs/gguf.md`).

use std::path::Path;

use tokenizers::{
    AddedToken, Tokenizer,
    models::unigram::Unigram,
    normalizers::Precompiled,
    pre_tokenizers::{
        metaspace::{Metaspace, PrependScheme},
        sequence::Sequence,
        whitespace::WhitespaceSplit,
    },
    processors::template::TemplateProcessing,
};

use super::{Component, Naming, Survey};
use crate::pipeline::Error;
use crate::weights::{Metadata, Value, Weights};

/// SentencePiece's mark for the beginning of a word.
const WORD: char = '▁';

/// Types of pieces, as SentencePiece numbers them.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
const UNUSED: u64 = 5;

impl Survey {
    /// Whether T5's file holds its tokenizer.
    pub(super) fn has_embedded_tokenizer(&self) -> bool {
        self.t5_gguf()
            .and_then(|path| Weights::open(path).ok())
            .is_some_and(|weights| {
                let file = weights.files().next();
                file.is_some_and(|file| file.metadata.get("tokenizer.ggml.tokens").is_some())
            })
    }

    /// The `tokenizer.json` of T5's file, if it holds a tokenizer.
    ///
    /// # Errors
    /// It holds one that cannot be used.
    pub(super) fn embedded_tokenizer(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some(path) = self.t5_gguf() else {
            return Ok(None);
        };
        let unusable = |reason: String| Error::Unusable {
            path: path.to_owned(),
            reason: format!("its tokenizer cannot be used: {reason}"),
        };
        let weights = Weights::open(path).map_err(|error| unusable(error.to_string()))?;
        let Some(file) = weights.files().next() else {
            return Ok(None);
        };
        if file.metadata.get("tokenizer.ggml.tokens").is_none() {
            return Ok(None);
        }
        tokenizer_json(&file.metadata).map(Some).map_err(unusable)
    }

    fn t5_gguf(&self) -> Option<&Path> {
        let (file, part) = self.file_of(Component::T5)?;
        (part.naming == Naming::LlamaCpp).then_some(file.path.as_path())
    }
}

/// A `tokenizer.json` out of a file's own description.
fn tokenizer_json(metadata: &Metadata<'_>) -> Result<Vec<u8>, String> {
    let kind = metadata.get("tokenizer.ggml.model");
    let kind = kind.as_ref().and_then(Value::as_text).unwrap_or("");
    if kind != "t5" {
        return Err(format!("it is of the kind `{kind}`, not `t5`"));
    }
    let pieces = Pieces::read(metadata)?;
    let id = |key: &str, default: u64| {
        let value = metadata.get(key).and_then(|value| value.as_unsigned());
        value.unwrap_or(default) as usize
    };
    let end = id("tokenizer.ggml.eos_token_id", 1);
    let unknown = id("tokenizer.ggml.unknown_token_id", 2);
    let end_piece = pieces
        .name(end)
        .ok_or("its end of text is no piece")?
        .to_owned();
    let specials = pieces.specials();
    let model =
        Unigram::from(pieces.scored, Some(unknown), false).map_err(|error| error.to_string())?;
    let mut tokenizer = Tokenizer::new(model);
    if let Some(map) = charsmap(metadata) {
        let normalizer = Precompiled::from(&map).map_err(|error| error.to_string())?;
        tokenizer
            .with_normalizer(Some(normalizer))
            .map_err(|error| error.to_string())?;
    }
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
        WhitespaceSplit.into(),
        Metaspace::new(WORD, PrependScheme::Always, true).into(),
    ])));
    let template = TemplateProcessing::builder()
        .try_single(format!("$A {end_piece}"))
        .map_err(|error| error.to_string())?
        .special_tokens(vec![(end_piece, end as u32)])
        .build()
        .map_err(|error| error.to_string())?;
    tokenizer.with_post_processor(Some(template));
    tokenizer
        .add_special_tokens(specials)
        .map_err(|error| error.to_string())?;
    let json = tokenizer
        .to_string(false)
        .map_err(|error| error.to_string())?;
    Ok(json.into_bytes())
}

/// The vocabulary.
struct Pieces {
    scored: Vec<(String, f64)>,
    types: Vec<u64>,
}

impl Pieces {
    fn read(metadata: &Metadata<'_>) -> Result<Self, String> {
        let array = |key: &str| {
            let value = metadata.get(key);
            match value {
                Some(Value::Array(array)) => Ok(array),
                _ => Err(format!("it has no list `{key}`")),
            }
        };
        let names = array("tokenizer.ggml.tokens")?
            .texts()
            .ok_or("a piece is not UTF-8")?;
        let scores = array("tokenizer.ggml.scores")?;
        let types = array("tokenizer.ggml.token_type")?;
        if scores.len() != names.len() || types.len() != names.len() {
            return Err(format!(
                "it has {} pieces, {} scores and {} types",
                names.len(),
                scores.len(),
                types.len()
            ));
        }
        let types: Vec<u64> = types
            .iter()
            .map(|value| value.as_unsigned().unwrap_or(0))
            .collect();
        // Converters fill the vocabulary up to the embedding's size with pieces that nothing uses.
        let used = types
            .iter()
            .rposition(|kind| *kind != UNUSED)
            .map_or(0, |last| last + 1);
        let scores = scores.iter().map(|value| value.as_float().unwrap_or(0.0));
        let scored = names.into_iter().map(str::to_owned).zip(scores);
        Ok(Self {
            scored: scored.take(used).collect(),
            types: types[..used].to_vec(),
        })
    }

    fn name(&self, id: usize) -> Option<&str> {
        self.scored.get(id).map(|(name, _)| name.as_str())
    }

    /// Pieces that stand for themselves and are not text.
    fn specials(&self) -> Vec<AddedToken> {
        let pairs = self.scored.iter().zip(&self.types);
        let special = pairs.filter(|(_, kind)| [CONTROL, USER_DEFINED].contains(kind));
        special
            .map(|((name, _), _)| AddedToken::from(name.clone(), true))
            .collect()
    }
}

/// How characters are rewritten first: SentencePiece's compiled table.
fn charsmap(metadata: &Metadata<'_>) -> Option<Vec<u8>> {
    let value = metadata.get("tokenizer.ggml.precompiled_charsmap")?;
    let bytes: Vec<u8> = match value {
        Value::Array(array) => array
            .iter()
            .filter_map(|value| match value {
                Value::Signed(byte) => Some(byte as u8),
                value => value.as_unsigned().and_then(|byte| u8::try_from(byte).ok()),
            })
            .collect(),
        Value::Text(text) => text.as_bytes().to_vec(),
        Value::Bytes(bytes) => bytes.to_vec(),
        _ => return None,
    };
    (!bytes.is_empty()).then_some(bytes)
}
