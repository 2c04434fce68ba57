//! What a LoRA file says of itself, whatever the model: for people who look into a folder of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    Error,
    metadata::entry,
    names::{Component, Key, Part},
};
use crate::weights::Weights;

/// Under this name Kohya's scripts write which tags the pictures had, and how often: folder by folder.
const TAGS: &str = "ss_tag_frequency";

/// Under these names writers say which words bring the LoRA out.
const TRIGGERS: [&str; 3] = [
    "modelspec.trigger_phrase",
    "trigger_word",
    "ss_trigger_words",
];

/// Under these names writers say what the LoRA is called.
const TITLES: [&str; 3] = ["modelspec.title", "ss_output_name", "name"];

/// A LoRA file at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Ranks of its layers, and how many have each.
    pub ranks: BTreeMap<usize, usize>,
    /// Layers of the transformer that it changes.
    pub transformer_layers: usize,
    /// Layers of the CLIP text encoder that it changes.
    pub clip_layers: usize,
    /// Words that bring it out, as far as the file names some; the most frequent tags of its training
    /// otherwise.
    pub words: Vec<String>,
    /// The title that the file gives itself.
    pub title: Option<String>,
    /// Why it cannot be applied to any model of FLUX.1: the first tensor's reason.
    pub problem: Option<String>,
}

/// Tags that are shown at most.
const SHOWN_TAGS: usize = 8;

impl Summary {
    /// Reads a file's header.
    ///
    /// # Errors
    /// If it is not a safetensors file.
    pub fn of_file(path: &Path) -> Result<Self, Error> {
        let weights = Weights::open(path)?;
        let said = |name: &str| entry(&weights, name).filter(|text| !text.is_empty());
        let mut layers: BTreeSet<(Component, String)> = BTreeSet::new();
        let title = TITLES.iter().find_map(|name| said(name)).map(str::to_owned);
        let mut summary = Self {
            ranks: BTreeMap::new(),
            transformer_layers: 0,
            clip_layers: 0,
            words: words(said),
            title,
            problem: None,
        };
        for (name, tensor) in weights.stored() {
            match Key::parse(name) {
                Ok(key) => {
                    if let (Part::Down, [rank, _]) = (key.part, &tensor.shape[..]) {
                        *summary.ranks.entry(*rank).or_default() += 1;
                    }
                    layers.insert((key.component, key.layer));
                }
                Err(reason) => {
                    let problem = || format!("`{name}` {reason}");
                    summary.problem.get_or_insert_with(problem);
                }
            }
        }
        let count = |component| layers.iter().filter(|(c, _)| *c == component).count();
        summary.transformer_layers = count(Component::Transformer);
        summary.clip_layers = count(Component::Clip);
        Ok(summary)
    }
}

fn words<'a>(said: impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let triggers: Vec<&str> = TRIGGERS.iter().filter_map(|name| said(name)).collect();
    match triggers.is_empty() {
        true => frequent_tags(said(TAGS).unwrap_or_default()),
        false => triggers.into_iter().map(str::to_owned).collect(),
    }
}

/// `{"folder": {"tag": 12, …}, …}`: the tags that come most often.
fn frequent_tags(json: &str) -> Vec<String> {
    let folders: BTreeMap<String, BTreeMap<String, f64>> =
        serde_json::from_str(json).unwrap_or_default();
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for (tag, count) in folders.into_values().flatten() {
        *counts.entry(tag.trim().to_owned()).or_default() += count;
    }
    let mut tags: Vec<(String, f64)> = counts.into_iter().collect();
    tags.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    tags.into_iter()
        .take(SHOWN_TAGS)
        .map(|(tag, _)| tag)
        .collect()
}
