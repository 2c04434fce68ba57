//! From phrases in a text to the rules that the text meets.

use super::vocabulary::Found;
use super::{RuleSet, Use};

/// What a rule does not mean stands within so many words: about a sentence's part.
const UNLESS_WITHIN: usize = 6;

/// A part of a rule in a text.
#[derive(Debug, Clone, Copy)]
struct Part {
    part: usize,
    from: usize,
    to: usize,
}

/// The numbers of the rules that a text meets, in order. `words`: how many the text has.
pub(super) fn rules_met(set: &RuleSet, found: &[Found], words: usize) -> Vec<usize> {
    let mut parts: Vec<Vec<Part>> = vec![Vec::new(); set.rules.len()];
    let mut unless: Vec<Vec<usize>> = vec![Vec::new(); set.rules.len()];
    let innocent = Innocent::of(set, found, words);
    for one in found {
        for used in set.uses_of(one.phrase) {
            match *used {
                Use::Innocent => {}
                Use::Unless { rule } => unless[rule].push(one.from),
                Use::Part { rule, part } if !innocent.covers(one) => parts[rule].push(Part {
                    part,
                    from: one.from,
                    to: one.to,
                }),
                Use::Part { .. } => {}
            }
        }
    }
    (0..set.rules.len())
        .filter(|&rule| {
            let meant = parts[rule]
                .iter()
                .filter(|part| !is_near(&unless[rule], part));
            meets(&set.rules[rule], meant)
        })
        .collect()
}

/// Whether all parts of a rule stand within its reach. They come in the order of their places.
fn meets<'a>(rule: &super::Rule, parts: impl Iterator<Item = &'a Part>) -> bool {
    let mut last: Vec<Option<usize>> = vec![None; rule.parts];
    for part in parts {
        last[part.part] = Some(part.from);
        let first = last
            .iter()
            .copied()
            .try_fold(part.from, |first, place| Some(first.min(place?)));
        if first.is_some_and(|first| part.from - first <= rule.within) {
            return true;
        }
    }
    false
}

/// Whether one of these places, which are sorted, is near a part.
fn is_near(places: &[usize], part: &Part) -> bool {
    let from = part.from.saturating_sub(UNLESS_WITHIN);
    let next = places.partition_point(|place| *place < from);
    places
        .get(next)
        .is_some_and(|place| *place < part.to + UNLESS_WITHIN)
}

/// What is meant innocently: for each word how far the phrases reach that begin at it or before.
struct Innocent(Vec<usize>);

impl Innocent {
    fn of(set: &RuleSet, found: &[Found], words: usize) -> Self {
        let mut reach = vec![0; words];
        for one in found {
            if set.uses_of(one.phrase).contains(&Use::Innocent) {
                reach[one.from] = reach[one.from].max(one.to);
            }
        }
        let mut furthest = 0;
        for place in &mut reach {
            furthest = furthest.max(*place);
            *place = furthest;
        }
        Self(reach)
    }

    /// Whether a phrase lies within one that is innocent.
    fn covers(&self, one: &Found) -> bool {
        self.0[one.from] >= one.to
    }
}
