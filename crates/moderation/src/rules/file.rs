//! The file of a rule set: reading it, and saying where it is wrong.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::expand::{Lists, WordId, write_out};
use super::{Origin, Place, Rule, RuleSet, Use};
use crate::Category;
use crate::text::Text;

/// Parts that stand "near" each other do so within this many words, unless a rule says otherwise.
const WITHIN: usize = 10;

/// Why there is no rule set.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in it makes no sense.
    #[error("{}line {line}: {reason}", in_file(path.as_deref()))]
    Broken {
        /// The file, if it is one.
        path: Option<PathBuf>,
        /// Where, from 1.
        line: usize,
        /// What, and how to write it.
        reason: String,
    },
}

fn in_file(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("{}, ", path.display()))
}

impl RuleError {
    pub(super) fn within(self, file: &Path) -> Self {
        match self {
            Self::Broken { line, reason, .. } => Self::Broken {
                path: Some(file.to_owned()),
                line,
                reason,
            },
            other => other,
        }
    }
}

/// A rule file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Whether the built-in rules hold as well.
    #[serde(default)]
    extends_builtin: bool,
    #[serde(default)]
    short_words: Vec<String>,
    #[serde(default)]
    lists: BTreeMap<String, Vec<Spanned<String>>>,
    #[serde(default)]
    innocent: Vec<Spanned<String>>,
    #[serde(default, rename = "rule")]
    rules: Vec<Spanned<WrittenRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    category: Spanned<String>,
    score: Spanned<f32>,
    #[serde(default)]
    phrases: Vec<Spanned<String>>,
    #[serde(default)]
    near: Vec<Vec<Spanned<String>>>,
    within: Option<usize>,
    #[serde(default)]
    unless: Vec<Spanned<String>>,
}

/// Reads a rule file and, if it says so, the built-in one before it.
pub(super) fn read(text: &str, origin: Origin) -> Result<RuleSet, RuleError> {
    let reader = Reader { text, origin };
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        reader.broken(at, error.message().trim_end())
    })?;
    let mut set = match (file.extends_builtin, origin) {
        (true, Origin::Operator) => RuleSet::builtin(),
        _ => RuleSet::default(),
    };
    reader.fill(&mut set, file)?;
    Ok(set)
}

struct Reader<'a> {
    text: &'a str,
    origin: Origin,
}

impl Reader<'_> {
    fn fill(&self, set: &mut RuleSet, file: File) -> Result<(), RuleError> {
        let short_words = file.short_words.iter().flat_map(|words| {
            let words: Vec<String> = Text::new(words).words().collect();
            words
        });
        set.short_words.extend(short_words);
        let lists = self.lists(set, &file.lists)?;
        for phrase in &file.innocent {
            self.add(set, phrase, &lists, Use::Innocent)?;
        }
        for rule in &file.rules {
            self.add_rule(set, rule, &lists)?;
        }
        Ok(())
    }

    /// Lists hold phrases, not lists.
    fn lists(
        &self,
        set: &mut RuleSet,
        written: &BTreeMap<String, Vec<Spanned<String>>>,
    ) -> Result<Lists, RuleError> {
        let mut lists = Lists::new();
        for (name, phrases) in written {
            let mut all = Vec::new();
            for phrase in phrases {
                all.extend(self.written_out(set, phrase, &Lists::new())?);
            }
            lists.insert(name.clone(), all);
        }
        Ok(lists)
    }

    fn add_rule(
        &self,
        set: &mut RuleSet,
        written: &Spanned<WrittenRule>,
        lists: &Lists,
    ) -> Result<(), RuleError> {
        let at = written.span().start;
        let written = written.get_ref();
        let rule = set.rules.len();
        let part = |part| Use::Part { rule, part };
        if written.phrases.is_empty() == written.near.is_empty() {
            let reason = "a rule has either `phrases` or `near`";
            return Err(self.broken(at, reason));
        }
        if written.near.len() == 1 {
            return Err(self.broken(at, "`near` needs two lists of phrases or more"));
        }
        for phrase in &written.phrases {
            self.add(set, phrase, lists, part(0))?;
        }
        for (number, phrases) in written.near.iter().enumerate() {
            if phrases.is_empty() {
                return Err(self.broken(at, "one of the lists in `near` is empty"));
            }
            for phrase in phrases {
                self.add(set, phrase, lists, part(number))?;
            }
        }
        for phrase in &written.unless {
            self.add(set, phrase, lists, Use::Unless { rule })?;
        }
        set.rules.push(Rule {
            category: self.category(&written.category)?,
            score: self.score(&written.score)?,
            parts: written.near.len().max(1),
            within: written.within.unwrap_or(WITHIN),
            place: Place {
                line: self.line(at),
                origin: self.origin,
            },
        });
        Ok(())
    }

    fn add(
        &self,
        set: &mut RuleSet,
        phrase: &Spanned<String>,
        lists: &Lists,
        used: Use,
    ) -> Result<(), RuleError> {
        for words in self.written_out(set, phrase, lists)? {
            let id = set.vocabulary.phrase(words);
            if set.uses.len() <= id.0 {
                set.uses.resize_with(id.0 + 1, Vec::new);
            }
            if !set.uses[id.0].contains(&used) {
                set.uses[id.0].push(used);
            }
        }
        Ok(())
    }

    fn written_out(
        &self,
        set: &mut RuleSet,
        phrase: &Spanned<String>,
        lists: &Lists,
    ) -> Result<Vec<Vec<WordId>>, RuleError> {
        write_out(phrase.get_ref(), lists, &mut set.vocabulary).map_err(|reason| {
            let reason = format!("the phrase \"{}\" {reason}", phrase.get_ref());
            self.broken(phrase.span().start, &reason)
        })
    }

    fn category(&self, name: &Spanned<String>) -> Result<Category, RuleError> {
        let category = name.get_ref().parse();
        category.map_err(|error: crate::UnknownCategory| {
            self.broken(name.span().start, &error.to_string())
        })
    }

    fn score(&self, score: &Spanned<f32>) -> Result<f32, RuleError> {
        let value = *score.get_ref();
        if value > 0.0 && value <= 1.0 {
            return Ok(value);
        }
        let reason = format!("a score is above 0 and at most 1, not {value}");
        Err(self.broken(score.span().start, &reason))
    }

    fn broken(&self, at: usize, reason: &str) -> RuleError {
        RuleError::Broken {
            path: None,
            line: self.line(at),
            reason: reason.to_owned(),
        }
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().iter().take(at);
        1 + before.filter(|byte| **byte == b'\n').count()
    }
}
