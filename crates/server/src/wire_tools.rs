//! Tools as clients see them, field by field and in the order of the published examples.
//!
//! What nobody measures here says so plainly: no one rates or comments, so those counts are
//! `"0"`; how long a run takes depends on the machine, so `computingtime` is empty. `taskstat` is
//! real. Ids, times and counts are decimal strings, but for `total`, `marketplace`, `runcount`
//! and the bounds of an input, which are numbers.

use serde::Serialize;
use serde_json::json;
use tintype_catalog::{Choice, Control, Input, Listed, Shelf, Tool};
use tintype_domain::ToolStats;
use tintype_service::ToolReport;

use crate::errors::ErrorEntry;
use crate::html::escape;

/// What a run costs, in millionths, while no operator has set a price.
const NO_PRICE_MICROS: u64 = 0;

/// What nobody has counted.
const NONE: &str = "0";

/// The answer to a question about tools.
#[derive(Debug, Serialize)]
pub struct ToolsAnswer<'a> {
    /// Always `true`.
    pub result: bool,
    /// Always empty.
    pub errors: [ErrorEntry; 0],
    /// Of a list: how many tools there are on all pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<usize>,
    /// The tools.
    pub tool: Vec<WireTool<'a>>,
}

/// The answer to a look around.
#[derive(Debug, Serialize)]
pub struct ExploreAnswer<'a> {
    /// Always `true`.
    pub result: bool,
    /// Always empty.
    pub errors: [ErrorEntry; 0],
    /// Tools that do the same kind of work, kind by kind.
    pub explore: Vec<WireShelf<'a>>,
}

/// How much of a tool is shown. What is left out is empty, so that clients may still count on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// All but the readme: clients fill their forms from such an answer.
    Form,
    /// Neither the readme nor the form.
    Card,
}

/// A tool.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireTool<'a> {
    pub id: String,
    pub title: String,
    pub slugowner: &'a str,
    pub slugproject: &'a str,
    pub cleanslugowner: &'a str,
    pub cleanslugproject: &'a str,
    pub description: &'a str,
    pub seodescription: &'a str,
    pub seotitle: String,
    pub image: &'a str,
    pub categories: &'a [String],
    pub tags: &'a [String],
    pub samples: [String; 0],
    pub computingtime: &'static str,
    pub readme: String,
    pub inspire: [String; 0],
    pub marketplace: u8,
    pub onlymembers: &'static str,
    pub averagepoint: &'static str,
    pub commentcount: &'static str,
    pub ratedusercount: &'static str,
    pub taskstat: WireStats,
    pub dynamicprice: String,
    pub cps: &'static str,
    pub approximatelycost: String,
    pub parameters: Vec<WireGroup<'a>>,
}

/// What became of a tool's runs.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireStats {
    pub runcount: u64,
    pub successcount: String,
    pub errorcount: String,
    pub lastruntime: String,
}

/// A part of a tool's form.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireGroup<'a> {
    pub title: &'static str,
    pub items: Vec<WireInput<'a>>,
}

/// One field of a tool's form.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireInput<'a> {
    pub id: &'a str,
    #[serde(rename = "type")]
    pub control: Control,
    pub label: &'a str,
    pub required: bool,
    pub default: &'a str,
    pub options: &'a [Choice],
    pub note: &'a str,
    pub placeholder: &'a str,
    #[serde(flatten)]
    pub bounds: Option<WireBounds>,
}

/// The whole numbers that a field takes.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireBounds {
    pub min: u64,
    pub max: u64,
    pub step: u64,
}

/// Tools that do the same kind of work.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireShelf<'a> {
    pub id: String,
    pub title: String,
    pub tools: Vec<WireExplored<'a>>,
}

/// A tool on a shelf.
#[derive(Debug, Serialize)]
#[expect(
    missing_docs,
    reason = "the names of the wire; contract.md explains each"
)]
pub struct WireExplored<'a> {
    pub id: String,
    pub cleanslugowner: &'a str,
    pub cleanslugproject: &'a str,
    pub image: &'a str,
    pub description: &'a str,
    pub categories: &'a [String],
    pub commentcount: &'static str,
    pub ratedusercount: &'static str,
    pub averagepoint: &'static str,
}

