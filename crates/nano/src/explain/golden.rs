//! The next version's language with sentences of its recipe.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::language::Language;

/// The next version's language with sentences of its recipe; recipe2/spoken.py writes it.
pub(crate) static NEXT: LazyLock<Golden> =
    LazyLock::new(|| serde_json::from_str(include_str!("golden/next.json")).expect("golden file"));

#[derive(Deserialize)]
pub(crate) struct Golden {
    pub language: Language,
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
