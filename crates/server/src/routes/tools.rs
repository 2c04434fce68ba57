//! `POST /v1/Tool/…`: what is offered, and how to ask for it.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tintype_catalog::{InputError, Order, ToolQuery, ToolSort};
use tintype_domain::ToolSlug;
use tintype_service::{RawInputs, RawValue};
use utoipa::ToSchema;
use utoipa::openapi::Schema;

use crate::app::App;
use crate::body::Purpose;
use crate::errors::{ApiError, Kind};
use crate::fields;
use crate::limits::TOOLS_LISTED;
use crate::openapi::{Endpoint, Gives, Section, Shape, Takes, Verb, samples, words};
use crate::wire_tools::{ExploreAnswer, Extent, ToolsAnswer, WireShelf, WireTool};

/// Tools in a page for clients that do not say how many: the published default.
const USUAL_PAGE: u64 = 20;

pub(super) const LIST: Endpoint = Endpoint {
    verb: Verb::Post,
    path: "/v1/Tool/List",
    section: Section::Tools,
    name: "tool_list",
    summary: "Find tools",
    description: "Without any field: all tools in the order of the catalogue. With `summary` without their forms.",
    takes: Takes::Fields {
        shape: Shape::of::<ToolFilter>(),
        example: |_| json!({"start": "0", "limit": "20", "search": "", "categories": ["text-to-image"], "summary": true}),
    },
    gives: Gives::Json {
        shape: Shape::of::<ToolsAnswer<'static>>(),
        example: samples::tools,
    },
    refusals: &[Kind::InvalidInputs],
};

/// Which tools.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `query` reads")]
struct ToolFilter {
    #[schema(schema_with = words::start)]
    start: Option<u64>,
    #[schema(schema_with = words::limit)]
    limit: Option<u64>,
    /// Words that must all stand in a tool's address, labels or description.
    search: Option<String>,
    /// Tools in one of these.
    categories: Option<Vec<String>>,
    /// Tools with one of these.
    tags: Option<Vec<String>>,
    /// Tools of this publisher only.
    slugowner: Option<String>,
    /// `relevance` puts what fits the search best first; everything else is the catalogue's order.
    sort: Option<String>,
    /// `ASC` or `DESC`.
    order: Option<String>,
    #[schema(schema_with = without_form)]
    summary: Option<bool>,
    #[schema(schema_with = without_workflows)]
    hideworkflows: Option<bool>,
}

fn without_form() -> Schema {
    words::switch("Leaves readme and form out.")
}

fn without_workflows() -> Schema {
    words::switch("Changes nothing: no tool is a workflow.")
}

