//! The words of the language with their meanings, from the model's own `language.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// Names, each with all the words for it; several words in a row are one entry.
pub(crate) type Names = BTreeMap<String, Vec<String>>;

/// The content of `language.json`; the recipe's export writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Language {
    pub shapes: Names,
    pub colours: Names,
    pub backgrounds: Names,
    pub patterns: Names,
    pub sizes: Names,
    pub places: Names,
    pub relations: Names,
    pub edits: Names,
    /// Other words for a colour and a shape: `sun`, a yellow circle.
    pub things: BTreeMap<String, String>,
    /// Other words for a pattern and a background: `meadow`, a gradient green.
    pub scenery: BTreeMap<String, String>,
    pub choices: Choices,
}

/// What there is to know of the pictures, for whoever chooses what a text leaves open.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choices {
    /// Pixels from a shape's centre to its rim, by size.
    pub radius: BTreeMap<String, i32>,
    /// Pixels between the centres of neighbouring places of a square picture.
    pub pitch: i32,
    /// Pixels that two objects stay apart.
    pub gap: i32,
    /// Colours that hardly show on a background: said, they stay; chosen they are not.
    pub hidden: BTreeMap<String, Vec<String>>,
    pub most_objects: usize,
    /// Words and commas that the text encoders read.
    pub most_pieces: usize,
}

/// The shipped model's language.
pub(crate) static SHIPPED: LazyLock<Language> = LazyLock::new(|| {
    let file = crate::files()
        .iter()
        .find(|(path, _)| *path == "language.json");
    let (_, content) = file.expect("the model carries its language; this is a bug");
    serde_json::from_slice(content).expect("the language can be read; this is a bug")
});
