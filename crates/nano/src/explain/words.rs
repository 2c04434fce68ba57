//! A text's words, read one after the other.

use std::collections::BTreeMap;

use crate::language::Names;

/// Words that are read at most; the model reads fewer.
pub(super) const MOST_WORDS: usize = 400;

/// Words in lower case, and commas; other marks only part words.
pub(super) fn words_of(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace(',', " , ");
    let mark = |letter: char| !letter.is_alphanumeric() && !matches!(letter, ',' | '-' | '\'');
    let words = text.split(mark).filter(|word| !word.is_empty());
    words.take(MOST_WORDS).map(str::to_owned).collect()
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
