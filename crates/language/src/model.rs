//! A model's folder, opened: what the rest of the house uses.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use tintype_compute::Device;
use tintype_weights::Weights;

use crate::{
    Config, Decoder, Error, GenerationOptions, Halt, Message, Progress, Reply, Sampling, Session,
    Tokenizer,
    chat::{self, Marks},
    files::{self, GenerationConfig},
    generation::Speaker,
};

/// How a model is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Tokens that there is room for, messages and answer together; never more than the model was made
    /// for. Memory is taken as they come.
    pub context_tokens: usize,
    /// A folder for packed layers, so that the next start takes them from there.
    pub packed_cache: Option<PathBuf>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            context_tokens: 4096,
            packed_cache: None,
        }
    }
}

/// A language model that answers chats, one after the other.
#[derive(Debug)]
pub struct LanguageModel {
    decoder: Decoder,
    tokenizer: Tokenizer,
    marks: Marks,
    ends: Vec<u32>,
    sampling: Sampling,
    /// What was read last: chats that begin alike are not read anew.
    session: Session,
}

impl LanguageModel {
    /// Opens a folder as `transformers` saves it: `config.json`, `tokenizer.json`, safetensors, and
    /// `generation_config.json` if there is one.
    ///
    /// # Errors
    /// A file is missing or damaged, or the model is of another architecture.
    pub fn open(
        folder: &Path,
        device: Arc<dyn Device>,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        let config =
            String::from_utf8_lossy(&files::read(&folder.join("config.json"))?).into_owned();
        let config = Config::parse(&config)?;
        let path = folder.join("tokenizer.json");
        let tokenizer = Tokenizer::from_json(&path.display().to_string(), &files::read(&path)?)?;
        if tokenizer.ids() > config.vocab_size {
            return Err(Error::Tokenizer {
                file: path.display().to_string(),
                reason: format!(
                    "it has {} ids, but the model has embeddings for {}; are they of one model?",
                    tokenizer.ids(),
                    config.vocab_size
                ),
            });
        }
        let marks = Marks::of(&tokenizer, files::thinks(folder)?)?;
        let generation = GenerationConfig::read(folder)?;
        let ends = [
            config.eos_token_id.as_slice(),
            generation.eos_token_id.as_slice(),
        ];
        let ends = [&ends.concat()[..], &[marks.end]].concat();
        let mut weights = Weights::open(folder)?;
        if let Some(folder) = &options.packed_cache {
            weights = weights.with_packed_cache(folder, &*device);
        }
        let context = options.context_tokens.min(config.max_position_embeddings);
        let decoder = Decoder::load(config, weights, device)?;
        Ok(Self {
            session: decoder.session(context),
            decoder,
            tokenizer,
            marks,
            ends,
            sampling: generation.sampling(),
        })
    }

    /// How the model's makers recommend to choose words.
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Tokens that there is room for, messages and answer together.
    pub fn context_tokens(&self) -> usize {
        self.session.capacity()
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Its decoder.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The ids that these messages come to, up to where the answer begins.
    ///
    /// # Errors
    /// A text cannot be spelled.
    pub fn prompt(&self, messages: &[Message]) -> Result<Vec<u32>, Error> {
        chat::prompt(&self.tokenizer, self.marks, messages)
    }

    /// The next message of a chat. `go_on` is asked before every chunk of the messages and after every
    /// token of the answer: clock and cancellation are the caller's. An answer that was halted is not an
    /// error; [`Reply::finish_reason`] tells.
    ///
    /// # Errors
    /// The messages leave no room for an answer, an option is out of its range, or the model is broken.
    pub fn chat(
        &mut self,
        messages: &[Message],
        options: &GenerationOptions,
        go_on: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<Halt>,
    ) -> Result<Reply, Error> {
        let prompt = self.prompt(messages)?;
        let speaker = Speaker {
            decoder: &self.decoder,
            tokenizer: &self.tokenizer,
            ends: &self.ends,
        };
        speaker.answer(&mut self.session, &prompt, options, go_on)
    }
}
