//! Reads a prompt or an instruction as far as it is in the language. Everything is optional: what
//! is not known is set aside, so that the rest still counts.

use super::words::Words;
use super::{Change, Explanation, Object};
use crate::language::Language;

/// Words that only join others.
const SMALL_WORDS: [&str; 34] = [
    "a", "an", "the", "in", "at", "on", "of", "to", "and", "with", "into", "then", "is", "are",
    "by", "for", "from", "side", "corner", "draw", "paint", "show", "me", "please", "picture",
    "drawing", "image", "put", "stands", "sits", "both", "them", "their", ",",
];
const ARTICLES: [&str; 3] = ["a", "an", "the"];
const COUNTS: [&str; 3] = ["two", "three", "four"];
/// Nouns that leave the shape open.
const ANY_SHAPE: [&str; 5] = ["shape", "shapes", "one", "something", "it"];
const GROUND_NOUNS: [&str; 2] = ["background", "backdrop"];

pub(super) struct Reader<'a> {
    language: &'a Language,
    words: Words<'a>,
    found: Explanation,
    /// How many objects had been said when the relation was.
    said_before_relation: usize,
}

/// What is said of an object before its noun comes, with the words themselves.
#[derive(Default)]
struct Said {
    object: Object,
    words: Vec<String>,
    /// Words between these and the noun that are not known: they may be a noun themselves.
    strange: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(language: &'a Language, words: &'a [String]) -> Self {
        Self {
            language,
            words: Words::new(words),
            found: Explanation::default(),
            said_before_relation: 0,
        }
    }

    /// The whole as a picture.
    pub(super) fn picture(mut self) -> Explanation {
        let mut said = Said::default();
        while !self.words.ended() {
            if !self.piece_of_picture(&mut said) {
                self.pass_over(&mut said);
            }
        }
        self.set_aside(&mut said);
        self.put_relation_between();
        self.found
    }

    /// `a circle with a star inside` is a star inside a circle.
    fn put_relation_between(&mut self) {
        let count = self.found.objects.len();
        if self.found.relation.is_some() && count >= 2 && self.said_before_relation == count {
            self.found.objects.swap(count - 2, count - 1);
        }
    }

    /// Reads what is known next.
    fn piece_of_picture(&mut self, said: &mut Said) -> bool {
        if let Some(background) = self.background() {
            self.found.background.get_or_insert(background);
            return true;
        }
        if let Some(relation) = self.words.name(&self.language.relations) {
            if self.found.relation.is_none() {
                self.said_before_relation = self.found.objects.len();
            }
            self.found.relation.get_or_insert(relation.to_owned());
            return true;
        }
        if let Some(outline) = self.outline_behind() {
            match self.found.objects.last_mut() {
                Some(object) => object.outline = Some(outline),
                None => said.object.outline = Some(outline),
            }
            return true;
        }
        if let Some(place) = self.place() {
            self.put(place, said);
            return true;
        }
        self.noun(said) || self.adjective(said) || self.scenery()
    }

    /// A place belongs to the object before it, or to the next where that has one.
    fn put(&mut self, place: String, said: &mut Said) {
        match self.found.objects.last_mut() {
            Some(object) if object.place.is_none() => object.place = Some(place),
            _ => said.object.place = Some(place),
        }
    }

    /// One word that is not known here, or that only joins others.
    fn pass_over(&mut self, said: &mut Said) {
        let Some(word) = self.words.peek() else {
            return;
        };
        self.words.at += 1;
        let joins = SMALL_WORDS.contains(&word);
        if !joins {
            said.strange.push(word.to_owned());
        }
        // `a red dog in`: what was said is the dog's, and no shape's that may follow.
        let ends = joins && !said.strange.is_empty() || word == "," || word == "and";
        if ends || said.words.is_empty() {
            self.set_aside(said);
        }
    }

    /// What is said of nothing that is known; a place is for the next object.
    fn set_aside(&mut self, said: &mut Said) {
        self.found.ignored.append(&mut said.words);
        self.found.ignored.append(&mut said.strange);
        said.object = Object {
            place: said.object.place.take(),
            ..Object::default()
        };
    }

    fn adjective(&mut self, said: &mut Said) -> bool {
        let start = self.words.at;
        if self.words.takes(&COUNTS) {
            said.object.count = self.words.since(start).first().cloned();
        } else if let Some(size) = self.words.name(&self.language.sizes) {
            said.object.size = Some(size.to_owned());
        } else if let Some(colour) = self.words.name(&self.language.colours) {
            let outlined = self.words.takes(&["outlined"]);
            let place = if outlined {
                &mut said.object.outline
            } else {
                &mut said.object.colour
            };
            *place = Some(colour.to_owned());
        } else {
            return false;
        }
        said.words.extend_from_slice(self.words.since(start));
        true
    }

    fn noun(&mut self, said: &mut Said) -> bool {
        if let Some(shape) = self.words.name(&self.language.shapes) {
            said.object.shape = Some(shape.to_owned());
        } else if let Some((colour, shape)) = self.words.stands_for(&self.language.things) {
            said.object.shape = Some(shape.to_owned());
            said.object.colour.get_or_insert(colour.to_owned());
        } else if said.words.is_empty() || !self.words.takes(&ANY_SHAPE) {
            return false;
        }
        let mut done = std::mem::take(said);
        self.found.ignored.append(&mut done.strange);
        self.found.objects.push(done.object);
        true
    }

    fn scenery(&mut self) -> bool {
        let found = self.words.stands_for(&self.language.scenery);
        if let Some((pattern, name)) = found {
            let ground = Ground {
                name: Some(name),
                pattern: Some(pattern),
            };
            self.found.background.get_or_insert(ground.text());
        }
        found.is_some()
    }