/// No tool is a workflow, so `hideworkflows` changes nothing.
pub(super) async fn list(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, ApiError> {
    let call = app.admit(remote, request, Purpose::Question).await?;
    let inputs = &call.inputs.raw;
    let extent = if flag(inputs, "summary") {
        Extent::Card
    } else {
        Extent::Whole
    };
    let page = app.service.tools(&call.principal, &query(inputs)?).await?;
    let tools = page.tools.into_iter();
    let answer = ToolsAnswer {
        result: true,
        errors: [],
        total: Some(page.total),
        tool: tools.map(|tool| WireTool::of(tool, extent)).collect(),
    };
    Ok(Json(answer).into_response())
}

pub(super) const DETAIL: Endpoint = Endpoint {
    verb: Verb::Post,
    path: "/v1/Tool/Detail",
    section: Section::Tools,
    name: "tool_detail",
    summary: "One tool with its form",
    description: "",
    takes: Takes::Fields {
        shape: Shape::of::<ToolName>(),
        example: |_| json!({"slugowner": "black-forest-labs", "slugproject": "flux-pro-1.1"}),
    },
    gives: Gives::Json {
        shape: Shape::of::<ToolsAnswer<'static>>(),
        example: samples::tool,
    },
    refusals: &[Kind::InvalidInputs, Kind::UnknownTool],
};

/// Names one tool.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `detail` reads")]
struct ToolName {
    /// The first half of its address.
    slugowner: String,
    /// The second half.
    slugproject: String,
    #[schema(schema_with = without_readme)]
    summary: Option<bool>,
}

fn without_readme() -> Schema {
    words::switch("Leaves the readme out.")
}

pub(super) async fn detail(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, ApiError> {
    let call = app.admit(remote, request, Purpose::Question).await?;
    let inputs = &call.inputs.raw;
    let slug = ToolSlug::new(
        required(inputs, "slugowner")?,
        required(inputs, "slugproject")?,
    );
    // Clients build their forms from this answer, also from its summary.
    let extent = if flag(inputs, "summary") {
        Extent::Form
    } else {
        Extent::Whole
    };
    let tool = app.service.tool(&call.principal, &slug).await?;
    let tool = tool.ok_or_else(|| ApiError::new(Kind::UnknownTool))?;
    let answer = ToolsAnswer {
        result: true,
        errors: [],
        total: None,
        tool: vec![WireTool::of(tool, extent)],
    };
    Ok(Json(answer).into_response())
}

pub(super) const EXPLORE: Endpoint = Endpoint {
    verb: Verb::Post,
    path: "/v1/Tool/Explore",
    section: Section::Tools,
    name: "tool_explore",
    summary: "Tools by what they do",
    description: "",
    takes: Takes::Fields {
        shape: Shape::of::<Nothing>(),
        example: |_| json!({}),
    },
    gives: Gives::Json {
        shape: Shape::of::<ExploreAnswer<'static>>(),
        example: samples::shelves,
    },
    refusals: &[],
};

/// No field is read.
#[derive(ToSchema)]
struct Nothing {}

pub(super) async fn explore(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, ApiError> {
    app.admit(remote, request, Purpose::Question).await?;
    let shelves = app.service.catalog().shelves().into_iter();
    let explore = (1..)
        .zip(shelves)
        .map(|(place, shelf)| WireShelf::of(place, shelf));
    let answer = ExploreAnswer {
        result: true,
        errors: [],
        explore: explore.collect(),
    };
    Ok(Json(answer).into_response())
}

/// What a list is asked for. An order that is not known here is taken as the usual one: a client
/// is better served with the tools in another order than with none.
fn query(inputs: &RawInputs) -> Result<ToolQuery, ApiError> {
    let is = |name: &str, word: &str| {
        fields::text(inputs, name).is_some_and(|text| text.eq_ignore_ascii_case(word))
    };
    let start = fields::count(inputs, "start", fields::ANY_COUNT)?.unwrap_or(0);
    let limit = fields::count(inputs, "limit", fields::ANY_COUNT)?.unwrap_or(USUAL_PAGE);
    let ascending = is("order", "asc").then_some(Order::Ascending);
    let descending = is("order", "desc").then_some(Order::Descending);
    Ok(ToolQuery {
        search: fields::text(inputs, "search").unwrap_or_default(),
        categories: texts(inputs, "categories"),
        tags: texts(inputs, "tags"),
        owner: fields::text(inputs, "slugowner"),
        sort: if is("sort", "relevance") {
            ToolSort::Relevance
        } else {
            ToolSort::Number
        },
        order: ascending.or(descending),
        start: usize::try_from(start).unwrap_or(usize::MAX),
        limit: usize::try_from(limit.min(TOOLS_LISTED)).unwrap_or(usize::MAX),
    })
}

fn required(inputs: &RawInputs, name: &str) -> Result<String, ApiError> {
    let id = name.to_owned();
    fields::text(inputs, name).ok_or_else(|| fields::refused(&InputError::Required { id }))
}

/// All texts that a field says: a list in JSON, or a form's field that comes several times, called
/// `name` or `name[]`. Empty ones say nothing.
fn texts(inputs: &RawInputs, name: &str) -> Vec<String> {
    let named = inputs.iter().filter(|(given, _)| {
        let rest = given.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || (rest.starts_with('[') && rest.ends_with(']')))
    });
    let values = named.flat_map(|(_, value)| match value {
        RawValue::Json(Value::Array(items)) => items.iter().collect(),
        RawValue::Json(value) => vec![value],
        RawValue::File(_) => Vec::new(),
    });
    let texts = values.filter_map(Value::as_str).map(str::trim);
    texts
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether a switch is on, as `true`, `"true"`, `1` or `"1"`.
fn flag(inputs: &RawInputs, name: &str) -> bool {
    let on = |value: &RawValue| matches!(value, RawValue::Json(Value::Bool(true)));
    inputs
        .iter()
        .any(|(given, value)| given == name && on(value))
        || fields::text(inputs, name)
            .is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"))
}
