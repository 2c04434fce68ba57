//! All words and phrases of a rule set, and finding them in a text.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::expand::{Pattern, PhraseId, WordId};
use crate::text::{Manner, Reading, Text, squeezed};

/// Words that a phrase begins with lead to it; each further word is looked for where the one
/// before it ends.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    ids: HashMap<Pattern, WordId>,
    plain: Lexicon,
    squeezed: Lexicon,
    numbers: Vec<(Number, WordId)>,
    phrases: Vec<Vec<WordId>>,
    phrase_ids: HashMap<Vec<WordId>, PhraseId>,
    beginning_with: HashMap<WordId, Vec<PhraseId>>,
}

/// A number from one to another, and what follows it without a blank.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Number {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) suffix: String,
}

/// Words as they are written, and beginnings of words.
#[derive(Debug, Default)]
struct Lexicon {
    words: HashMap<String, Vec<WordId>>,
    beginnings: HashMap<String, Vec<WordId>>,
    /// Lengths of the beginnings, in bytes.
    lengths: BTreeSet<usize>,
}

/// A phrase in a text, from the first of its words up to the one behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) phrase: PhraseId,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Vocabulary {
    /// The number of a phrase, which is added if it is new.
    pub(super) fn phrase(&mut self, words: Vec<WordId>) -> PhraseId {
        if let Some(&known) = self.phrase_ids.get(&words) {
            return known;
        }
        let id = PhraseId(self.phrases.len());
        if let Some(&first) = words.first() {
            self.beginning_with.entry(first).or_default().push(id);
        }
        self.phrases.push(words.clone());
        self.phrase_ids.insert(words, id);
        id
    }

    /// The number of a word, which is added if it is new.
    pub(super) fn word(&mut self, pattern: &Pattern) -> WordId {
        if let Some(&known) = self.ids.get(pattern) {
            return known;
        }
        let id = WordId(self.ids.len());
        self.ids.insert(pattern.clone(), id);
        match pattern {
            Pattern::Number(number) => self.numbers.push((number.clone(), id)),
            Pattern::Word(spellings) => {
                for word in spellings {
                    self.plain.add_word(word, id);
                    self.squeezed.add_word(&squeezed(word), id);
                }
            }
            Pattern::Beginning(spellings) => {
                for beginning in spellings {
                    self.plain.add_beginning(beginning, id);
                    self.squeezed.add_beginning(&squeezed(beginning), id);
                }
            }
        }
        id
    }

    /// All phrases in a text, by their places.
    pub(super) fn find(&self, text: &Text, short_words: &HashSet<String>) -> Vec<Found> {
        let mut words: Vec<Vec<(WordId, usize)>> = vec![Vec::new(); text.len()];
        text.read(short_words, |reading| {
            let place = &mut words[reading.at];
            self.meanings(&reading, |word| {
                if !place.contains(&(word, reading.width)) {
                    place.push((word, reading.width));
                }
            });
        });
        let mut found = Vec::new();
        for from in 0..words.len() {
            for &(first, width) in &words[from] {
                for &phrase in self.beginning_with.get(&first).into_iter().flatten() {
                    let rest = &self.phrases[phrase.0][1..];
                    follow(rest, from + width, &words, &mut |to| {
                        let one = Found { phrase, from, to };
                        if found.last() != Some(&one) {
                            found.push(one);
                        }
                    });
                }
            }
        }
        found
    }

    fn meanings(&self, reading: &Reading<'_>, mut visit: impl FnMut(WordId)) {
        match reading.manner {
            Manner::Whole => {}
            Manner::Squeezed => return self.squeezed.meanings(reading.word, visit),
            Manner::Inside => return self.plain.same(reading.word, visit),
        }
        if reading.word.starts_with(|c: char| c.is_ascii_digit()) {
            for (number, word) in &self.numbers {
                if number.is(reading.word) {
                    visit(*word);
                }
            }
        }
        self.plain.meanings(reading.word, visit);
    }
}

/// Follows a phrase from word to word. A word of a text is read in a handful of ways at most, and
/// a phrase has few words: the work at each place is bounded.
fn follow(
    rest: &[WordId],
    at: usize,
    words: &[Vec<(WordId, usize)>],
    visit: &mut impl FnMut(usize),
) {
    let Some((next, rest)) = rest.split_first() else {
        return visit(at);
    };
    for (word, width) in words.get(at).into_iter().flatten() {
        if word == next {
            follow(rest, at + width, words, visit);
        }
    }
}

impl Number {
    fn is(&self, word: &str) -> bool {
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, suffix) = word.split_at(digits);
        suffix == self.suffix
            && digits
                .parse()
                .is_ok_and(|number: u32| (self.from..=self.to).contains(&number))
    }
}

impl Lexicon {
    fn add_word(&mut self, word: &str, id: WordId) {
        add(&mut self.words, word, id);
    }

    fn add_beginning(&mut self, beginning: &str, id: WordId) {
        self.lengths.insert(beginning.len());
        add(&mut self.beginnings, beginning, id);
    }

    fn meanings(&self, word: &str, mut visit: impl FnMut(WordId)) {
        show(self.words.get(word), &mut visit);
        for &length in self.lengths.range(..=word.len()) {
            if let Some(beginning) = word.get(..length) {
                show(self.beginnings.get(beginning), &mut visit);
            }
        }
    }

    /// Only what is as long as the word.
    fn same(&self, word: &str, mut visit: impl FnMut(WordId)) {
        show(self.words.get(word), &mut visit);
        show(self.beginnings.get(word), &mut visit);
    }
}

fn show(ids: Option<&Vec<WordId>>, visit: &mut impl FnMut(WordId)) {
    ids.into_iter().flatten().for_each(|id| visit(*id));
}

fn add(words: &mut HashMap<String, Vec<WordId>>, word: &str, id: WordId) {
    let ids = words.entry(word.to_owned()).or_default();
    if !ids.contains(&id) {
        ids.push(id);
    }
}