impl<'a> WireTool<'a> {
    /// A tool as clients see it.
    pub fn of(report: ToolReport<'a>, extent: Extent) -> Self {
        let ToolReport {
            number,
            tool,
            stats,
        } = report;
        // The name that the documents give it. Both slugs are clean as they are: they are what
        // stands in the address of a run.
        let title = tool.slug().to_string();
        Self {
            id: number.to_string(),
            slugowner: &tool.owner,
            slugproject: &tool.model,
            cleanslugowner: &tool.owner,
            cleanslugproject: &tool.model,
            description: &tool.description,
            seodescription: &tool.description,
            seotitle: title.clone(),
            title,
            image: &tool.cover,
            categories: &tool.categories,
            tags: &tool.tags,
            samples: [],
            computingtime: "",
            readme: match extent {
                Extent::Whole => readme(tool),
                Extent::Form | Extent::Card => String::new(),
            },
            inspire: [],
            marketplace: 1,
            // A run takes a project's key.
            onlymembers: "1",
            averagepoint: NONE,
            commentcount: NONE,
            ratedusercount: NONE,
            taskstat: WireStats::of(stats),
            dynamicprice: dynamic_price(NO_PRICE_MICROS),
            // Runs are never charged by the second.
            cps: NONE,
            approximatelycost: decimal(NO_PRICE_MICROS),
            parameters: match extent {
                Extent::Whole | Extent::Form => vec![WireGroup::of(tool)],
                Extent::Card => Vec::new(),
            },
        }
    }
}

impl WireStats {
    fn of(stats: ToolStats) -> Self {
        let last_run = stats.last_run.map_or(0, |at| at.seconds());
        Self {
            runcount: stats.runs,
            successcount: stats.successes.to_string(),
            errorcount: stats.failures.to_string(),
            lastruntime: last_run.to_string(),
        }
    }
}

impl<'a> WireGroup<'a> {
    fn of(tool: &'a Tool) -> Self {
        Self {
            title: "Inputs",
            items: tool.inputs.iter().map(WireInput::of).collect(),
        }
    }
}

impl<'a> WireInput<'a> {
    fn of(input: &'a Input) -> Self {
        let bounds = input.range.map(|range| WireBounds {
            min: range.min,
            max: range.max,
            step: 1,
        });
        Self {
            id: &input.id,
            control: input.control,
            label: &input.label,
            required: input.required,
            default: &input.default,
            options: &input.options,
            note: &input.help,
            placeholder: "",
            bounds,
        }
    }
}

impl<'a> WireShelf<'a> {
    /// A shelf at its place in an overview, counted from one.
    pub fn of(place: usize, shelf: Shelf<'a>) -> Self {
        Self {
            id: place.to_string(),
            title: shelf.title,
            tools: shelf.tools.into_iter().map(WireExplored::of).collect(),
        }
    }
}

impl<'a> WireExplored<'a> {
    fn of(listed: Listed<'a>) -> Self {
        let tool = listed.tool;
        Self {
            id: listed.number.to_string(),
            cleanslugowner: &tool.owner,
            cleanslugproject: &tool.model,
            image: &tool.cover,
            description: &tool.description,
            categories: &tool.categories,
            commentcount: NONE,
            ratedusercount: NONE,
            averagepoint: NONE,
        }
    }
}

/// The price list of a tool that costs the same whatever its inputs ("per run"): JSON in a string.
fn dynamic_price(micros: u64) -> String {
    let price: serde_json::Number = decimal(micros)
        .parse()
        .expect("a decimal number is JSON; this is a bug");
    json!([{"inputs": {}, "price": price, "priceMethod": "cpr"}]).to_string()
}

/// Millionths as a decimal number without zeros at its end.
fn decimal(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a tool does and what it takes, as the HTML that clients expect in `readme`.
fn readme(tool: &Tool) -> String {
    let inputs: String = tool
        .inputs
        .iter()
        .map(|input| {
            format!(
                "<li><code>{}</code>: {}</li>",
                escape(&input.id),
                escape(&input.help)
            )
        })
        .collect();
    format!("<p>{}</p><ul>{inputs}</ul>", escape(&tool.description))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_numbers_within_a_text() {
        let told =
            |price: &str| format!(r#"[{{"inputs":{{}},"price":{price},"priceMethod":"cpr"}}]"#);
        assert_eq!(dynamic_price(0), told("0"));
        assert_eq!(dynamic_price(80_000), told("0.08"));
        assert_eq!(dynamic_price(12_000_001), told("12.000001"));
        assert_eq!(decimal(10_000_000), "10");
    }

    #[test]
    fn a_readme_shows_markup_as_text() {
        let file = serde_json::json!({
            "owner": "o", "model": "m", "description": "a < b & \"c\"", "cover": "",
            "categories": [], "tags": [], "sizes": "pro", "inputs": [{
                "id": "<i>", "role": "prompt", "type": "text", "label": "", "help": "x > y",
                "default": "",
            }],
        });
        let tool: Tool = serde_json::from_value(file).expect("a tool");
        let expected = "<p>a &lt; b &amp; &quot;c&quot;</p>\
            <ul><li><code>&lt;i&gt;</code>: x &gt; y</li></ul>";
        assert_eq!(readme(&tool), expected);
    }
}
