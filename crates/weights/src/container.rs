//! One file of weights, whatever its format: what kind of file it is shows in its first bytes, not in
//! its name. Nothing is read but the header.

mod gguf;
mod metadata;
mod reading;
mod safe;

use std::{collections::BTreeMap, ops::Range};

use tintype_compute::Encoding;

pub use metadata::{Array, Metadata, Value};

/// The formats of files that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Hugging Face's: a JSON header, then the tensors.
    Safetensors,
    /// llama.cpp's, version 2 or 3, little-endian.
    Gguf,
}

/// In which type a tensor is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One whose values can be taken.
    Encoded(Encoding),
    /// Any other, by its name: whole numbers that some writers leave beside the weights, and formats
    /// that are not understood.
    Other(String),
}

impl Kind {
    /// Its name as the format writes it.
    pub fn name(&self) -> &str {
        match self {
            Self::Encoded(encoding) => encoding.name(),
            Self::Other(name) => name,
        }
    }
}

/// Where a tensor lies in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// Its sizes as PyTorch has them: the last one varies fastest.
    pub shape: Vec<usize>,
    /// The type of its values.
    pub kind: Kind,
    /// Its bytes in the file. Empty where the size of a value is not known.
    pub bytes: Range<usize>,
}

/// The header of a file.
#[derive(Debug)]
pub(super) struct Header {
    pub format: Format,
    pub tensors: BTreeMap<String, StoredTensor>,
    pub entries: metadata::Entries,
    /// Where it ends.
    pub end: usize,
}

/// Reads the header of a file; every tensor lies within the file, and no two overlap.
///
/// # Errors
/// What is wrong with the file, as a part of a sentence.
pub(super) fn read_header(bytes: &[u8]) -> Result<Header, String> {
    match bytes {
        [b'G', b'G', b'U', b'F', ..] => gguf::read(bytes),
        _ => match impostor(bytes) {
            Some(reason) => Err(reason.to_owned()),
            None => safe::read(bytes),
        },
    }
}

/// What people have instead of weights, by its first bytes.
fn impostor(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 6] = [
        (b"", "it is empty; fetch it again"),
        (
            b"version https://git-lfs",
            "it is only a pointer to the file; fetch the file itself with `git lfs pull`",
        ),
        (
            b"PK\x03\x04",
            "it is a pickle of PyTorch, which may run code; convert it to safetensors",
        ),
        (
            b"\x80\x02",
            "it is a pickle of PyTorch, which may run code; convert it to safetensors",
        ),
        (
            b"<",
            "it is a page of the web; the download asked for something else than the file",
        ),
        (
            b"GGML",
            "it is a file of GGML, the predecessor of GGUF; convert it",
        ),
    ];
    let known = KNOWN.iter().find(|(magic, _)| match magic.is_empty() {
        true => bytes.is_empty(),
        // A safetensors header of some length may begin with any byte; its ninth is a brace.
        false => bytes.starts_with(magic) && bytes.get(8) != Some(&b'{'),
    });
    known.map(|(_, reason)| *reason)
}
