//! Sentences of the recipe, each with what it says; recipe/spoken.py writes them.

use std::sync::LazyLock;

use serde::Deserialize;

pub(crate) static SENTENCES: LazyLock<Sentences> =
    LazyLock::new(|| serde_json::from_str(include_str!("sentences.json")).expect("JSON"));

#[derive(Deserialize)]
pub(crate) struct Sentences {
    pub pictures: Vec<Picture>,
    pub edits: Vec<Instruction>,
}

#[derive(Deserialize)]
pub(crate) struct Picture {
    pub text: String,
    pub objects: Vec<Facts>,
    /// Its name and its pattern.
    pub background: Option<(String, String)>,
}

#[derive(Debug, Clone, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Facts {
    pub shape: Option<String>,
    pub colour: Option<String>,
    pub size: Option<String>,
    pub outline: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Instruction {
    pub text: String,
    pub kinds: Vec<String>,
    pub places: Vec<Option<String>>,
}
