//! What a text or a picture may be about that is not wanted everywhere.

use std::fmt;
use std::str::FromStr;

/// One kind of content. The names are those of OpenAI's moderation endpoint where it has the same
/// kind, so that its scores need no translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Minors in a sexual context.
    SexualMinors,
    /// Nudity and sexual acts.
    Sexual,
    /// Blood, wounds and death, shown in detail.
    ViolenceGraphic,
    /// Violence done, wished or glorified.
    Violence,
    /// Harming oneself.
    SelfHarm,
    /// Hatred of people for what they are.
    Hate,
    /// Insulting, threatening or exposing a person.
    Harassment,
    /// Weapons and attacks: making, getting, using them.
    IllicitViolent,
    /// Other crimes: drugs, forgery, theft.
    Illicit,
}

impl Category {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// All of them, the gravest first: where several are reached, the first is named.
    pub const ALL: [Self; Self::COUNT] = [
        Self::SexualMinors,
        Self::Sexual,
        Self::ViolenceGraphic,
        Self::Violence,
        Self::SelfHarm,
        Self::Hate,
        Self::Harassment,
        Self::IllicitViolent,
        Self::Illicit,
    ];

    /// Its name in rule files, settings and reasons.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SexualMinors => "sexual/minors",
            Self::Sexual => "sexual",
            Self::ViolenceGraphic => "violence/graphic",
            Self::Violence => "violence",
            Self::SelfHarm => "self-harm",
            Self::Hate => "hate",
            Self::Harassment => "harassment",
            Self::IllicitViolent => "illicit/violent",
            Self::Illicit => "illicit",
        }
    }

    /// Its place in [`Category::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no category has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no category \"{name}\"; there are {}", known())]
pub struct UnknownCategory {
    name: String,
}

fn known() -> String {
    Category::ALL.map(Category::name).join(", ")
}

impl FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL
            .into_iter()
            .find(|category| category.name() == name);
        found.ok_or_else(|| UnknownCategory {
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_categories_and_places() {
        for (index, category) in Category::ALL.into_iter().enumerate() {
            assert_eq!(category.name().parse(), Ok(category));
            assert_eq!(category.index(), index);
        }
        let error = "gore".parse::<Category>().expect_err("no such name");
        assert!(error.to_string().contains("violence/graphic"), "{error}");
    }
}
