//! A model composed of files: what a diffusers folder would say of it, and where its weights are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{Component, Source, Survey, Variant, file::open_part, geometry};
use crate::config::TransformerConfig;
use crate::pipeline::Error;
use crate::weights::{self, Weights, split};

/// A complete model.
#[derive(Clone, Debug)]
pub struct Composition {
    place: PathBuf,
    name: String,
    /// Files that a diffusers folder would hold and this one does not, by their paths there.
    made: BTreeMap<String, Vec<u8>>,
    tokenizers: BTreeMap<&'static str, PathBuf>,
    sources: BTreeMap<Component, Source>,
}

impl Composition {
    /// Composes a model of what was found.
    ///
    /// # Errors
    /// [`Error::Incomplete`] says all that is lacking at once.
    pub fn of(survey: &Survey) -> Result<Self, Error> {
        let lacks = survey.lacks();
        if !lacks.is_empty() {
            return Err(Error::Incomplete {
                place: survey.place.display().to_string(),
                lacks: lacks.join("; "),
            });
        }
        let mut made = BTreeMap::new();
        for component in Component::ALL {
            if let Some(config) = config_of(survey, component)? {
                made.insert(
                    format!("{}/config.json", component.folder()),
                    config.into_bytes(),
                );
            }
        }
        let variant = variant_of(survey)?;
        let index = json!({ "_class_name": variant.class() });
        made.insert(
            "model_index.json".to_owned(),
            index.to_string().into_bytes(),
        );
        let scheduler = variant.scheduler().to_string();
        made.insert(
            "scheduler/scheduler_config.json".to_owned(),
            scheduler.into_bytes(),
        );
        if !survey.tokenizers.contains_key("tokenizer_2")
            && let Some(tokenizer) = survey.embedded_tokenizer()?
        {
            made.insert("tokenizer_2/tokenizer.json".to_owned(), tokenizer);
        }
        let name = name_of(survey);
        made.insert("tintype.json".to_owned(), settings(survey, variant)?);
        Ok(Self {
            place: survey.place.clone(),
            name,
            made,
            tokenizers: survey.tokenizers.clone(),
            sources: survey.sources.clone(),
        })
    }

    /// What the model is called where it does not name itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path that was given.
    pub fn place(&self) -> &std::path::Path {
        &self.place
    }

    /// Where a component comes from.
    pub fn source(&self, component: Component) -> Option<&Source> {
        self.sources.get(&component)
    }

    /// The content of a file of a diffusers folder; `None` if there is no such file.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        if let Some(bytes) = self.made.get(path) {
            return Ok(Some(bytes.clone()));
        }
        let Some(real) = self.real_path(path) else {
            return Ok(None);
        };
        match std::fs::read(&real) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path: real, source }),
        }
    }

    fn real_path(&self, path: &str) -> Option<PathBuf> {
        let (folder, file) = path.split_once('/')?;
        if let Some(tokenizer) = self.tokenizers.get(folder) {
            return Some(tokenizer.join(file));
        }
        let component = Component::ALL
            .into_iter()
            .find(|component| component.folder() == folder)?;
        match self.sources.get(&component)? {
            Source::Folder(folder) => Some(folder.join(file)),
            Source::File { .. } => None,
        }
    }

    /// The weights of one component.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn weights(&self, component: &str) -> Result<Weights, weights::Error> {
        let found = Component::ALL
            .into_iter()
            .find(|known| known.folder() == component);
        let source = found.and_then(|component| self.sources.get(&component));
        match source.expect("every component of a composition has a source; this is a bug") {
            Source::Folder(folder) => Weights::open(folder),
            Source::File { path, part } => open_part(path, part),
        }
    }
}

/// The `config.json` of a component that comes from a file.
fn config_of(survey: &Survey, component: Component) -> Result<Option<String>, Error> {
    let Some((file, part)) = survey.file_of(component) else {
        return Ok(None);
    };
    let overrides = survey.said.config.get(component.folder());
    let config = geometry::config(component, &file.listing(part), overrides);
    let unusable = |reason| Error::Unusable {
        path: file.path.clone(),
        reason,
    };
    let config = config.map_err(unusable)?;
    if component == Component::Transformer {
        check_transformer(&config).map_err(unusable)?;
    }
    Ok(Some(config))
}

/// Whether it is one of the models that draw from noise alone.
fn check_transformer(config: &str) -> Result<(), String> {
    let Ok(config) = TransformerConfig::parse(config) else {
        // Whoever loads it says what is wrong.
        return Ok(());
    };
    let (inputs, outputs) = (config.in_channels, config.output_features());
    match inputs.checked_div(outputs) {
        Some(6) => Err("it is FLUX.1 Fill, which is not supported: it takes a mask and a picture beside the noise".to_owned()),
        Some(2) => Err("it is FLUX.1 Canny or Depth, which are not supported: they take a picture of edges or depths beside the noise".to_owned()),
        _ => Ok(()),
    }
}

fn variant_of(survey: &Survey) -> Result<Variant, Error> {
    if let Some(variant) = survey.variant() {
        return Ok(variant);
    }
    // The transformer is a diffusers folder's: what stands beside it says which model it is.
    let folder = survey
        .sources
        .get(&Component::Transformer)
        .map(Source::path);
    let config = folder.map(|folder| folder.join("config.json"));
    let read = |path: PathBuf| -> Result<String, Error> {
        std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })
    };
    let config = config.map(read).transpose()?.unwrap_or_default();
    let guided = TransformerConfig::parse(&config).is_ok_and(|config| config.guidance_embeds);
    let index = folder
        .and_then(|folder| folder.parent())
        .map(|parent| parent.join("model_index.json"));
    let index = index
        .and_then(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    let words = [
        index.to_lowercase(),
        survey.place.display().to_string().to_lowercase(),
    ];
    Ok(Variant::guess(guided, words.iter().map(String::as_str)))
}

fn name_of(survey: &Survey) -> String {
    let path = survey
        .place
        .canonicalize()
        .unwrap_or_else(|_| survey.place.clone());
    let name = match path.is_file() {
        true => split::stem(&path),
        false => path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
    };
    name.unwrap_or_else(|| path.display().to_string())
}

/// `tintype.json` as the pipeline reads it: what it says, and what the model's makers recommend.
fn settings(survey: &Survey, variant: Variant) -> Result<Vec<u8>, Error> {
    let path = survey.folder.join("tintype.json");
    let mut settings: Map<String, Value> = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| Error::BrokenFile {
            place: survey.folder.display().to_string(),
            path: "tintype.json".to_owned(),
            reason: error.to_string(),
        })?,
        Err(_) => Map::new(),
    };
    if let Some(guidance) = variant.guidance() {
        settings.entry("guidance").or_insert(json!(guidance));
    }
    Ok(Value::Object(settings).to_string().into_bytes())
}
