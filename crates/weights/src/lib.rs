//! A model component's files, whatever the model: weights taken tensor by tensor, layers made of them,
//! and what all readers of `config.json` share.
//!
//! A model takes every tensor it needs by name and shape and then says [`Weights::finish`]. A tensor
//! that is missing, has another shape, or is left over is an error that names it: a checkpoint of
//! another architecture never loads by accident. Files are mapped, not read.

pub mod config;
mod generated;
pub mod layers;
mod packed_cache;
mod table;
mod taken;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use safetensors::{SafeTensors, tensor::TensorInfo};
use tintype_compute::MappedFile;

use generated::Generator;
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
    /// The folder holds no safetensors file, or several and no index that joins them.
    #[error(
        "{} holds {found} safetensors files; expected `model.safetensors`, \
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
    /// A file is not what its name says.
    #[error("{file} is damaged or not a safetensors file: {reason}")]
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
    #[error("{file}: tensor `{name}` is stored as {dtype}; supported are F32, F16 and BF16")]
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
    files: Vec<File>,
    tensors: BTreeMap<String, Entry>,
    rounded: bool,
    /// What makes the tensors, where there are no files.
    generator: Option<Generator>,
    /// Layers that an earlier start has packed, or that this one keeps.
    cache: Option<PackedCache>,
    /// Who watches.
    watched: Option<Watched>,
}

struct File {
    name: String,
    /// A [`Table`] may outlive the rest.
    bytes: Arc<Bytes>,
    /// Where the tensors' bytes begin.
    data_start: usize,
}

enum Bytes {
    Mapped(MappedFile),
    Embedded(&'static [u8]),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Bytes::Mapped(file) => file,
            Bytes::Embedded(bytes) => bytes,
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
    info: TensorInfo,
}

/// The names that diffusers and transformers give an unsharded file, looked for first: a folder may
/// also hold variants such as `model.fp16.safetensors`.
const SINGLE_FILES: [&str; 2] = ["diffusion_pytorch_model.safetensors", "model.safetensors"];

impl Weights {
    /// Maps the weights of one component folder, for example `…/transformer`: shards joined by a
    /// `*.safetensors.index.json`, or a single file.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let component = folder.display().to_string();
        let files = files_of(folder)?.into_iter().map(|path| {
            let bytes = MappedFile::open(&path).map_err(|source| io_error(&path, source))?;
            Ok((path.display().to_string(), Bytes::Mapped(bytes)))
        });
        Self::from_files(component, files.collect::<Result<_, Error>>()?)
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

    fn from_files(component: String, files: Vec<(String, Bytes)>) -> Result<Self, Error> {
        let mut weights = Self {
            component,
            files: Vec::new(),
            tensors: BTreeMap::new(),
            rounded: false,
            generator: None,
            cache: None,
            watched: None,
        };
        for (name, bytes) in files {
            weights.add_file(name, bytes)?;
        }
        Ok(weights)
    }

    /// Rounds every tensor that is taken from now on to bf16, as a pipeline in bf16 would hold it.
    pub fn rounded_to_bf16(mut self) -> Self {
        self.rounded = true;
        self
    }

    fn add_file(&mut self, name: String, bytes: Bytes) -> Result<(), Error> {
        let (header, metadata) =
            SafeTensors::read_metadata(bytes.get()).map_err(|error| Error::Format {
                file: name.clone(),
                reason: error.to_string(),
            })?;
        let file = self.files.len();
        self.files.push(File {
            name,
            bytes: Arc::new(bytes),
            // The header is preceded by its length in eight bytes.
            data_start: header + 8,
        });
        for (tensor, info) in metadata.tensors() {
            let entry = Entry {
                file,
                info: info.clone(),
            };
            if let Some(earlier) = self.tensors.insert(tensor.clone(), entry) {
                return Err(Error::Duplicate {
                    name: tensor,
                    first: self.files[earlier.file].name.clone(),
                    second: self.files[file].name.clone(),
                });
            }
        }
        Ok(())
    }

    /// Whether a tensor of this name is there and not taken yet.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Drops a tensor that some writers store beside the weights and the model does not need.
    pub fn discard(&mut self, name: &str) {
        self.tensors.remove(name);
    }

    /// Fails if a tensor was not taken.
    pub fn finish(self) -> Result<(), Error> {
        match self.tensors.first_key_value() {
            None => {
                if let Some(cache) = self.cache {
                    cache.finish();
                }
                Ok(())
            }
            Some((name, entry)) => Err(Error::Surplus {
                file: self.files[entry.file].name.clone(),
                name: name.clone(),
                count: self.tensors.len(),
            }),
        }
    }
}

fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

/// The weight files of a component folder.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|source| io_error(folder, source))? {
        let entry = entry.map_err(|source| io_error(folder, source))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let standard = SINGLE_FILES
        .iter()
        .find(|&&name| names.iter().any(|n| n == name));
    if let Some(name) = standard {
        return Ok(vec![folder.join(name)]);
    }
    let indices: Vec<&String> = with_ending(&names, ".safetensors.index.json");
    if let [index] = indices[..] {
        return shards(folder, index);
    }
    match with_ending(&names, ".safetensors")[..] {
        [name] => Ok(vec![folder.join(name)]),
        ref found => Err(Error::Files {
            folder: folder.to_owned(),
            found: found.len(),
        }),
    }
}

fn with_ending<'a>(names: &'a [String], ending: &str) -> Vec<&'a String> {
    names.iter().filter(|name| name.ends_with(ending)).collect()
}

/// The shards that an index names.
fn shards(folder: &Path, index: &str) -> Result<Vec<PathBuf>, Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let path = folder.join(index);
    let format = |reason: String| Error::Format {
        file: path.display().to_string(),
        reason,
    };
    let text = fs::read_to_string(&path).map_err(|source| io_error(&path, source))?;
    let index: Index = serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    // A shard lies beside its index: an index may not lead out of the model's folder.
    if let Some(name) = names.iter().find(|name| name.contains(['/', '\\'])) {
        return Err(format(format!("`{name}` is not a plain file name")));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

#[cfg(test)]
mod tests;
