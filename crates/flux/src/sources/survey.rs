//! What lies in a folder, and which of it makes up a model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{
    Component, FoundFile, Variant,
    recognise::{Content, Part},
    said::{Said, TOKENIZERS},
};
use crate::pipeline::Error;
use crate::weights::{self, split};

/// Files of one folder that are looked into; more is a mistake, such as a folder of downloads.
const MAX_FILES: usize = 200;

/// Endings of files of weights.
const ENDINGS: [&str; 3] = ["safetensors", "sft", "gguf"];

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A component's folder of a diffusers folder, with a `config.json`.
    Folder(PathBuf),
    /// A file, or a part of one.
    File {
        /// The file.
        path: PathBuf,
        /// Which part.
        part: Part,
    },
}

impl Source {
    /// The folder or file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::File { path, .. } => path,
        }
    }
}

/// What was found at a path.
#[derive(Debug)]
pub struct Survey {
    /// The path that was given.
    pub place: PathBuf,
    /// The folder whose contents count.
    pub folder: PathBuf,
    /// What its `tintype.json` says.
    pub said: Said,
    /// Files of weights that were looked into.
    pub files: Vec<FoundFile>,
    /// Files that look like weights and are none.
    pub unreadable: Vec<(PathBuf, weights::Error)>,
    /// What was chosen.
    pub sources: BTreeMap<Component, Source>,
    /// The folder of each tokenizer.
    pub tokenizers: BTreeMap<&'static str, PathBuf>,
    /// Why a component was not chosen, where there is more to say than that it is not there.
    pub remarks: Vec<String>,
}

