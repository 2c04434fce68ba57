//! Says what a prompt leaves open, in the model's own language (the crate's README has it): a
//! missing shape, size, colour, place or background is drawn from a seed, and what was said stays,
//! in the language's own words.
//!
//! Pure: the same prompt and seed give the same text on every machine, as long as the bundled
//! model is the same.

mod choose;
mod layout;
mod say;

#[cfg(test)]
mod tests;

use crate::explain::{Explanation, Object, explain, explain_edit};
use crate::language::{Language, SHIPPED};
use choose::Choice;
use layout::Layout;

/// A picture, as a prompt says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scene {
    objects: Vec<Object>,
    relation: Option<String>,
    ground: Ground,
}

/// A background's colour and pattern; plain where none is named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ground {
    name: Option<String>,
    pattern: Option<String>,
}

/// A prompt with what it leaves open filled in; the prompt itself if that is nothing. `None` for a
/// prompt that is not in the language.
pub fn upsample(prompt: &str, seed: u64) -> Option<String> {
    let language = &*SHIPPED;
    let said = Scene::of(language, explain(prompt))?;
    let choice = Choice::new(language, seed);
    let filled = said.filled(choice)?;
    if filled == said {
        return Some(prompt.to_owned());
    }
    filled.text_that_fits(language, &said)
}

/// The same for an instruction: only what is to be added can be left open, and is filled in.
pub fn upsample_edit(instruction: &str, seed: u64) -> Option<String> {
    let language = &*SHIPPED;
    let found = explain_edit(instruction);
    let understood = found.ignored.is_empty() && !found.changes.is_empty();
    understood.then_some(())?;
    if let [change] = found.changes.as_slice()
        && change.kind == "add"
        && let Some(said) = &change.object
    {
        let filled = Choice::new(language, seed).addition(said);
        if filled != *said {
            return Some(format!("add {}", filled.phrase(language)));
        }
    }
    Some(instruction.to_owned())
}

impl Scene {
    /// What was understood, if that is all of a prompt, and a picture.
    fn of(language: &Language, found: Explanation) -> Option<Self> {
        let counted = found.objects.iter().map(Object::how_many).sum::<usize>();
        let whole =
            found.ignored.is_empty() && (1..=language.choices.most_objects).contains(&counted);
        let scene = Self {
            objects: found.objects,
            relation: found.relation,
            ground: Ground::of(language, found.background.as_deref().unwrap_or_default()),
        };
        (whole && Layout::of(&scene).is_some()).then_some(scene)
    }

    fn filled(&self, mut choice: Choice<'_>) -> Option<Self> {
        let mut scene = self.clone();
        choice.ground(&mut scene.ground);
        let layout = choice.places(&mut scene)?;
        for index in 0..scene.objects.len() {
            choice.shape(&mut scene.objects, index);
            choice.colour(&mut scene, index);
            choice.size(&mut scene.objects, index, &layout);
        }
        Some(scene)
    }
}

impl Ground {
    /// From `striped navy`, `navy` or `striped`.
    fn of(language: &Language, said: &str) -> Self {
        let find =
            |is: &dyn Fn(&str) -> bool| said.split(' ').find(|word| is(word)).map(str::to_owned);
        Self {
            name: find(&|word| language.backgrounds.contains_key(word)),
            pattern: find(&|word| language.patterns.contains_key(word)),
        }
    }
}

impl Object {
    fn how_many(&self) -> usize {
        match self.count.as_deref() {
            Some("two") => 2,
            Some("three") => 3,
            Some("four") => 4,
            _ => 1,
        }
    }
}
