//! What is let through: the [categories](Category), the [thresholds](Thresholds) by which a
//! [score](Scores) counts at a [tolerance](Tolerance), the traits of those who judge, and the one
//! judge that is built in: a [rule set](RuleSet) for texts, read from a file that people edit.
//!
//! The service calls the judges, the command line shows what they say. Knows neither HTTP nor
//! tasks nor models; the same text always has the same scores.

mod category;
mod judge;
mod rules;
mod scores;
mod text;
mod thresholds;

pub use category::{Category, UnknownCategory};
pub use judge::{PictureModerator, TextModerator, Unjudged};
pub use rules::{BUILTIN_RULES, MAX_PHRASE_WORDS, Match, Origin, RuleError, RuleSet};
pub use scores::Scores;
pub use thresholds::{NotStricter, Thresholds, Tolerance};
