//! The small model that ships inside the binary: FLUX.1 Kontext in miniature, for trying the
//! service, for testing and for CI. It speaks a small language of shapes, colours and places.
//!
//! This crate holds the files, not the arithmetic: `tintype-flux` opens them like any model. How
//! they were trained stands in `recipe/`. [`upsample`] and [`explain`] speak its language.

pub mod explain;
mod language;
mod upsample;

use tintype_flux::pipeline::ModelFiles;

pub use upsample::{upsample, upsample_edit};

/// What the model is called where a model is named.
pub const NAME: &str = "nano";

/// All files of the model: path inside the folder, with `/`, and content.
pub fn files() -> &'static [(&'static str, &'static [u8])] {
    include!(concat!(env!("OUT_DIR"), "/files.rs"))
}

/// The model, ready to be opened by a pipeline.
pub fn model() -> ModelFiles {
    ModelFiles::Embedded {
        name: NAME,
        files: files(),
    }
}
