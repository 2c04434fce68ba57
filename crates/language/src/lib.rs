//! A language model of the Qwen3 class, to rewrite prompts with: a folder as published in, a chat's
//! next message out. It knows no socket, no task and no picture; the engine's thread calls it.
//!
//! **Promises.** The same model, messages, options and seed give the same text, whatever the number of
//! threads and whatever was asked before. What a message says stays text: words such as `<|im_end|>`
//! in it end nothing. Every length is bounded.

mod chat;
mod config;
mod decoder;
mod error;
mod files;
mod generation;
mod gguf;
mod memory;
mod model;
mod random;
mod sampling;
mod source;
mod tokenizer;

pub use chat::{Message, Role};
pub use config::Config;
pub use decoder::{Decoder, Session};
pub use error::Error;
pub use generation::{FinishReason, GenerationOptions, Halt, Progress, Reply};
pub use memory::Memory;
pub use model::{LanguageModel, OpenOptions};
pub use random::Random;
pub use sampling::{Sampler, Sampling};
pub use tokenizer::{TextStream, Tokenizer};
