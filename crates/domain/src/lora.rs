//! LoRAs as requests and settings name them: `style:0.8, detail:-0.3`.

use std::fmt;
use std::str::FromStr;

/// LoRAs at once at most: each costs two products a layer, and more than a few only fight each other.
pub const MAX_LORAS: usize = 8;

/// The weight of a LoRA at most, up and down. Useful ones are below two; those that are made as sliders
/// go to ten.
pub const MAX_LORA_WEIGHT: f32 = 20.0;

/// Says that no LoRA is wanted, where a tool has some.
const NONE: &str = "none";

/// Bytes of a name at most: what file systems take, without the ending.
const MAX_NAME_BYTES: usize = 200;

/// What a LoRA is called: a file's name without its ending. Never a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoraName(String);

/// A LoRA and how much of it.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraChoice {
    /// Which one.
    pub name: LoraName,
    /// 1 as it was trained, 0 not at all, below 0 away from it.
    pub weight: f32,
}

/// Why a text names no LoRAs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoraError {
    /// Not a name.
    #[error("`{0}` is no name of a LoRA: give its file's name without folder and ending")]
    Name(String),
    /// Not a weight, or one out of bounds.
    #[error(
        "`{0}` is no weight of a LoRA: give a number between -{MAX_LORA_WEIGHT} and {MAX_LORA_WEIGHT}, \
         such as style:0.8"
    )]
    Weight(String),
    /// The same one again.
    #[error("the LoRA {0} is named twice")]
    Twice(LoraName),
    /// Too many.
    #[error("{0} LoRAs are more than the {MAX_LORAS} that can be applied at once")]
    TooMany(usize),
}

impl LoraName {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LoraName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LoraName {
    type Err = LoraError;

    /// No separators, no leading dot: nothing that could lead out of a folder.
    fn from_str(text: &str) -> Result<Self, LoraError> {
        let text = text.trim();
        let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':' | ',');
        let fits = (1..=MAX_NAME_BYTES).contains(&text.len());
        match fits && !text.starts_with('.') && !text.contains(odd) {
            true => Ok(Self(text.to_owned())),
            // As much of it as says which one is meant.
            false => Err(LoraError::Name(text.chars().take(80).collect())),
        }
    }
}

impl FromStr for LoraChoice {
    type Err = LoraError;

    /// `NAME` or `NAME:WEIGHT`.
    fn from_str(text: &str) -> Result<Self, LoraError> {
        let (name, weight) = text.split_once(':').unwrap_or((text, "1"));
        Ok(Self {
            name: name.parse()?,
            weight: parse_weight(weight)?,
        })
    }
}

impl LoraChoice {
    /// A list as requests have it: choices with commas between them. `none`, and an empty text, is an
    /// empty list.
    ///
    /// # Errors
    /// [`LoraError`] for the first that is wrong.
    pub fn list(text: &str) -> Result<Vec<Self>, LoraError> {
        if text.trim() == NONE {
            return Ok(Vec::new());
        }
        let texts = text.split(',').map(str::trim).filter(|t| !t.is_empty());
        let choices: Vec<Self> = texts.map(str::parse).collect::<Result<_, _>>()?;
        Self::check(&choices)?;
        Ok(choices)
    }

    /// Whether these can be applied together.
    ///
    /// # Errors
    /// [`LoraError::TooMany`] and [`LoraError::Twice`].
    pub fn check(choices: &[Self]) -> Result<(), LoraError> {
        if choices.len() > MAX_LORAS {
            return Err(LoraError::TooMany(choices.len()));
        }
        let again = choices.iter().enumerate().find(|(index, choice)| {
            let earlier = &choices[..*index];
            earlier.iter().any(|other| other.name == choice.name)
        });
        match again {
            Some((_, choice)) => Err(LoraError::Twice(choice.name.clone())),
            None => Ok(()),
        }
    }
}

/// A weight as people write it.
///
/// # Errors
/// [`LoraError::Weight`]
pub fn parse_weight(text: &str) -> Result<f32, LoraError> {
    let weight = text.trim().parse().ok();
    weight
        .filter(|weight: &f32| weight.abs() <= MAX_LORA_WEIGHT)
        .ok_or_else(|| LoraError::Weight(text.chars().take(80).collect()))
}

#[cfg(test)]
mod tests {
    use super::{LoraChoice, LoraError, MAX_LORAS};

    fn read(text: &str) -> Vec<(String, f32)> {
        let list = LoraChoice::list(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let pairs = list.into_iter().map(|c| (c.name.to_string(), c.weight));
        pairs.collect()
    }

    #[test]
    fn a_list_is_names_and_weights() {
        let pair = |name: &str, weight| (name.to_owned(), weight);
        assert_eq!(read("style"), [pair("style", 1.0)]);
        let two = [pair("style", 0.8), pair("more detail", -0.3)];
        assert_eq!(read(" style:0.8, more detail : -0.3 ,"), two);
        assert_eq!(read("a.b_v1-2:0"), [pair("a.b_v1-2", 0.0)]);
        assert_eq!(read(" , "), []);
        assert_eq!(read("none"), []);
    }

    #[test]
    fn what_could_lead_out_of_the_folder_is_no_name() {
        for bad in [
            "../secret",
            "a/b",
            "a\\b",
            "..",
            ".hidden",
            "/etc/passwd",
            "a\0b",
            "a\nb",
            ":1",
            " :1",
        ] {
            let error = LoraChoice::list(bad).expect_err(bad);
            assert!(matches!(error, LoraError::Name(_)), "{bad}: {error}");
        }
        LoraChoice::list(&"x".repeat(201)).expect_err("too long");
    }

    #[test]
    fn weights_are_numbers_within_bounds() {
        for bad in ["a:", "a:x", "a:nan", "a:inf", "a:20.5", "a:-21", "a:1:2"] {
            let error = LoraChoice::list(bad).expect_err(bad);
            assert!(matches!(error, LoraError::Weight(_)), "{bad}: {error}");
        }
    }

    #[test]
    fn none_comes_twice_and_none_too_many() {
        let twice = LoraChoice::list("a:1, b, a:0.5").expect_err("twice");
        assert_eq!(twice.to_string(), "the LoRA a is named twice");
        let names: Vec<String> = (0..=MAX_LORAS).map(|i| format!("a{i}")).collect();
        assert_eq!(
            LoraChoice::list(&names.join(",")),
            Err(LoraError::TooMany(MAX_LORAS + 1))
        );
        assert_eq!(read(&names[1..].join(",")).len(), MAX_LORAS);
    }
}
