//! What a tool file says. The texts are those of the documents that clients were written against.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tintype_domain::ToolSlug;

/// One tool: a model behind a form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// The publisher: the first half of the address.
    pub owner: String,
    /// The second half of the address.
    pub model: String,
    /// One paragraph for people.
    pub description: String,
    /// The address of a picture that stands for it.
    pub cover: String,
    /// Where it is listed.
    pub categories: Vec<String>,
    /// What it is found by.
    pub tags: Vec<String>,
    /// Where its aspect ratios are looked up.
    pub sizes: Sizes,
    /// Its form, in order.
    pub inputs: Vec<Input>,
}

impl Tool {
    /// Its address.
    pub fn slug(&self) -> ToolSlug {
        ToolSlug::new(&self.owner, &self.model)
    }

    /// The input that a client's field name means, aliases included.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.is_called(name))
    }
}

/// Which table of sizes a tool's aspect ratios are looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizes {
    /// The 17 preferred Kontext sizes.
    Kontext,
    /// Multiples of 32 with sides of at most 1440.
    Pro,
}

/// One field of a tool's form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The field's name on the wire, and in the echoed parameters.
    pub id: String,
    /// Other names that clients use for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What a run does with it.
    pub role: Role,
    /// How a form shows it.
    #[serde(rename = "type")]
    pub control: Control,
    /// Its caption.
    pub label: String,
    /// A sentence of help.
    pub help: String,
    /// Whether a run needs it from the client; the default then only fills a form.
    #[serde(default)]
    pub required: bool,
    /// What stands in a fresh form, and what a run takes when the field does not come.
    pub default: String,
    /// What `""` means.
    #[serde(default)]
    pub empty: EmptyMeans,
    /// What a select offers.
    #[serde(default)]
    pub options: Vec<Choice>,
    /// Other spellings of options, by what they mean.
    #[serde(default)]
    pub synonyms: BTreeMap<String, String>,
    /// The numbers that are accepted, whatever a select offers.
    #[serde(default)]
    pub range: Option<Range>,
}

impl Input {
    /// Whether a client's field name means this input.
    pub fn is_called(&self, name: &str) -> bool {
        self.id == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// What a run does with an input. A tool has each of them at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The picture to work from.
    Image,
    /// What to draw, or to change.
    Prompt,
    /// Whether the prompt may be rewritten.
    Upsampling,
    /// How much is let through.
    Safety,
    /// Width to height.
    AspectRatio,
    /// Where the noise starts.
    Seed,
    /// The file type of the result.
    OutputFormat,
}

/// How a form shows an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// One line of text.
    Text,
    /// Several lines of text.
    Textarea,
    /// A list to choose from.
    Select,
}

/// What an empty field means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyMeans {
    /// The same as a field that does not come: the default.
    #[default]
    Default,
    /// A fresh random value.
    Random,
}

/// One line of a select.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// What is sent.
    pub value: String,
    /// What is shown.
    pub label: String,
}

/// The numbers that an input accepts, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least.
    pub min: u64,
    /// The greatest.
    pub max: u64,
}
