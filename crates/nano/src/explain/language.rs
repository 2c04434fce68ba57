//! The words of the language with their meanings, from the model's own `language.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names, each with all the words for it; several words in a row are one entry.
pub(super) type Names = BTreeMap<String, Vec<String>>;

/// What became of words that the model was not taught.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownWords {
    /// The model reads their letters, of which it was taught nothing: they may disturb the picture.
    Spelled,
    /// The model was taught to pass over them.
    Skipped,
}

/// The content of `language.json`; the recipe's export writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Language {
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
    pub unknown_words: UnknownWords,
}

/// A prompt's words, lower case, and how far they have been read. A comma is a word.
pub(super) struct Words<'a> {
    words: &'a [String],
    pub at: usize,
}

impl<'a> Words<'a> {
    pub(super) fn new(words: &'a [String]) -> Self {
        Self { words, at: 0 }
    }

    pub(super) fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).map(String::as_str)
    }

    pub(super) fn ended(&self) -> bool {
        self.at >= self.words.len()
    }

    /// The words since an earlier place.
    pub(super) fn since(&self, start: usize) -> &'a [String] {
        self.words.get(start..self.at).unwrap_or_default()
    }

    /// Whether one of these phrases comes next; it is read then.
    pub(super) fn takes(&mut self, phrases: &[&str]) -> bool {
        let rest = self.words.get(self.at..).unwrap_or_default();
        let lengths = phrases.iter().filter_map(|phrase| begins(rest, phrase));
        let longest = lengths.max().unwrap_or(0);
        self.at += longest;
        longest > 0
    }

    /// The name whose longest phrase comes next; it is read then.
    pub(super) fn name(&mut self, names: &'a Names) -> Option<&'a str> {
        let rest = self.words.get(self.at..).unwrap_or_default();
        let phrases = names
            .iter()
            .flat_map(|(name, phrases)| phrases.iter().map(move |phrase| (name, phrase)));
        let found = phrases.filter_map(|(name, phrase)| Some((begins(rest, phrase)?, name)));
        let (length, name) = found.max_by_key(|(length, _)| *length)?;
        self.at += length;
        Some(name)
    }

    /// What the next word stands for; it is read then.
    pub(super) fn stands_for(
        &mut self,
        meanings: &'a BTreeMap<String, String>,
    ) -> Option<(&'a str, &'a str)> {
        let found = meanings.get(self.peek()?)?.split_once(' ')?;
        self.at += 1;
        Some(found)
    }
}

/// How many words a phrase takes of those that come next, if they are its.
fn begins(rest: &[String], phrase: &str) -> Option<usize> {
    let count = phrase.split(' ').count();
    let next = rest.get(..count)?.iter().map(String::as_str);
    next.eq(phrase.split(' ')).then_some(count)
}
