//! Where a model's parts come from: a folder as `transformers` saves it, a GGUF file, or a GGUF file in
//! a folder with some of those files beside it, which then count.

use std::path::Path;

use tintype_weights::{Format, Weights};

use crate::{
    Config, Error, Sampling, Tokenizer,
    files::{self, GenerationConfig},
    gguf::{self, Gguf},
};

/// The parts of a model, its weights not yet read.
pub struct Source {
    pub config: Config,
    pub tokenizer: Tokenizer,
    /// Whether its answers begin with thoughts unless they are switched off.
    pub thinks: bool,
    /// The ids that end an answer.
    pub ends: Vec<u32>,
    /// How its makers recommend to choose words.
    pub sampling: Sampling,
    pub weights: Weights,
}

/// A chat template that can switch thoughts off names this.
const SWITCH: &str = "enable_thinking";

impl Source {
    /// Looks at everything but the weights' values.
    ///
    /// # Errors
    /// A file is missing or damaged, or the model is of another architecture.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let folder = match path.is_dir() {
            true => path,
            false => path.parent().unwrap_or(Path::new("")),
        };
        let config = files::read_if_there(&folder.join("config.json"))?;
        // What the model is comes first: weights of another one may be of any kind.
        let config = config.map(|json| Config::parse(&String::from_utf8_lossy(&json)));
        let config = config.transpose()?;
        let weights = Weights::open(path)?;
        let file = weights.files().find(|file| file.format == Format::Gguf);
        let gguf = file.map(|file| Gguf {
            name: file.name,
            metadata: file.metadata,
        });
        let config = match (config, gguf) {
            (Some(config), _) => config,
            (None, Some(gguf)) => gguf_config(gguf, &weights)?,
            // The error of the file that is missing.
            (None, None) => {
                files::read(&folder.join("config.json"))?;
                unreachable!("it was missing a moment ago; this is a bug")
            }
        };
        let (tokenizer, file) = tokenizer(folder, gguf)?;
        if tokenizer.ids() > config.vocab_size {
            return Err(Error::Tokenizer {
                file,
                reason: format!(
                    "it has {} ids, but the model has embeddings for {}; are they of one model?",
                    tokenizer.ids(),
                    config.vocab_size
                ),
            });
        }
        let generation = GenerationConfig::read(folder)?;
        let (ours, theirs) = (&config.eos_token_id, &generation.eos_token_id);
        let mut ends = [ours.as_slice(), theirs.as_slice()].concat();
        ends.extend(gguf.and_then(|gguf| gguf.end()));
        // A folder without a template is taken for one of the first Qwen3 models, which think.
        let template = files::template(folder)?;
        let template = template.or_else(|| Some(gguf?.template()?.to_owned()));
        let named = gguf.is_some();
        Ok(Self {
            config,
            tokenizer,
            thinks: template.is_none_or(|template| template.contains(SWITCH)),
            ends,
            sampling: generation.sampling(),
            weights: match named {
                true => weights.named(gguf::naming()),
                false => weights,
            },
        })
    }
}

fn gguf_config(gguf: Gguf<'_>, weights: &Weights) -> Result<Config, Error> {
    let (mut vocabulary, mut tied) = (0, true);
    for (name, tensor) in weights.stored() {
        match name {
            "token_embd.weight" => vocabulary = tensor.shape.first().copied().unwrap_or(0),
            "output.weight" => tied = false,
            _ => {}
        }
    }
    gguf.config(vocabulary, tied)
}

/// The tokenizer, and the file that it is from.
fn tokenizer(folder: &Path, gguf: Option<Gguf<'_>>) -> Result<(Tokenizer, String), Error> {
    let path = folder.join("tokenizer.json");
    let name = path.display().to_string();
    match (files::read_if_there(&path)?, gguf) {
        (Some(json), _) => Ok((Tokenizer::from_json(&name, &json)?, name)),
        (None, Some(gguf)) => Ok((gguf.tokenizer()?, gguf.name.to_owned())),
        (None, None) => Ok((Tokenizer::from_json(&name, &files::read(&path)?)?, name)),
    }
}
