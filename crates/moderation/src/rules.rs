//! The rule set: words and phrases, each with a category and a score, in a file that people edit.
//!
//! `data/rules.toml` ships with the program and explains its own format; docs/moderation.md says
//! more. A prompt is judged in time that grows with its length alone.

mod expand;
mod file;
mod scan;
mod vocabulary;

use std::collections::HashSet;
use std::path::Path;

use async_trait::async_trait;

use crate::judge::{TextModerator, Unjudged};
use crate::text::Text;
use crate::{Category, Scores};
use expand::PhraseId;
use vocabulary::Vocabulary;

pub use expand::MAX_PHRASE_WORDS;
pub use file::RuleError;

/// The rules that ship with the program: a file to begin with.
pub const BUILTIN_RULES: &str = include_str!("../data/rules.toml");

/// Rules for texts, ready for use.
#[derive(Debug, Default)]
pub struct RuleSet {
    vocabulary: Vocabulary,
    /// What each phrase is for.
    uses: Vec<Vec<Use>>,
    rules: Vec<Rule>,
    /// Words that are no pieces of others.
    short_words: HashSet<String>,
}

/// What a phrase means where it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// What lies within it is meant innocently.
    Innocent,
    /// One part of a rule: of those that must stand near each other, the one of this number.
    Part { rule: usize, part: usize },
    /// The rule does not mean what stands near it.
    Unless { rule: usize },
}

/// One rule, without its phrases.
#[derive(Debug)]
struct Rule {
    category: Category,
    score: f32,
    /// All of so many parts must be found.
    parts: usize,
    /// Within so many words.
    within: usize,
    place: Place,
}

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    origin: Origin,
}

/// Whose rule it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It ships with the program.
    Builtin,
    /// It stands in the operator's own file.
    Operator,
}

/// A rule that a text meets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// What the rule is about.
    pub category: Category,
    /// What it gives.
    pub score: f32,
    /// The line where it stands.
    pub line: usize,
    /// In which file.
    pub origin: Origin,
}

impl RuleSet {
    /// The rules that ship with the program.
    ///
    /// # Panics
    /// Never: a test reads the same file.
    pub fn builtin() -> Self {
        let rules = file::read(BUILTIN_RULES, Origin::Builtin);
        rules.expect("the built-in rules are readable; this is a bug")
    }

    /// Reads a rule file.
    ///
    /// # Errors
    /// [`RuleError`] with the line and the reason of the first fault.
    pub fn parse(file: &str) -> Result<Self, RuleError> {
        file::read(file, Origin::Operator)
    }

    /// The same from a file on disk; its errors name the file.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn load(path: &Path) -> Result<Self, RuleError> {
        let text = std::fs::read_to_string(path).map_err(|source| RuleError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|error| error.within(path))
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The scores of a text: for each category that of the strongest rule that the text meets.
    pub fn scores(&self, text: &str) -> Scores {
        let mut scores = Scores::NONE;
        for found in self.matches(text) {
            scores.raise(found.category, found.score);
        }
        scores
    }

    /// The rules that a text meets, in the order of the file.
    pub fn matches(&self, text: &str) -> Vec<Match> {
        let text = Text::new(text);
        let found = self.vocabulary.find(&text, &self.short_words);
        let met = scan::rules_met(self, &found, text.len());
        met.into_iter()
            .map(|rule| {
                let rule = &self.rules[rule];
                Match {
                    category: rule.category,
                    score: rule.score,
                    line: rule.place.line,
                    origin: rule.place.origin,
                }
            })
            .collect()
    }

    fn uses_of(&self, phrase: PhraseId) -> &[Use] {
        &self.uses[phrase.0]
    }
}

#[async_trait]
impl TextModerator for RuleSet {
    async fn judge_text(&self, text: &str) -> Result<Scores, Unjudged> {
        Ok(self.scores(text))
    }
}
