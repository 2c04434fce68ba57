//! The language model against transformers, and what it refuses. One program: linking takes longer than
//! compiling.

mod chat;
mod common;
mod decoder;
mod gguf;
mod memory;
mod sampling;
mod texts;
