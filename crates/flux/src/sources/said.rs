//! What a person says of a model in its `tintype.json`: which files it consists of, which model it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Component, Variant};
use crate::pipeline::Error;

/// The part of `tintype.json` that is about files. All of it is optional.
#[derive(Debug, Default, Deserialize)]
pub struct Said {
    /// Which model it is, where that does not show.
    pub kind: Option<Variant>,
    /// Where components and tokenizers lie, by the names of a diffusers folder; relative to the folder.
    #[serde(default)]
    pub files: BTreeMap<String, PathBuf>,
    /// What the configuration of a component shall say otherwise than its tensors' shapes.
    #[serde(default)]
    pub config: BTreeMap<String, Map<String, Value>>,
}

/// The folders of the tokenizers.
pub const TOKENIZERS: [&str; 2] = ["tokenizer", "tokenizer_2"];

impl Said {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// It is not such JSON, or speaks of components that there are not.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("tintype.json");
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => return Err(Error::Read { path, source }),
        };
        let broken = |reason: String| Error::BrokenFile {
            place: folder.display().to_string(),
            path: "tintype.json".to_owned(),
            reason,
        };
        let said: Self =
            serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        let components = Component::ALL.map(Component::folder);
        let known = |name: &&String| components.contains(&name.as_str());
        let of_files = said
            .files
            .keys()
            .find(|name| !known(name) && !TOKENIZERS.contains(&name.as_str()));
        if let Some(name) = of_files.or(said.config.keys().find(|name| !known(name))) {
            return Err(broken(format!(
                "`{name}` is no part of a model; `files` may name {}, {}, and `config` the first four",
                components.join(", "),
                TOKENIZERS.join(", "),
            )));
        }
        Ok(said)
    }

    /// Where a part lies, if it is said.
    pub fn path(&self, folder: &Path, part: &str) -> Option<PathBuf> {
        self.files.get(part).map(|path| folder.join(path))
    }
}
