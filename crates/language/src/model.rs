//! A model's folder, opened: what the rest of the house uses.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use tintype_compute::Device;
use tintype_weights::Meter;

use crate::{
    Config, Decoder, Error, GenerationOptions, Halt, Memory, Message, Progress, Reply, Sampling,
    Session, Tokenizer,
    chat::{self, Marks},
    generation::{CHUNK_TOKENS, Speaker},
    source::Source,
};

/// How a model is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Tokens that there is room for, messages and answer together; never more than the model was made
    /// for. Memory is taken as they come ([`Memory`]).
    pub context_tokens: usize,
    /// A folder for packed layers, so that the next start takes them from there.
    pub packed_cache: Option<PathBuf>,
}

impl OpenOptions {
    fn context_of(&self, config: &Config) -> usize {
        self.context_tokens.min(config.max_position_embeddings)
    }
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
    /// Opens a folder as `transformers` saves it (`config.json`, `tokenizer.json`, safetensors, and
    /// `generation_config.json` if there is one), or a GGUF file.
    ///
    /// # Errors
    /// A file is missing or damaged, or the model is of another architecture.
    pub fn open(
        path: &Path,
        device: Arc<dyn Device>,
        options: &OpenOptions,
    ) -> Result<Self, Error> {
        let source = Source::open(path)?;
        let marks = Marks::of(&source.tokenizer, source.thinks)?;
        let mut ends = source.ends;
        ends.push(marks.end);
        let mut weights = source.weights;
        if let Some(folder) = &options.packed_cache {
            weights = weights.with_packed_cache(folder, &*device);
        }
        let context = options.context_of(&source.config);
        let decoder = Decoder::load(source.config, weights, device)?;
        Ok(Self {
            session: decoder.session(context),
            decoder,
            tokenizer: source.tokenizer,
            marks,
            ends,
            sampling: source.sampling,
        })
    }

    /// What the model at `path` would take, by the headers of its files. What cannot be opened is an
    /// error here already, unless its tensors hold wrong values.
    ///
    /// # Errors
    /// As [`LanguageModel::open`].
    pub fn memory(
        path: &Path,
        device: Arc<dyn Device>,
        options: &OpenOptions,
    ) -> Result<Memory, Error> {
        let source = Source::open(path)?;
        Marks::of(&source.tokenizer, source.thinks)?;
        let (meter, config) = (Meter::new(), source.config);
        Decoder::load(config.clone(), source.weights.metered(&meter), device)?;
        let context = options.context_of(&config);
        Ok(Memory::new(&config, meter.bytes(), context, CHUNK_TOKENS))
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
