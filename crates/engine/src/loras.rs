//! LoRAs as a job asks for them.

use std::path::PathBuf;

/// One LoRA of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraWish {
    /// Where it is.
    pub source: LoraSource,
    /// 1 as it was trained, 0 not at all, below 0 away from it.
    pub weight: f32,
}

/// Where a LoRA is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoraSource {
    /// A file of this name, without its ending, in the engine's folder of LoRAs. What requests say: it is
    /// no path.
    Named(String),
    /// Any file: what the person at the command line says.
    File(PathBuf),
}

impl LoraWish {
    /// One of the engine's folder.
    pub fn named(name: impl Into<String>, weight: f32) -> Self {
        Self {
            source: LoraSource::Named(name.into()),
            weight,
        }
    }
}