    /// `with a black outline`
    fn outline_behind(&mut self) -> Option<String> {
        let start = self.words.at;
        self.words.takes(&["with"]);
        self.words.takes(&ARTICLES);
        let colour = self.words.name(&self.language.colours);
        let whole = colour.is_some() && self.words.takes(&["outline", "outlines"]);
        self.or_back(start, colour.filter(|_| whole).map(str::to_owned))
    }

    /// `in the top left`, `at the bottom`
    fn place(&mut self) -> Option<String> {
        let start = self.words.at;
        let there = self.words.takes(&[
            "in the", "at the", "on the", "to the", "into the", "in", "at", "to",
        ]);
        let place = there.then(|| self.words.name(&self.language.places));
        self.or_back(start, place.flatten().map(str::to_owned))
    }

    /// `on a striped navy background`, `, cream background`, `on navy`, `on a blue gradient`
    fn background(&mut self) -> Option<String> {
        let start = self.words.at;
        self.words.takes(&[","]);
        let on = self.words.takes(&["on", "against"]);
        let _with = !on && self.words.takes(&["in", "with"]);
        self.words.takes(&ARTICLES);
        let mut ground = self.ground_words();
        let noun = self.words.takes(&GROUND_NOUNS);
        let alone = on && matches!(self.words.peek(), None | Some("," | "and"));
        let known = ground.is_said() && (noun || alone);
        if known && self.words.takes(&["with"]) {
            let behind = self.words.name(&self.language.patterns);
            self.words.at -= usize::from(behind.is_none());
            ground.pattern = behind.or(ground.pattern);
        }
        self.or_back(start, known.then(|| ground.text()))
    }

    /// A background's colour and pattern, in either order.
    fn ground_words(&mut self) -> Ground<'a> {
        let mut found = Ground::default();
        for _ in 0..2 {
            let language = self.language;
            found.name = found
                .name
                .or_else(|| self.words.name(&language.backgrounds));
            found.pattern = found
                .pattern
                .or_else(|| self.words.name(&language.patterns));
        }
        found
    }

    fn or_back<T>(&mut self, start: usize, found: Option<T>) -> Option<T> {
        if found.is_none() {
            self.words.at = start;
        }
        found
    }

    // ------------------------------------------------------------ instructions

    /// The whole as an instruction: changes joined by `and`.
    pub(super) fn instruction(mut self) -> Explanation {
        while !self.words.ended() {
            let start = self.words.at;
            let change = self.change();
            match self.or_back(start, change) {
                Some(change) => self.found.changes.push(change),
                None => self.pass_over(&mut Said::default()),
            }
        }
        self.found
    }

    fn change(&mut self) -> Option<Change> {
        let first = self.words.peek()?;
        let kind = self.words.name(&self.language.edits)?;
        let start = self.words.at;
        let background = self.new_background(kind);
        if let Some(to) = self.or_back(start, background) {
            return Some(Change::new("background", None, Some(to)));
        }
        if kind == "add" && !matches!(self.words.peek(), Some("the" | "it")) {
            let mut object = self.object()?;
            object.place = self.place();
            return Some(Change::new("add", Some(object), None));
        }
        let object = self.object()?;
        match kind {
            "remove" => Some(Change::new("remove", Some(object), None)),
            "resize" => {
                let size = if first == "shrink" { "small" } else { "large" };
                Some(Change::new("resize", Some(object), Some(size.to_owned())))
            }
            _ => self.becomes(object),
        }
    }

    /// `the background navy`, `it on a striped background`
    fn new_background(&mut self, kind: &str) -> Option<String> {
        if kind == "add" {
            return self
                .words
                .takes(&["it"])
                .then(|| self.background())
                .flatten();
        }
        let named = self.words.takes(&["the background", "the backdrop"]);
        named.then_some(())?;
        self.words.takes(&["to"]);
        let ground = self.ground_words();
        ground.is_said().then(|| ground.text())
    }

    /// One object with all that is said of it.
    fn object(&mut self) -> Option<Object> {
        self.words.takes(&ARTICLES);
        if self.words.takes(&["it"]) {
            return Some(Object::default());
        }
        let mut said = Said::default();
        while self.adjective(&mut said) {}
        self.noun(&mut said).then_some(())?;
        let mut object = self.found.objects.pop()?;
        object.outline = object.outline.or_else(|| self.outline_behind());
        Some(object)
    }

    /// What an object turns into: another place, colour, size or shape.
    fn becomes(&mut self, object: Object) -> Option<Change> {
        let start = self.words.at;
        let place = self.place();
        if let Some(place) = place {
            return Some(Change::new("move", Some(object), Some(place)));
        }
        self.words.at = start;
        self.words.takes(&["to", "into", "with", "for"]);
        self.words.takes(&ARTICLES);
        let choices = [
            ("recolour", &self.language.colours),
            ("resize", &self.language.sizes),
            ("replace", &self.language.shapes),
        ];
        let found = choices.into_iter().find_map(|(kind, names)| {
            let name = self.words.name(names)?;
            Some((kind, name.to_owned()))
        });
        found.map(|(kind, to)| Change::new(kind, Some(object), Some(to)))
    }
}

/// What is said of a background.
#[derive(Default)]
struct Ground<'a> {
    name: Option<&'a str>,
    pattern: Option<&'a str>,
}

impl Ground<'_> {
    fn is_said(&self) -> bool {
        self.name.is_some() || self.pattern.is_some()
    }

    /// `striped navy`; plain backgrounds are said by their colour alone.
    fn text(&self) -> String {
        let named = self.name.is_some();
        let pattern = self.pattern.filter(|pattern| *pattern != "plain" || !named);
        let parts: Vec<_> = pattern.into_iter().chain(self.name).collect();
        parts.join(" ")
    }
}
