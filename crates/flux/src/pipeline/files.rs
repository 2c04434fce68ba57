//! Where a model's files come from: a folder on disk, single files, or the program itself.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sources::{Component, Composition, Survey};
use crate::weights::Weights;

use super::Error;

/// A model in `diffusers` layout: `model_index.json` beside one folder for each component.
#[derive(Debug, Clone)]
pub enum ModelFiles {
    /// A folder on disk. Weights are mapped, not read.
    Directory(PathBuf),
    /// Files as people have them, made to look like such a folder.
    Composed(Arc<Composition>),
    /// Files compiled into the program: path with `/`, and content.
    Embedded {
        /// What the model is called in messages.
        name: &'static str,
        /// All its files.
        files: &'static [(&'static str, &'static [u8])],
    },
}

impl ModelFiles {
    /// The model at a path: a complete diffusers folder, a folder of single files, or a transformer's
    /// file beside the others.
    ///
    /// # Errors
    /// There is no model, or one that lacks something: [`Error::Incomplete`] says what.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if is_complete_folder(path) {
            return Ok(Self::Directory(path.to_owned()));
        }
        let survey = Survey::of(path)?;
        if survey.is_empty() {
            return Err(Error::NotAModel {
                place: path.display().to_string(),
            });
        }
        Composition::of(&survey).map(|composition| Self::Composed(Arc::new(composition)))
    }

    /// What the model is called where it does not name itself: the folder's own name.
    pub fn name(&self) -> String {
        match self {
            Self::Directory(path) => path
                .canonicalize()
                .ok()
                .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into()))
                .unwrap_or_else(|| path.display().to_string()),
            Self::Composed(composition) => composition.name().to_owned(),
            Self::Embedded { name, .. } => (*name).to_owned(),
        }
    }

    /// Where the model lies, for messages.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Directory(path) => path.display().to_string(),
            Self::Composed(composition) => composition.place().display().to_string(),
            Self::Embedded { name, .. } => format!("the built-in model {name}"),
        }
    }

    /// The content of a file; `None` if there is no such file.
    pub(super) fn read(&self, path: &str) -> Result<Option<Cow<'static, [u8]>>, Error> {
        match self {
            Self::Directory(directory) => match std::fs::read(directory.join(path)) {
                Ok(bytes) => Ok(Some(Cow::Owned(bytes))),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(e) if e.kind() == io::ErrorKind::NotADirectory => Ok(None),
                Err(source) => Err(Error::Read {
                    path: directory.join(path),
                    source,
                }),
            },
            Self::Composed(composition) => Ok(composition.read(path)?.map(Cow::Owned)),
            Self::Embedded { files, .. } => Ok(files
                .iter()
                .find(|(name, _)| *name == path)
                .map(|(_, bytes)| Cow::Borrowed(*bytes))),
        }
    }

    /// The text of a file that must be there.
    pub(super) fn text(&self, path: &str) -> Result<String, Error> {
        let bytes = self.read(path)?.ok_or_else(|| Error::MissingFile {
            place: self.place(),
            path: path.to_owned(),
        })?;
        String::from_utf8(bytes.into_owned()).map_err(|_| self.broken(path, "it is not UTF-8"))
    }

    /// The weights of one component.
    pub(crate) fn weights(&self, component: &'static str) -> Result<Weights, Error> {
        let weights = match self {
            Self::Directory(directory) => Weights::open(&directory.join(component)),
            Self::Composed(composition) => composition.weights(component),
            Self::Embedded { files, .. } => Weights::from_bytes(
                files
                    .iter()
                    .filter(|(path, _)| {
                        path.strip_prefix(component)
                            .is_some_and(|rest| rest.starts_with('/'))
                            && path.ends_with(".safetensors")
                    })
                    .copied(),
            ),
        };
        weights.map_err(|source| Error::Component { component, source })
    }

    /// An error about the content of a file.
    pub(super) fn broken(&self, path: &str, reason: impl ToString) -> Error {
        Error::BrokenFile {
            place: self.place(),
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Whether a folder is one that `save_pretrained` wrote. One that names files in its `tintype.json`, or
/// holds some of the components alone, is composed.
fn is_complete_folder(path: &Path) -> bool {
    let has = |component: Component| path.join(component.folder()).join("config.json").is_file();
    path.join("model_index.json").is_file()
        && Component::ALL.into_iter().all(has)
        && !Survey::names_files(path)
}
