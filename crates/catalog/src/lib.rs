//! The tools as data, and the rules that turn what clients send into what a run uses.
//!
//! One file a tool stands in `tools/`: its texts, inputs, options and defaults. The service asks
//! for a [`Tool`] by its slug and has it [`validate`](Tool::validate) the fields of a request; the
//! worker validates the recorded parameters again, which by construction gives the same
//! [`Inputs`]. Knows neither HTTP nor files nor engines.

mod coerce;
mod extras;
mod inputs;
mod search;
mod tool;
mod validate;

use tintype_domain::ToolSlug;

pub use inputs::{AspectRatio, ImageReference, InputImage, Inputs, OutputFormat, SamplerInputs};
pub use search::{Found, Listed, Order, Shelf, ToolQuery, ToolSort};
pub use tool::{Choice, Control, Decimals, EmptyMeans, Input, Offered, Range, Role, Sizes, Tool};
pub use validate::{Fields, InputError, MAX_PROMPT_CHARS, MAX_REFERENCE_CHARS};

/// The files that ship inside the binary, in the order in which they are listed. A new tool is a file
/// in `tools/` and a line at the end: clients know tools by their numbers, too.
const KNOWN: [&str; 6] = [
    include_str!("../tools/flux-kontext-max.json"),
    include_str!("../tools/flux-pro-1.1.json"),
    include_str!("../tools/flux-schnell.json"),
    include_str!("../tools/flux-dev.json"),
    include_str!("../tools/flux-krea-dev.json"),
    include_str!("../tools/flux-kontext-dev.json"),
];

/// Why a tool file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the tool file cannot be read: {0}")]
pub struct CatalogError(#[from] serde_json::Error);

/// All tools that a service offers.
#[derive(Debug, Clone)]
pub struct Catalog {
    tools: Vec<Tool>,
    /// Of each tool, counted from one: its place among all that are known, whichever are offered.
    numbers: Vec<usize>,
}

impl Catalog {
    /// The tools that every service offers.
    pub fn builtin() -> Self {
        Self::known().offering(|_| false)
    }

    /// All tools that ship with the program, offered or not.
    ///
    /// # Panics
    /// Never: a test reads the same files.
    pub fn known() -> Self {
        Self::parse(&KNOWN).expect("the built-in tool files are readable; this is a bug")
    }

    /// Those that a service offers on which these are bound to a model. They keep their numbers.
    #[must_use]
    pub fn offering(self, is_bound: impl Fn(&ToolSlug) -> bool) -> Self {
        let numbered = self.tools.into_iter().zip(self.numbers);
        let (tools, numbers) = numbered
            .filter(|(tool, _)| tool.offered == Offered::Always || is_bound(&tool.slug()))
            .unzip();
        Self { tools, numbers }
    }

    /// Reads tool files.
    ///
    /// # Errors
    /// [`CatalogError`] with the place of the first fault.
    pub fn parse(files: &[&str]) -> Result<Self, CatalogError> {
        let tools = files
            .iter()
            .map(|file| serde_json::from_str(file))
            .collect::<Result<Vec<_>, _>>()?;
        let numbers = (1..=tools.len()).collect();
        Ok(Self { tools, numbers })
    }

    /// The tool at this address.
    pub fn tool(&self, slug: &ToolSlug) -> Option<&Tool> {
        self.tools
            .iter()
            .find(|tool| tool.owner == slug.owner && tool.model == slug.model)
    }

    /// All tools, in the order in which they are listed.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }
}