impl Survey {
    /// Looks at a folder, or at a transformer's file and the folder that it lies in.
    ///
    /// # Errors
    /// The path cannot be read, holds something else, or its `tintype.json` cannot be followed. That
    /// something is lacking is no error yet.
    pub fn of(place: &Path) -> Result<Self, Error> {
        let is_file = place.is_file();
        let folder = match is_file {
            true => place
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty()),
            false => Some(place),
        };
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        let mut survey = Self {
            place: place.to_owned(),
            said: Said::read(&folder)?,
            folder,
            files: Vec::new(),
            unreadable: Vec::new(),
            sources: BTreeMap::new(),
            tokenizers: BTreeMap::new(),
            remarks: Vec::new(),
        };
        survey.follow_what_is_said()?;
        if is_file {
            survey.follow_the_given_file()?;
        }
        survey.look_around()?;
        for component in Component::ALL {
            survey.choose(component)?;
        }
        survey.find_tokenizers();
        Ok(survey)
    }

    /// Whether the `tintype.json` of a folder names files.
    pub fn names_files(folder: &Path) -> bool {
        Said::read(folder).is_ok_and(|said| !said.files.is_empty())
    }

    /// Whether nothing was found that belongs to a model, or looks as if it should.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.files.is_empty() && self.unreadable.is_empty()
    }

    /// The file that a component comes from, if it is one.
    pub fn file_of(&self, component: Component) -> Option<(&FoundFile, &Part)> {
        match self.sources.get(&component)? {
            Source::Folder(_) => None,
            Source::File { path, part } => {
                let file = self.files.iter().find(|file| file.path == *path)?;
                Some((file, part))
            }
        }
    }

    /// Which model the transformer is, if there is one.
    pub fn variant(&self) -> Option<Variant> {
        if self.said.kind.is_some() {
            return self.said.kind;
        }
        let (file, part) = self.file_of(Component::Transformer)?;
        let guided = file
            .listing(part)
            .shape("time_text_embed.guidance_embedder.linear_1.weight")
            .is_some();
        let mut words = file.words.clone();
        words.push(file.name().to_lowercase());
        // A library's folder is called after the model.
        let folder = self
            .folder
            .file_name()
            .map(|name| name.to_string_lossy().to_lowercase());
        words.extend(folder);
        Some(Variant::guess(guided, words.iter().map(String::as_str)))
    }

    fn follow_what_is_said(&mut self) -> Result<(), Error> {
        for component in Component::ALL {
            let Some(path) = self.said.path(&self.folder, component.folder()) else {
                continue;
            };
            if path.is_dir() {
                self.sources.insert(component, Source::Folder(path));
                continue;
            }
            let file = self.open(&path)?;
            let part = file.part(component).cloned().ok_or_else(|| {
                let found = describe(&file.content);
                self.broken_said(format!(
                    "files.{} names {}, which holds {found}, no {}",
                    component.folder(),
                    path.display(),
                    component.description(),
                ))
            })?;
            let path = file.path.clone();
            self.files.push(file);
            self.sources.insert(component, Source::File { path, part });
        }
        Ok(())
    }

    /// A file was given: the transformer is in it, and whatever else it holds.
    fn follow_the_given_file(&mut self) -> Result<(), Error> {
        let file = self.open(&self.place)?;
        if file.part(Component::Transformer).is_none() {
            let what = describe(&file.content);
            return Err(Error::Unusable {
                path: self.place.clone(),
                reason: match file.content {
                    Content::Parts(_) => format!(
                        "it holds {what}: give the transformer's file, or the folder that holds it and this"
                    ),
                    _ => format!("it is {what}"),
                },
            });
        }
        if let Some(part) = file.part(Component::Transformer).cloned() {
            let path = file.path.clone();
            self.sources
                .entry(Component::Transformer)
                .or_insert(Source::File { path, part });
        }
        self.files.push(file);
        Ok(())
    }

    /// Looks into every file of the folder that could be weights, if something is left to find.
    fn look_around(&mut self) -> Result<(), Error> {
        let read = |source| Error::Read {
            path: self.folder.clone(),
            source,
        };
        let entries = std::fs::read_dir(&self.folder).map_err(read)?;
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                let ending = path.extension().and_then(|ending| ending.to_str());
                ending.is_some_and(|ending| ENDINGS.contains(&ending)) && path.is_file()
            })
            .collect();
        for path in &mut paths {
            *path = split::first_part(path);
        }
        paths.sort();
        paths.dedup();
        if paths.len() > MAX_FILES {
            self.remarks.push(format!(
                "only the first {MAX_FILES} of {} files of weights were looked into",
                paths.len()
            ));
            paths.truncate(MAX_FILES);
        }
        for path in paths {
            if self.files.iter().any(|file| same(&file.path, &path)) {
                continue;
            }
            match FoundFile::open(&path) {
                Ok(file) => self.files.push(file),
                Err(error) => self.unreadable.push((path, error)),
            }
        }
        Ok(())
    }

    fn choose(&mut self, component: Component) -> Result<(), Error> {
        if self.sources.contains_key(&component) {
            return Ok(());
        }
        let folder = self.folder.join(component.folder());
        if folder.join("config.json").is_file() {
            self.sources.insert(component, Source::Folder(folder));
            return Ok(());
        }
        let mut candidates = self.candidates(component);
        if candidates.len() > 1 {
            candidates.retain(|(file, part)| self.fits(file, part));
        }
        match candidates[..] {
            [] => {}
            [(file, part)] => {
                let source = Source::File {
                    path: file.path.clone(),
                    part: part.clone(),
                };
                self.sources.insert(component, source);
            }
            _ => {
                let names: Vec<String> = candidates.iter().map(|(file, _)| file.name()).collect();
                return Err(Error::Unusable {
                    path: self.place.clone(),
                    reason: ambiguous(component, &names),
                });
            }
        }
        Ok(())
    }

    /// Files that hold a component. Of a checkpoint of several components the others count where no
    /// file of their own is there.
    fn candidates(&self, component: Component) -> Vec<(&FoundFile, &Part)> {
        let holding = self
            .files
            .iter()
            .filter_map(|file| Some((file, file.part(component)?)));
        let (shared, alone): (Vec<_>, Vec<_>) =
            holding.partition(|(file, _)| file.part(Component::Transformer).is_some());
        match component {
            Component::Transformer => shared,
            _ if alone.is_empty() => {
                let transformer = self.sources.get(&Component::Transformer).map(Source::path);
                shared
                    .into_iter()
                    .filter(|(file, _)| transformer == Some(&file.path))
                    .collect()
            }
            _ => alone,
        }
    }

    /// Whether a component's width is what the transformer asks for.
    fn fits(&self, file: &FoundFile, part: &Part) -> bool {
        let Some((transformer, transformer_part)) = self.file_of(Component::Transformer) else {
            return true;
        };
        let transformer = transformer.listing(transformer_part);
        let listing = file.listing(part);
        let size = |listing: &super::Listing, name: &str, axis: usize| {
            listing
                .shape(name)
                .and_then(|shape| shape.get(axis).copied())
        };
        let (wanted, found) = match part.component {
            Component::Transformer => return true,
            Component::Vae => (
                size(&transformer, "x_embedder.weight", 1),
                // Means and variances of 2 × 2 latents.
                size(&listing, "encoder.conv_out.weight", 0).map(|channels| channels / 2 * 4),
            ),
            Component::Clip => (
                size(
                    &transformer,
                    "time_text_embed.text_embedder.linear_1.weight",
                    1,
                ),
                size(&listing, "text_model.final_layer_norm.weight", 0)
                    .or_else(|| size(&listing, "final_layer_norm.weight", 0)),
            ),
            Component::T5 => (
                size(&transformer, "context_embedder.weight", 1),
                size(&listing, "encoder.final_layer_norm.weight", 0),
            ),
        };
        wanted == found
    }

    /// Beside the model, or beside the text encoder that it belongs to.
    fn find_tokenizers(&mut self) {
        let owners = [Component::Clip, Component::T5];
        for (name, owner) in TOKENIZERS.into_iter().zip(owners) {
            let said = self.said.path(&self.folder, name);
            let source = self.sources.get(&owner);
            let beside = source
                .and_then(|source| source.path().parent())
                .map(|parent| parent.join(name));
            let places = [Some(self.folder.join(name)), beside];
            let found = said.or_else(|| places.into_iter().flatten().find(|place| place.is_dir()));
            if let Some(found) = found {
                self.tokenizers.insert(name, found);
            }
        }
    }

    fn open(&self, path: &Path) -> Result<FoundFile, Error> {
        FoundFile::open(path).map_err(|error| Error::Unusable {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }

    fn broken_said(&self, reason: String) -> Error {
        Error::BrokenFile {
            place: self.folder.display().to_string(),
            path: "tintype.json".to_owned(),
            reason,
        }
    }
}

fn same(a: &Path, b: &Path) -> bool {
    a == b
        || a.canonicalize()
            .ok()
            .zip(b.canonicalize().ok())
            .is_some_and(|(a, b)| a == b)
}

fn ambiguous(component: Component, names: &[String]) -> String {
    let names = names.join(", ");
    let what = component.description();
    let key = component.folder();
    match component {
        Component::Transformer => format!(
            "it holds several {what}s ({names}): give the path of one of them, or name one under \
             `\"files\": {{\"{key}\": …}}` in tintype.json"
        ),
        _ => format!(
            "it holds several {what}s ({names}): name one under `\"files\": {{\"{key}\": …}}` in tintype.json"
        ),
    }
}

/// What a file holds, for people.
pub fn describe(content: &Content) -> String {
    match content {
        Content::Parts(parts) => {
            let parts: Vec<String> = parts
                .iter()
                .map(|part| format!("a {}", part.component.description()))
                .collect();
            parts.join(", ")
        }
        Content::Foreign(what) => (*what).to_owned(),
        Content::Unknown => "a file whose tensors this program does not know".to_owned(),
    }
}
