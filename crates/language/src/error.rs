//! Why a language model cannot be used, or did not answer.

use std::{io, path::PathBuf};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the model's folder cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The weights or the configuration do not make a model.
    #[error(transparent)]
    Weights(#[from] tintype_weights::Error),
    /// `tokenizer.json` cannot be used.
    #[error("the tokenizer of the language model, {file}: {reason}")]
    Tokenizer {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The messages leave no room for an answer.
    #[error(
        "the messages come to {tokens} tokens, but the context holds {context_tokens} with the answer: \
         shorten them, or open the model with a larger context"
    )]
    TooLong {
        /// Tokens of the messages.
        tokens: usize,
        /// Tokens that there is room for.
        context_tokens: usize,
    },
    /// An option is out of its range.
    #[error("{name} is {value}; it must be {range}")]
    Option {
        /// Which one.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        range: &'static str,
    },
    /// The model computed something that is no number.
    #[error(
        "the language model's scores are not finite: its weights are damaged; fetch the model again"
    )]
    NotFinite,
}

impl From<tintype_weights::config::Error> for Error {
    fn from(error: tintype_weights::config::Error) -> Self {
        Self::Weights(error.into())
    }
}
