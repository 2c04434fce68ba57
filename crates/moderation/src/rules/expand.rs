//! From a phrase as a rule file writes it to rows of words: lists and alternatives are written
//! out, and words are spelled as texts are.

use std::collections::HashMap;

use super::vocabulary::{Number, Vocabulary};
use crate::text::{Text, fold};

/// A phrase has this many words at most: whatever is longer nobody writes twice.
pub const MAX_PHRASE_WORDS: usize = 8;

/// A phrase may be written out into this many at most: a slip is found before memory is full.
const MAX_WRITTEN_OUT: usize = 5_000;

/// A beginning of a word has at least this many letters: shorter ones stand for half a language.
const MIN_BEGINNING_CHARS: usize = 3;

/// The number of a word in a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct WordId(pub(super) usize);

/// The number of a phrase in a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PhraseId(pub(super) usize);

/// What a word of a text is compared with. Spellings are those of small and of capital letters
/// where they are unlike: capitals of other alphabets look like other Latin letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    /// This word.
    Word(Vec<String>),
    /// Every word that begins so.
    Beginning(Vec<String>),
    /// A number.
    Number(Number),
}

/// The named lists of a rule file: their phrases, written out.
pub(super) type Lists = HashMap<String, Vec<Vec<WordId>>>;

/// Writes a phrase out.
///
/// # Errors
/// Why it makes no sense, to be read after the phrase.
pub(super) fn write_out(
    phrase: &str,
    lists: &Lists,
    vocabulary: &mut Vocabulary,
) -> Result<Vec<Vec<WordId>>, String> {
    let mut written: Vec<Vec<WordId>> = vec![Vec::new()];
    for element in phrase.split_whitespace() {
        let alternatives = alternatives(element, lists, vocabulary)?;
        if written.len() * alternatives.len() > MAX_WRITTEN_OUT {
            return Err(format!(
                "stands for more than {MAX_WRITTEN_OUT} phrases: split the rule, or put the parts \
                 into `near`"
            ));
        }
        written = written
            .iter()
            .flat_map(|so_far| alternatives.iter().map(|next| [&so_far[..], next].concat()))
            .collect();
    }
    match written.iter().map(Vec::len).minmax() {
        Some((0, _)) | None => Err("has no words".to_owned()),
        Some((_, most)) if most > MAX_PHRASE_WORDS => {
            Err(format!("has more than {MAX_PHRASE_WORDS} words"))
        }
        Some(_) => Ok(written),
    }
}

trait MinMax: Iterator<Item = usize> + Sized {
    fn minmax(self) -> Option<(usize, usize)> {
        self.fold(None, |range, n| match range {
            None => Some((n, n)),
            Some((least, most)) => Some((n.min(least), n.max(most))),
        })
    }
}

impl<I: Iterator<Item = usize>> MinMax for I {}

/// What one element of a phrase may be: the members of a list, or words parted by `|`.
fn alternatives(
    element: &str,
    lists: &Lists,
    vocabulary: &mut Vocabulary,
) -> Result<Vec<Vec<WordId>>, String> {
    let mut all = Vec::new();
    for one in element.split('|') {
        match one.strip_prefix('@') {
            Some(name) => {
                let list = lists.get(name);
                let list =
                    list.ok_or_else(|| format!("names a list \"{name}\" that is not there"))?;
                all.extend(list.iter().cloned());
            }
            None => {
                let patterns = patterns(one)?;
                all.push(patterns.iter().map(|word| vocabulary.word(word)).collect());
            }
        }
    }
    Ok(all)
}

/// The words of what was written without a blank: "self-harm" is two.
fn patterns(text: &str) -> Result<Vec<Pattern>, String> {
    if let Some(number) = text.strip_prefix('{') {
        return Ok(vec![Pattern::Number(number_of(number)?)]);
    }
    let (text, beginning) = match text.strip_suffix('*') {
        Some(text) => (text, true),
        None => (text, false),
    };
    if text.contains('*') {
        return Err("has a * that is not at the end of a word".to_owned());
    }
    let mut patterns: Vec<Pattern> = spellings(text).into_iter().map(Pattern::Word).collect();
    if beginning && let Some(Pattern::Word(spellings)) = patterns.pop() {
        if fold(text).len() < MIN_BEGINNING_CHARS {
            return Err(format!(
                "has a * behind fewer than {MIN_BEGINNING_CHARS} letters"
            ));
        }
        patterns.push(Pattern::Beginning(spellings));
    }
    Ok(patterns)
}

/// The words of a text, each as it is spelled in small letters, in capitals, and with a capital at
/// its beginning.
fn spellings(text: &str) -> Vec<Vec<String>> {
    let (small, capitals) = (text.to_lowercase(), text.to_uppercase());
    let first = capitals.chars().take(1);
    let title: String = first.chain(small.chars().skip(1)).collect();
    let words_of = |text: &str| Text::new(text).words().collect::<Vec<_>>();
    let mut all: Vec<Vec<String>> = words_of(&small)
        .into_iter()
        .map(|word| vec![word])
        .collect();
    for other in [words_of(&capitals), words_of(&title)] {
        for (spellings, word) in all.iter_mut().zip(other) {
            if !spellings.contains(&word) {
                spellings.push(word);
            }
        }
    }
    all
}

/// `1-17}yo`: a number from 1 to 17, and what follows without a blank.
fn number_of(text: &str) -> Result<Number, String> {
    let parsed = text.split_once('}').and_then(|(range, suffix)| {
        let (from, to) = range.split_once('-')?;
        let suffix = fold(suffix).into_iter().collect();
        Some(Number {
            from: from.trim().parse().ok()?,
            to: to.trim().parse().ok()?,
            suffix,
        })
    });
    parsed
        .filter(|number| number.from <= number.to)
        .ok_or_else(|| "has a number that is not written like {1-17} or {1-17}yo".to_owned())
}
