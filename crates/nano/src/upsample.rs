//! Says what a prompt leaves open, in the model's own language (the crate's README has it): a
//! missing size, colour, place or background is drawn from a seed, and what was said stays.
//!
//! Pure: the same prompt and seed give the same text, on every machine and in every version.

mod choose;
mod parse;
mod words;

#[cfg(test)]
mod tests;

use choose::Choice;
use parse::Parser;
use words::{BACKGROUNDS, COLOURS, PLACES, RELATIONS, SIZES};

/// Words and commas of a prompt that the model reads: its 32 tokens less the closing one.
const MOST_TOKENS: usize = 31;

/// A flat shape, and what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Object {
    shape: &'static str,
    size: Option<&'static str>,
    colour: Option<&'static str>,
    /// An index into [`PLACES`].
    place: Option<usize>,
}

/// A picture, as a prompt says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scene {
    /// `draw` or `a picture of`, where the prompt begins so.
    opening: &'static str,
    objects: Vec<Object>,
    /// Where the first of two stands, seen from the second: an index into [`RELATIONS`].
    relation: Option<usize>,
    background: Option<&'static str>,
}

/// A prompt with what it leaves open filled in; the prompt itself if that is nothing. `None` for a
/// prompt that is not in the language.
pub fn upsample(prompt: &str, seed: u64) -> Option<String> {
    let said = Parser::of(prompt).scene()?;
    let scene = filled(&said, &mut Choice::new(seed));
    Some(if scene == said {
        prompt.to_owned()
    } else {
        scene.text()
    })
}

/// The same for an instruction: only what is to be added can be left open, and is filled in.
pub fn upsample_edit(instruction: &str, seed: u64) -> Option<String> {
    if let Some(said) = Parser::of(instruction).addition() {
        let object = added(said, &mut Choice::new(seed));
        return Some(if object == said {
            instruction.to_owned()
        } else {
            format!("add {}", object.text())
        });
    }
    let understood = Parser::of(instruction).change().is_some();
    understood.then(|| instruction.to_owned())
}

fn filled(said: &Scene, choice: &mut Choice) -> Scene {
    let mut scene = said.clone();
    let background = *scene
        .background
        .get_or_insert_with(|| choice.of(&BACKGROUNDS));
    fill_places(&mut scene, choice);
    for index in 0..scene.objects.len() {
        let object = scene.objects[index];
        let colour = object
            .colour
            .unwrap_or_else(|| choice.colour(&scene.objects, background));
        scene.objects[index].colour = Some(colour);
        let size = object
            .size
            .unwrap_or_else(|| choice.size(&cells(&scene), index));
        scene.objects[index].size = Some(size);
    }
    scene
}

/// Two without a place are given a relation, others a place each.
fn fill_places(scene: &mut Scene, choice: &mut Choice) {
    let placeless = scene.objects.iter().all(|object| object.place.is_none());
    if scene.relation.is_some() {
        return;
    }
    if scene.objects.len() == 2 && placeless {
        scene.relation = Some(choice.index(RELATIONS.len()));
        return;
    }
    for index in 0..scene.objects.len() {
        if scene.objects[index].place.is_none() {
            let place = choice.place(&scene.objects);
            scene.objects[index].place = Some(place);
        }
    }
}

/// Each object's cell, as `(column, row)`, and its size where that is known.
fn cells(scene: &Scene) -> Vec<((i32, i32), Option<&'static str>)> {
    let objects = scene.objects.iter().enumerate();
    objects
        .map(|(index, object)| {
            let related = scene
                .relation
                .map(|relation| RELATIONS[relation].1[index.min(1)]);
            let placed = object.place.map(|place| PLACES[place].1);
            (related.or(placed).unwrap_or((1, 1)), object.size)
        })
        .collect()
}

/// What is added is kept away from the centre, where most pictures have something.
fn added(said: Object, choice: &mut Choice) -> Object {
    let centre = Object {
        place: PLACES.iter().position(|(_, cell)| *cell == (1, 1)),
        ..said
    };
    Object {
        place: said.place.or_else(|| Some(choice.place(&[centre]))),
        colour: said.colour.or_else(|| Some(choice.of(&COLOURS))),
        size: said.size.or_else(|| Some(choice.of(&SIZES[..2]).0)),
        ..said
    }
}

impl Object {
    /// `a large red circle in the top left`, without what is not known.
    fn text(&self) -> String {
        let words = [self.size, self.colour, Some(self.shape)];
        let words: Vec<_> = words.into_iter().flatten().collect();
        let first = words.first().and_then(|word| word.chars().next());
        let article = match first {
            Some('a' | 'e' | 'i' | 'o' | 'u') => "an",
            _ => "a",
        };
        let place = self.place.map(|place| PLACES[place].0);
        let place = place.map_or(String::new(), |place| format!(" in the {place}"));
        format!("{article} {}{place}", words.join(" "))
    }
}

impl Scene {
    /// In one of the ways in which the model was taught.
    fn text(&self) -> String {
        let objects: Vec<_> = self.objects.iter().map(Object::text).collect();
        let objects = match (objects.as_slice(), self.relation) {
            ([first, second], Some(relation)) => {
                format!("{first} {} {second}", RELATIONS[relation].0)
            }
            ([rest @ .., last], _) if !rest.is_empty() => {
                format!("{} and {last}", rest.join(", "))
            }
            (objects, _) => objects.concat(),
        };
        let background = self.background.unwrap_or_default();
        let text = format!("{}{objects} on a {background} background", self.opening);
        let tokens = text.split(' ').count() + text.matches(',').count();
        if tokens <= MOST_TOKENS {
            return text;
        }
        format!("{}{objects} on {background}", self.opening)
    }
}
