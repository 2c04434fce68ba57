//! The small files of a model's folder, beside its weights and its tokenizer.

use std::{fs, io, path::Path};

use serde::Deserialize;

use crate::{Error, Sampling, config::Ids};

/// No file of these is larger: a tokenizer of 150,000 words takes 11 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Reads a file that has to be there.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let io_error = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let size = fs::metadata(path).map_err(io_error)?.len();
    if size > MAX_FILE_BYTES {
        return Err(io_error(io::Error::other(format!(
            "it has {size} bytes, more than any such file"
        ))));
    }
    fs::read(path).map_err(io_error)
}

/// Reads a file that may be missing.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What `generation_config.json` recommends.
#[derive(Debug, Default, Deserialize)]
pub struct GenerationConfig {
    #[serde(default)]
    pub eos_token_id: Ids,
    do_sample: Option<bool>,
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
}

impl GenerationConfig {
    /// Reads the one in `folder`, if there is one.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("generation_config.json");
        let Some(bytes) = read_if_there(&path)? else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&bytes).map_err(|source| Error::Io {
            path,
            source: source.into(),
        })
    }

    /// Its settings over our own.
    pub fn sampling(&self) -> Sampling {
        let own = Sampling::default();
        Sampling {
            temperature: match self.do_sample {
                Some(false) => 0.0,
                _ => self.temperature.unwrap_or(own.temperature),
            },
            top_k: self.top_k.unwrap_or(own.top_k),
            top_p: self.top_p.unwrap_or(own.top_p),
            min_p: self.min_p.unwrap_or(own.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(own.repetition_penalty),
            seed: own.seed,
        }
    }
}

/// The chat's template, if the folder has one.
pub fn template(folder: &Path) -> Result<Option<String>, Error> {
    #[derive(Deserialize)]
    struct TokenizerConfig {
        chat_template: Option<serde_json::Value>,
    }
    let template = read_if_there(&folder.join("chat_template.jinja"))?;
    if let Some(template) = template {
        return Ok(Some(String::from_utf8_lossy(&template).into_owned()));
    }
    let path = folder.join("tokenizer_config.json");
    let Some(bytes) = read_if_there(&path)? else {
        return Ok(None);
    };
    let config: TokenizerConfig =
        serde_json::from_slice(&bytes).map_err(|error| Error::Tokenizer {
            file: path.display().to_string(),
            reason: error.to_string(),
        })?;
    // Older files hold several templates by name.
    Ok(config.chat_template.map(|template| template.to_string()))
}
