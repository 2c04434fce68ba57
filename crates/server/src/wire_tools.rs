//! Tools as clients see them, field by field and in the order of the published examples.
//!
//! What nobody measures here says so plainly: no one rates or comments, so those counts are
//! `"0"`; how long a run takes depends on the machine, so `computingtime` is empty. `taskstat` is
//! real. Ids, times and counts are decimal strings, but for `total`, `marketplace`, `runcount`
//! and the bounds of an input, which are numbers.

use serde::Serialize;
use serde_json::{Number, json};
use tintype_catalog::{Choice, Control, Decimals, Input, Listed, Range, Shelf, Tool};
use tintype_domain::ToolStats;
use tintype_service::ToolReport;
use utoipa::ToSchema;

use crate::errors::ErrorEntry;
use crate::html::escape;
use crate::openapi::words;

/// The caption of parameters that the published forms do not have.
const EXTRAS_TITLE: &str = "Additional inputs of this service";

/// What nobody has counted.
const NONE: &str = "0";

/// The answer to a question about tools.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tools)]
pub struct ToolsAnswer<'a> {
    /// Always `true`.
    #[schema(schema_with = words::yes)]
    pub result: bool,
    /// Always empty: failures have their own envelope.
    #[schema(schema_with = words::no_errors)]
    pub errors: [ErrorEntry; 0],
    /// Of a list: how many tools there are on all pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub total: Option<usize>,
    /// The tools.
    pub tool: Vec<WireTool<'a>>,
}

/// The answer to a look around.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Shelves)]
pub struct ExploreAnswer<'a> {
    /// Always `true`.
    #[schema(schema_with = words::yes)]
    pub result: bool,
    /// Always empty: failures have their own envelope.
    #[schema(schema_with = words::no_errors)]
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
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tool)]
pub struct WireTool<'a> {
    /// The tool's number.
    #[schema(pattern = "^[0-9]+$")]
    pub id: String,
    /// Its name.
    pub title: String,
    /// The first half of its address.
    pub slugowner: &'a str,
    /// The second half of its address.
    pub slugproject: &'a str,
    /// The first half of its address, as it stands in the path of a run.
    pub cleanslugowner: &'a str,
    /// The second half of its address, as it stands in the path of a run.
    pub cleanslugproject: &'a str,
    /// What it does.
    pub description: &'a str,
    /// What it does, for search engines.
    pub seodescription: &'a str,
    /// Its name, for search engines.
    pub seotitle: String,
    /// The address of a picture that stands for it.
    pub image: &'a str,
    /// Where it is listed.
    pub categories: &'a [String],
    /// What it is found by.
    pub tags: &'a [String],
    /// Always empty.
    #[schema(value_type = Vec<String>, max_items = 0)]
    pub samples: [String; 0],
    /// Always `""`: it depends on the machine.
    pub computingtime: &'static str,
    /// HTML: what it does and what it takes; `""` where only a summary was asked for.
    pub readme: String,
    /// Always empty.
    #[schema(value_type = Vec<String>, max_items = 0)]
    pub inspire: [String; 0],
    /// Always 1.
    pub marketplace: u8,
    /// Always `"1"`: a run takes a project's key.
    pub onlymembers: &'static str,
    /// Always `"0"`: nobody rates.
    pub averagepoint: &'static str,
    /// Always `"0"`: nobody comments.
    pub commentcount: &'static str,
    /// Always `"0"`: nobody rates.
    pub ratedusercount: &'static str,
    /// What became of its runs, of all projects together.
    pub taskstat: WireStats,
    /// What a run costs: JSON in a text.
    pub dynamicprice: String,
    /// Price by the second: always `"0"`.
    pub cps: &'static str,
    /// What a run costs.
    #[schema(pattern = r"^[0-9]+(\.[0-9]+)?$")]
    pub approximatelycost: String,
    /// Its form; empty where only a card was asked for.
    pub parameters: Vec<WireGroup<'a>>,
}

/// What became of a tool's runs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ToolStats)]
pub struct WireStats {
    /// Accepted.
    pub runcount: u64,
    /// Ended well.
    #[schema(pattern = "^[0-9]+$")]
    pub successcount: String,
    /// Failed.
    #[schema(pattern = "^[0-9]+$")]
    pub errorcount: String,
    /// When the newest was accepted, in unix seconds; `"0"` without any.
    #[schema(pattern = "^[0-9]+$")]
    pub lastruntime: String,
}

/// A part of a tool's form.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FormGroup)]
pub struct WireGroup<'a> {
    /// Its caption.
    pub title: &'static str,
    /// Its fields, in order.
    pub items: Vec<WireInput<'a>>,
}

