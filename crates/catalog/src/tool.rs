//! What a tool file says. The texts are those of the documents that clients were written against.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tintype_domain::ToolSlug;

use crate::extras;

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
    /// When it is offered.
    #[serde(default, skip_serializing_if = "Offered::is_always")]
    pub offered: Offered,
    /// Where its aspect ratios are looked up.
    pub sizes: Sizes,
    /// Its form, in order.
    pub inputs: Vec<Input>,
    /// What it takes besides, in order: parameters of this service that the published form does not
    /// have. A tool's file names them; what they are stands in `tools/extras.json`. One that does
    /// not come changes nothing and is not echoed.
    #[serde(default, deserialize_with = "extras::named")]
    pub extras: Vec<Input>,
}

impl Tool {
    /// Its address.
    pub fn slug(&self) -> ToolSlug {
        ToolSlug::new(&self.owner, &self.model)
    }

    /// Its form, and what it takes besides.
    pub fn all_inputs(&self) -> impl Iterator<Item = &Input> {
        self.inputs.iter().chain(&self.extras)
    }

    /// The input that a client's field name means, aliases included.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.all_inputs().find(|input| input.is_called(name))
    }
}

/// When a tool is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offered {
    /// By every service: without its model another one stands in.
    #[default]
    Always,
    /// Where its operator bound a model to it.
    WhenBound,
}

impl Offered {
    fn is_always(&self) -> bool {
        *self == Self::Always
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
    /// The whole numbers that are accepted, whatever a select offers.
    #[serde(default)]
    pub range: Option<Range>,
    /// The numbers with decimals that are accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<Decimals>,
}

impl Input {
    /// Whether a client's field name means this input.
    pub fn is_called(&self, name: &str) -> bool {
        self.id == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// What a run does with an input. A tool has each of them at most once, but for pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A picture to work from. The only role that several inputs of a tool may have: the order of
    /// the form is that of the pictures.
    Image,
    /// The picture that the drawing starts from.
    StartImage,
    /// How far the drawing goes away from it.
    Strength,
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
    /// How many pictures are drawn.
    NumOutputs,
    /// Denoising steps.
    Steps,
    /// The scale of distilled guidance.
    Guidance,
    /// How far the steps are moved towards noise.
    Shift,
    /// What the picture shall not show.
    NegativePrompt,
    /// The scale of classifier-free guidance.
    TrueCfg,
    /// LoRAs and their weights.
    Loras,
}

impl Role {
    /// Whether a file may come in the input's place.
    pub fn is_picture(self) -> bool {
        matches!(self, Self::Image | Self::StartImage)
    }
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

/// The numbers with decimals that an input accepts, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decimals {
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// What a form goes up and down by.
    pub step: f64,
}
