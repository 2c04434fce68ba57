//! Tells what of a prompt or an instruction is in the model's language, and what is not.
//!
//! Read from the words alone, by the tables that the model's recipe wrote into its folder
//! (`language.json`): what the text asks for, not what a picture will show. Pure.

mod read;
mod words;

#[cfg(test)]
pub(crate) mod sentences;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use crate::language::SHIPPED;
use read::Reader;
use words::words_of;

/// A shape, and what is said of it. What is not said is the model's to choose, by rule or by seed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Object {
    /// `two`, `three`, `four`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
    /// The shape's name, whatever word was said for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// Its colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colour: Option<String>,
    /// Its size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// The colour of its outline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outline: Option<String>,
    /// One of the nine places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// One thing that an instruction asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `recolour`, `remove`, `add`, `replace`, `move`, `resize` or `background`.
    pub kind: &'static str,
    /// What is changed or added; none for the background. All empty for `it`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Object>,
    /// What it turns into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What was understood of a text, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The objects of a picture, in the order in which they are said.
    pub objects: Vec<Object>,
    /// How the first of them stand to each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// The background's pattern and colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<String>,
    /// What an instruction asks for.
    pub changes: Vec<Change>,
    /// Words that are not in the language, or that nothing could be made of: the model passes over them.
    pub ignored: Vec<String>,
}

/// What of a prompt the bundled model knows.
pub fn explain(prompt: &str) -> Explanation {
    Reader::new(&SHIPPED, &words_of(prompt)).picture()
}

/// The same for an instruction to change a picture.
pub fn explain_edit(instruction: &str) -> Explanation {
    Reader::new(&SHIPPED, &words_of(instruction)).instruction()
}

impl Explanation {
    /// Whether anything at all was understood.
    pub fn is_nothing(&self) -> bool {
        self.objects.is_empty() && self.background.is_none() && self.changes.is_empty()
    }
}

impl Change {
    fn new(kind: &'static str, object: Option<Object>, to: Option<String>) -> Self {
        Self { kind, object, to }
    }
}

impl fmt::Display for Object {
    /// `small red star with a black outline, top left`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = self.shape.as_deref().unwrap_or("shape");
        let said = [&self.count, &self.size, &self.colour];
        for word in said.into_iter().flatten() {
            write!(f, "{word} ")?;
        }
        f.write_str(shape)?;
        if let Some(colour) = &self.outline {
            write!(f, " with a {colour} outline")?;
        }
        if let Some(place) = &self.place {
            write!(f, ", {place}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = self.object.as_ref().map(|object| {
            if *object == Object::default() {
                "the object".to_owned()
            } else {
                object.to_string()
            }
        });
        let parts: Vec<_> = object.into_iter().chain(self.to.clone()).collect();
        f.write_str(&parts.join(" -> "))
    }
}

impl fmt::Display for Explanation {
    /// One line for each thing: what it is, and what was said of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for object in &self.objects {
            writeln!(f, "{:<12}{object}", "object")?;
        }
        for (label, found) in [
            ("relation", &self.relation),
            ("background", &self.background),
        ] {
            if let Some(found) = found {
                writeln!(f, "{label:<12}{found}")?;
            }
        }
        for change in &self.changes {
            writeln!(f, "{:<12}{change}", change.kind)?;
        }
        if self.is_nothing() {
            writeln!(f, "{:<12}nothing", "understood")?;
        }
        if !self.ignored.is_empty() {
            writeln!(f, "{:<12}{}", "not used", self.ignored.join(", "))?;
        }
        Ok(())
    }
}
