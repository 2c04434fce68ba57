//! A model component's files, whatever the model and the format: weights taken tensor by tensor, layers
//! made of them, and what all readers of `config.json` share.
//!
//! A model takes every tensor it needs by name and shape and then says [`Weights::finish`]. A tensor
//! that is missing, has another shape, or is left over is an error that names it: a checkpoint of
//! another architecture never loads by accident. Files are mapped, not read; safetensors and GGUF are
//! told apart by their content ([`Format`]), and what a file says of itself is [`Metadata`].
//!
//! Models ask by the names of diffusers and transformers. Where a file has others, joins what a model
//! takes apart, or keeps scales beside its weights, a [`Naming`] says which rows of which stored tensors
//! are meant ([`Part`]); they are packed from where they lie.

pub mod config;
mod container;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod generated;
pub mod layers;
mod meter;
mod naming;
mod packed_cache;
pub mod rules;
pub mod split;
mod table;
mod taken;
#[doc(hidden)]
pub mod test_support;
mod watch;

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use tintype_compute::Encoding;
use tintype_compute::MappedFile;

pub use container::{Array, Format, Kind, Metadata, StoredTensor, Value};
use container::{Header, read_header};
use generated::Generator;
pub use meter::Meter;
pub use naming::{Naming, Part};
use packed_cache::PackedCache;
pub use table::Table;
use watch::Watched;
pub use watch::{TakenBytes, Watch};

/// Why a model component could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder holds no file of weights, or several and no index that joins them.
    #[error(
        "{} holds {found} files of weights; expected `model.safetensors`, \
         `diffusion_pytorch_model.safetensors`, one file of any name, or shards with their \
         `*.safetensors.index.json`",
        folder.display()
    )]
    Files {
        /// The folder.
        folder: PathBuf,
        /// How many files it holds.
        found: usize,
    },
    /// A part of a file that is cut into several is not there.
    #[error(
        "{} is missing: the weights are cut into {count} files, and all of them must lie in one folder. \
         Fetch it, too", part.display()
    )]
    MissingPart {
        /// The part.
        part: PathBuf,
        /// How many there should be.
        count: usize,
    },
    /// A file is not what its name says.
    #[error("{file} is damaged or neither a safetensors file nor GGUF: {reason}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that the configuration asks for is not there.
    #[error("{component} has no tensor `{name}` (expected with shape {expected:?})")]
    Missing {
        /// The folder or file list that was searched.
        component: String,
        /// The tensor.
        name: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("{file}: tensor `{name}` has shape {found:?}, but config.json asks for {expected:?}")]
    Shape {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// The shape that the configuration asks for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor is stored in a type that is not supported.
    #[error(
        "{file}: tensor `{name}` is stored as {dtype}; supported are {}",
        Encoding::ALL.map(Encoding::name).join(", ")
    )]
    Dtype {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// The type in the file.
        dtype: String,
    },
    /// A tensor that the model does not use.
    #[error(
        "{file}: tensor `{name}` belongs to no layer of this model ({count} such in all); \
         is config.json the one of these weights?"
    )]
    Surplus {
        /// The file.
        file: String,
        /// The first such tensor by name.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// Two shards carry the same tensor.
    #[error("tensor `{name}` is stored twice, in {first} and in {second}")]
    Duplicate {
        /// The tensor.
        name: String,
        /// One file.
        first: String,
        /// The other file.
        second: String,
    },
    /// Whoever watched it load wants it no more.
    #[error("loading was stopped")]
    Stopped,
    /// The component's config.json does not describe a model that this program knows.
    #[error(transparent)]
    Config(#[from] config::Error),
}

/// The tensors of one model component, each to be taken once.
pub struct Weights {
    component: String,
    /// What was opened, if it lies on the disk: packed layers are kept for it.
    place: Option<PathBuf>,
    files: Vec<File>,
    tensors: BTreeMap<String, Entry>,
    naming: Option<Naming>,
    rounded: bool,
    /// What makes the tensors, where there are no files.
    generator: Option<Generator>,
    /// Layers that an earlier start has packed, or that this one keeps.
    cache: Option<PackedCache>,
    /// Who counts, where nothing is read.
    meter: Option<Meter>,
    /// Who watches.
    watched: Option<Watched>,
}

struct File {
    name: String,
    /// A [`Table`] may outlive the rest.
    bytes: Arc<Bytes>,
    /// The tensors are in [`Weights::tensors`] instead.
    header: Header,
}

/// One of the files that were opened.
#[derive(Clone, Copy, Debug)]
pub struct FileView<'a> {
    /// Its path, or its name in the program.
    pub name: &'a str,
    /// What it is.
    pub format: Format,
    /// What it says of itself.
    pub metadata: Metadata<'a>,
    /// All of it.
    pub size_bytes: usize,
}

enum Bytes {
    Mapped(MappedFile),
    Embedded(&'static [u8]),
    Owned(Vec<u8>),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Bytes::Mapped(file) => file,
            Bytes::Embedded(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
        }
    }

    fn release(&self, range: Range<usize>) {
        if let Bytes::Mapped(file) = self {
            file.release(range);
        }
    }
}

struct Entry {
    file: usize,
    tensor: StoredTensor,
    /// Rows that were taken.
    taken: Vec<Range<usize>>,
    /// Whether nothing of it is left to be taken.
    used: bool,
}

