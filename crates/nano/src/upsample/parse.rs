//! Reads a prompt of the language, or finds that it is none.

use super::words::{BACKGROUNDS, COLOURS, PLACES, RELATIONS, SHAPES, SIZES};
use super::{Object, Scene};

/// Objects that a scene has at most.
const MOST_OBJECTS: usize = 3;

/// Words that an instruction says a size with.
const EDITED_SIZES: [&str; 5] = ["small", "smaller", "large", "larger", "bigger"];

/// What an instruction is about.
enum Subject {
    Object,
    Background,
}

/// Words in a row, and how far they have been read.
pub(super) struct Parser {
    words: Vec<String>,
    at: usize,
}

impl Parser {
    /// At the first word. Commas are words; a full stop at the end is none.
    pub(super) fn of(prompt: &str) -> Self {
        let prompt = prompt.trim().trim_end_matches('.').to_lowercase();
        let prompt = prompt.replace(',', " , ");
        Self {
            words: prompt.split_whitespace().map(str::to_owned).collect(),
            at: 0,
        }
    }

    /// The whole as a scene.
    pub(super) fn scene(mut self) -> Option<Scene> {
        let opening = self.opening();
        let mut objects = vec![self.placed_object()?];
        let relation = self.relation();
        if relation.is_some() {
            objects.push(self.placed_object()?);
            // A place beside a relation may contradict it.
            if objects.iter().any(|object| object.place.is_some()) {
                return None;
            }
        } else {
            self.rest_of_list(&mut objects);
        }
        let background = self.background();
        self.ended().then_some(Scene {
            opening,
            objects,
            relation,
            background,
        })
    }

    /// The whole as an instruction to add something.
    pub(super) fn addition(mut self) -> Option<Object> {
        let object = self.takes(&["add"]).then(|| self.placed_object())??;
        self.ended().then_some(object)
    }

    /// The whole as an instruction that leaves nothing open.
    pub(super) fn change(mut self) -> Option<()> {
        let verb = self.one(&[
            "make", "change", "turn", "remove", "delete", "erase", "replace", "move",
        ])?;
        let known = match (verb, self.subject()?) {
            ("make", Subject::Background) => self.says(&BACKGROUNDS),
            ("make", Subject::Object) => self.says(&COLOURS) || self.says(&EDITED_SIZES),
            ("change", Subject::Background) => self.takes(&["to"]) && self.says(&BACKGROUNDS),
            ("change", Subject::Object) => self.takes(&["to"]) && self.says(&COLOURS),
            ("turn", Subject::Object) => {
                self.says(&COLOURS) || (self.takes(&["into", "a"]) && self.says(&SHAPES))
            }
            ("replace", Subject::Object) => self.takes(&["with", "a"]) && self.says(&SHAPES),
            ("move", Subject::Object) => self.takes(&["to", "the"]) && self.place_name().is_some(),
            ("remove" | "delete" | "erase", Subject::Object) => true,
            _ => false,
        };
        (known && self.ended()).then_some(())
    }

    fn opening(&mut self) -> &'static str {
        if self.takes(&["draw"]) {
            "draw "
        } else if self.takes(&["a", "picture", "of"]) {
            "a picture of "
        } else {
            ""
        }
    }

    /// What follows the first object of a list: `, …` and at last `and …`.
    fn rest_of_list(&mut self, objects: &mut Vec<Object>) {
        while objects.len() < MOST_OBJECTS {
            let at = self.at;
            let joined = self.takes(&[",", "and"]) || self.takes(&["and"]) || self.takes(&[","]);
            match joined.then(|| self.placed_object()).flatten() {
                Some(object) => objects.push(object),
                None => {
                    // A comma may belong to the background.
                    self.at = at;
                    break;
                }
            }
        }
    }

    /// `the red circle`, `the background`.
    fn subject(&mut self) -> Option<Subject> {
        if self.takes(&["the", "background"]) {
            return Some(Subject::Background);
        }
        self.takes(&["the"]).then_some(())?;
        self.one(&COLOURS);
        self.one(&SHAPES).map(|_| Subject::Object)
    }

    /// `a large red circle in the top left`, whatever of it is said.
    fn placed_object(&mut self) -> Option<Object> {
        let _unsaid = self.takes(&["a"]) || self.takes(&["an"]);
        let (mut size, mut colour) = (None, None);
        // In either order, each once.
        for _ in 0..2 {
            size = size.or_else(|| self.one(&SIZES.map(|(name, _)| name)));
            colour = colour.or_else(|| self.one(&COLOURS));
        }
        let shape = self.one(&SHAPES)?;
        Some(Object {
            shape,
            size,
            colour,
            place: self.place(),
        })
    }

    /// `in the top left`
    fn place(&mut self) -> Option<usize> {
        let at = self.at;
        let there = self.takes(&["in", "the"]) || self.takes(&["at", "the"]);
        let place = there.then(|| self.place_name()).flatten();
        if place.is_none() {
            self.at = at;
        }
        place
    }

    fn place_name(&mut self) -> Option<usize> {
        let mut places: Vec<_> = PLACES.iter().enumerate().collect();
        // Two words before one: `top left` before `top`.
        places.sort_by_key(|(_, (name, _))| std::cmp::Reverse(name.len()));
        let found = places.into_iter().find(|(_, (name, _))| {
            let words: Vec<_> = name.split(' ').collect();
            self.takes(&words)
        });
        found.map(|(index, _)| index)
    }

    /// `to the left of`, `above`
    fn relation(&mut self) -> Option<usize> {
        self.takes(&["to", "the"]);
        RELATIONS.iter().position(|(name, _)| {
            let words: Vec<_> = name.split(' ').collect();
            self.takes(&words)
        })
    }

    /// `on a navy background`, `, navy background`, `on navy`
    fn background(&mut self) -> Option<&'static str> {
        let comma = self.takes(&[","]);
        let on = self.takes(&["on", "a"]) || self.takes(&["on"]);
        let name = (comma || on).then(|| self.one(&BACKGROUNDS)).flatten();
        let said = self.takes(&["background"]);
        name.filter(|_| on || said)
    }

    /// Whether these words come next; they are read then.
    fn takes(&mut self, words: &[&str]) -> bool {
        let rest = self.words.get(self.at..).unwrap_or_default();
        let next = rest.iter().map(String::as_str).take(words.len());
        let takes = next.eq(words.iter().copied());
        if takes {
            self.at += words.len();
        }
        takes
    }

    /// Whether one of these comes next; it is read then.
    fn says(&mut self, names: &[&'static str]) -> bool {
        self.one(names).is_some()
    }

    /// The next word, if it is one of these.
    fn one(&mut self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|name| self.takes(&[name]))
    }

    fn ended(&self) -> bool {
        self.at == self.words.len()
    }
}
