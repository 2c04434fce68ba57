//! One file of weights and what it turned out to be.

use std::path::{Path, PathBuf};

use super::{
    Component,
    listing::{Listing, Stored},
    recognise::{Content, Part, content},
};
use crate::weights::{self, Naming, Value, Weights, split};

/// A file that was looked into; nothing but its header was read.
#[derive(Debug)]
pub struct FoundFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is.
    pub content: Content,
    /// The shapes of its tensors.
    pub stored: Stored,
    /// What it says of itself, in its own words, small and shortened: names of models stand in there.
    pub words: Vec<String>,
}

/// Texts of a file's own description that are looked at.
const SPEAKING_KEYS: [&str; 6] = [
    "general.name",
    "general.basename",
    "general.finetune",
    "modelspec.title",
    "modelspec.architecture",
    "ss_base_model_version",
];

impl FoundFile {
    /// Looks into a file; into all parts of one that is cut into several, of which the first stands for it.
    ///
    /// # Errors
    /// It cannot be read, or is no file of weights.
    pub fn open(path: &Path) -> Result<Self, weights::Error> {
        let weights = Weights::open(path)?;
        let stored: Stored = weights
            .stored()
            .map(|(name, tensor)| (name.to_owned(), tensor.shape.clone()))
            .collect();
        let content = content(&stored.keys().map(String::as_str).collect());
        let words = words(&weights);
        Ok(Self {
            path: split::first_part(path),
            content,
            stored,
            words,
        })
    }

    /// The component within it, if it holds one.
    pub fn part(&self, component: Component) -> Option<&Part> {
        match &self.content {
            Content::Parts(parts) => parts.iter().find(|part| part.component == component),
            _ => None,
        }
    }

    /// The tensors of a component as models ask for them.
    pub fn listing(&self, part: &Part) -> Listing {
        Listing::of(part, &self.stored)
    }

    /// Its name without the folder.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

fn words(weights: &Weights) -> Vec<String> {
    let Some(file) = weights.files().next() else {
        return Vec::new();
    };
    let texts = SPEAKING_KEYS
        .iter()
        .filter_map(|key| match file.metadata.get(key)? {
            Value::Text(text) => Some(text.to_lowercase()),
            _ => None,
        });
    texts.collect()
}

/// Opens one component of a file under the names that models ask for.
///
/// # Errors
/// Those of [`Weights::open`].
pub fn open_part(path: &Path, part: &Part) -> Result<Weights, weights::Error> {
    let mut weights = Weights::open(path)?;
    let stored: Stored = weights
        .stored()
        .map(|(name, tensor)| (name.to_owned(), tensor.shape.clone()))
        .collect();
    let listing = Listing::of(part, &stored);
    for name in listing.unused() {
        weights.discard_stored(name);
    }
    let label = format!("{}{:?}", part.prefix, part.naming);
    Ok(weights.named(Naming::new(label, move |wanted| listing.parts(wanted))))
}