impl Weights {
    /// Maps the weights at a path: a file of any name, or a component folder such as `…/transformer`
    /// with a single file, or with shards joined by a `*.safetensors.index.json`. Of a GGUF file in parts
    /// ([`split`]), any of them stands for all; no tensor may be in two.
    ///
    /// # Errors
    /// There is nothing that can be read, or a file is damaged: a header that contradicts itself, ends
    /// early, or speaks of bytes that are not there.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let files = files::files_of(path)?;
        Self::open_as(path, &files)
    }

    fn open_as(place: &Path, files: &[PathBuf]) -> Result<Self, Error> {
        let mapped = files.iter().map(|path| {
            let bytes = MappedFile::open(path).map_err(|source| io_error(path, source))?;
            Ok((path.display().to_string(), Bytes::Mapped(bytes)))
        });
        let mut weights = Self::from_files(
            place.display().to_string(),
            mapped.collect::<Result<_, Error>>()?,
        )?;
        weights.place = Some(place.to_owned());
        Ok(weights)
    }

    /// The same over files that are compiled into the program: `(name for messages, content)`.
    pub fn from_bytes(
        files: impl IntoIterator<Item = (impl Into<String>, &'static [u8])>,
    ) -> Result<Self, Error> {
        let files: Vec<(String, Bytes)> = files
            .into_iter()
            .map(|(name, bytes)| (name.into(), Bytes::Embedded(bytes)))
            .collect();
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        Self::from_files(names.join(", "), files)
    }

    /// The same over a file in memory.
    fn from_owned(name: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        Self::from_files(
            name.to_owned(),
            vec![(name.to_owned(), Bytes::Owned(bytes))],
        )
    }

    fn from_files(component: String, files: Vec<(String, Bytes)>) -> Result<Self, Error> {
        let mut weights = Self {
            component,
            place: None,
            files: Vec::new(),
            tensors: BTreeMap::new(),
            naming: None,
            rounded: false,
            generator: None,
            cache: None,
            meter: None,
            watched: None,
        };
        for (name, bytes) in files {
            weights.add_file(name, bytes)?;
        }
        split::check(&weights.files, weights.tensors.len())?;
        Ok(weights)
    }

    /// Rounds every tensor that is taken from now on to bf16, as a pipeline in bf16 would hold it.
    pub fn rounded_to_bf16(mut self) -> Self {
        self.rounded = true;
        self
    }

    /// Finds tensors by other names than their own, from now on.
    pub fn named(mut self, naming: Naming) -> Self {
        self.naming = Some(naming);
        self
    }

    fn add_file(&mut self, name: String, bytes: Bytes) -> Result<(), Error> {
        let mut header = read_header(bytes.get()).map_err(|reason| Error::Format {
            file: name.clone(),
            reason,
        })?;
        let file = self.files.len();
        let tensors = std::mem::take(&mut header.tensors);
        self.files.push(File {
            name,
            bytes: Arc::new(bytes),
            header,
        });
        for (name, tensor) in tensors {
            let entry = Entry {
                file,
                tensor,
                taken: Vec::new(),
                used: false,
            };
            if let Some(earlier) = self.tensors.insert(name.clone(), entry) {
                return Err(Error::Duplicate {
                    name,
                    first: self.files[earlier.file].name.clone(),
                    second: self.files[file].name.clone(),
                });
            }
        }
        Ok(())
    }

    /// The files that were opened.
    pub fn files(&self) -> impl Iterator<Item = FileView<'_>> {
        self.files.iter().map(|file| FileView {
            name: &file.name,
            format: file.header.format,
            metadata: Metadata {
                bytes: file.bytes.get(),
                entries: &file.header.entries,
            },
            size_bytes: file.bytes.get().len(),
        })
    }

    /// Every stored tensor under its own name, sorted, taken or not.
    pub fn stored(&self) -> impl Iterator<Item = (&str, &StoredTensor)> {
        let tensors = self.tensors.iter();
        tensors.map(|(name, entry)| (name.as_str(), &entry.tensor))
    }

    /// Whether a tensor that a model may ask for by this name is there and not taken yet.
    pub fn contains(&self, name: &str) -> bool {
        let parts = self.parts(name);
        let free = |part: &Part| {
            let entry = self.tensors.get(&part.tensor);
            entry.is_some_and(|entry| entry.is_free(part.rows.clone()))
        };
        !parts.is_empty() && parts.iter().all(free)
    }

    /// Drops a tensor that some writers store beside the weights and the model does not need.
    pub fn discard(&mut self, name: &str) {
        for part in self.parts(name) {
            if part.rows.is_none() {
                self.discard_stored(&part.tensor);
            }
        }
    }

    /// The same by the tensor's own name in the file.
    pub fn discard_stored(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// Fails if a tensor, or a row of one, was not taken.
    ///
    /// # Errors
    /// [`Error::Surplus`]
    pub fn finish(self) -> Result<(), Error> {
        let mut left = self.tensors.iter().filter(|(_, entry)| !entry.used);
        let Some((name, entry)) = left.next() else {
            if let Some(cache) = self.cache {
                cache.finish();
            }
            return Ok(());
        };
        let name = match entry.rest() {
            Some(rows) => format!("{name}, rows {} to {}", rows.start, rows.end),
            None => name.clone(),
        };
        Err(Error::Surplus {
            file: self.files[entry.file].name.clone(),
            name,
            count: 1 + left.count(),
        })
    }
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