/// One field of a tool's form.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FormField)]
pub struct WireInput<'a> {
    /// The field's name in a run.
    pub id: &'a str,
    #[serde(rename = "type")]
    /// How a form shows it.
    #[schema(schema_with = words::control)]
    pub control: Control,
    /// Its caption.
    pub label: &'a str,
    /// Whether a run needs it.
    pub required: bool,
    /// What stands in a fresh form, and what a run takes when an optional field does not come.
    pub default: &'a str,
    /// What a select offers.
    #[schema(schema_with = words::choices)]
    pub options: &'a [Choice],
    /// A sentence of help.
    pub note: &'a str,
    /// Always `""`.
    pub placeholder: &'a str,
    /// Of a field that takes numbers: the least.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = f64)]
    pub min: Option<Number>,
    /// The greatest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = f64)]
    pub max: Option<Number>,
    /// The distance between two of them; 1 where only whole numbers are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = f64)]
    pub step: Option<Number>,
}

/// Tools that do the same kind of work.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Shelf)]
pub struct WireShelf<'a> {
    /// Its place.
    #[schema(pattern = "^[0-9]+$")]
    pub id: String,
    /// What its tools do.
    pub title: String,
    /// Its tools.
    pub tools: Vec<WireExplored<'a>>,
}

/// A tool on a shelf.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShelvedTool)]
pub struct WireExplored<'a> {
    /// The tool's number.
    #[schema(pattern = "^[0-9]+$")]
    pub id: String,
    /// The first half of its address, as it stands in the path of a run.
    pub cleanslugowner: &'a str,
    /// The second half of its address, as it stands in the path of a run.
    pub cleanslugproject: &'a str,
    /// The address of a picture that stands for it.
    pub image: &'a str,
    /// What it does.
    pub description: &'a str,
    /// Where it is listed.
    pub categories: &'a [String],
    /// Always `"0"`: nobody comments.
    pub commentcount: &'static str,
    /// Always `"0"`: nobody rates.
    pub ratedusercount: &'static str,
    /// Always `"0"`: nobody rates.
    pub averagepoint: &'static str,
}

impl<'a> WireTool<'a> {
    /// A tool as clients see it.
    pub fn of(report: ToolReport<'a>, extent: Extent) -> Self {
        let ToolReport {
            number,
            tool,
            stats,
            price_micros,
        } = report;
        // Prices are never negative.
        let price_micros = u64::try_from(price_micros).unwrap_or_default();
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
            dynamicprice: dynamic_price(price_micros),
            // Runs are never charged by the second.
            cps: NONE,
            approximatelycost: decimal(price_micros),
            parameters: match extent {
                Extent::Whole | Extent::Form => WireGroup::all_of(tool),
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
    /// The published form, and what the tool takes besides.
    fn all_of(tool: &'a Tool) -> Vec<Self> {
        let groups = [("Inputs", &tool.inputs), (EXTRAS_TITLE, &tool.extras)];
        let groups = groups.into_iter().filter(|(_, inputs)| !inputs.is_empty());
        let group = |(title, inputs): (_, &'a Vec<Input>)| Self {
            title,
            items: inputs.iter().map(WireInput::of).collect(),
        };
        groups.map(group).collect()
    }
}

impl<'a> WireInput<'a> {
    fn of(input: &'a Input) -> Self {
        let bounds = bounds(input);
        Self {
            id: &input.id,
            control: input.control,
            label: &input.label,
            required: input.required,
            default: &input.default,
            options: &input.options,
            note: &input.help,
            placeholder: "",
            min: bounds.clone().map(|[min, _, _]| min),
            max: bounds.clone().map(|[_, max, _]| max),
            step: bounds.map(|[_, _, step]| step),
        }
    }
}

/// The least and the greatest number that an input takes, and the distance between two.
fn bounds(input: &Input) -> Option<[Number; 3]> {
    let whole = |range: Range| [range.min, range.max, 1].map(Number::from);
    let number = |value| Number::from_f64(value).expect("a bound is finite; this is a bug");
    let decimal = |range: Decimals| [range.min, range.max, range.step].map(number);
    input.range.map(whole).or(input.decimals.map(decimal))
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
    let inputs = listed(&tool.inputs);
    let mut readme = format!("<p>{}</p><ul>{inputs}</ul>", escape(&tool.description));
    if !tool.extras.is_empty() {
        let extras = listed(&tool.extras);
        readme.push_str(&format!("<p>{EXTRAS_TITLE}:</p><ul>{extras}</ul>"));
    }
    readme
}

fn listed(inputs: &[Input]) -> String {
    let line = |input: &Input| {
        let (id, help) = (escape(&input.id), escape(&input.help));
        format!("<li><code>{id}</code>: {help}</li>")
    };
    inputs.iter().map(line).collect()
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
