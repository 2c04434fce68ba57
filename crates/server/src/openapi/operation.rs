//! One operation of the document, made from what a route says about itself.

use serde_json::{Map, Value, json};
use tintype_catalog::{Catalog, Tool};

use super::endpoint::{Endpoint, Gives, Shape, Takes};
use super::tools::{self, Form};
use super::{ALWAYS, PLACE_OF_BASE_URL, failure, name, reference};
use crate::errors::Kind;
use crate::routes::{task_control, tasks};

const JSON: &str = "application/json";
const PARTS: &str = "multipart/form-data";
const FORM: &str = "application/x-www-form-urlencoded";

/// The operation on a path. `tool` is the one that the path of a run names.
pub(super) fn operation(
    endpoint: &Endpoint,
    path: &str,
    catalog: &Catalog,
    tool: Option<&Tool>,
) -> Value {
    let mut operation = json!({
        "tags": [endpoint.section.title()],
        "operationId": tool.map_or_else(
            || endpoint.name.to_owned(),
            |tool| format!("{}_{}", endpoint.name, word(&tool.model)),
        ),
        "summary": tool.map_or_else(
            || endpoint.summary.to_owned(),
            |tool| format!("{} {}", endpoint.summary, tool.slug()),
        ),
        "description": tool.map_or_else(
            || endpoint.description.to_owned(),
            |tool| format!("{}\n\n{}", tools::sentence(&tool.description), endpoint.description),
        ),
    });
    let mut parameters = path_parameters(path);
    parameters.extend(header_parameters(endpoint));
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = request_body(endpoint, catalog, tool) {
        operation["security"] = json!([
            {"key": []},
            {"key": [], "nonce": [], "signature": []},
        ]);
        operation["requestBody"] = body;
    }
    operation["responses"] = responses(endpoint, catalog);
    operation["x-codeSamples"] = json!([{
        "lang": "Shell", "source": command(endpoint, path, catalog, tool),
    }]);
    operation
}

/// The types that an endpoint speaks of.
pub(super) fn shapes(endpoint: &Endpoint) -> Vec<Shape> {
    let taken = match endpoint.takes {
        Takes::Fields { shape, .. } | Takes::Parts { shape } => Some(shape),
        Takes::Nothing | Takes::ToolInputs { .. } => None,
    };
    let given = match endpoint.gives {
        Gives::Json { shape, .. } => Some(shape),
        Gives::Page | Gives::Line | Gives::File | Gives::Document | Gives::Socket => None,
    };
    taken.into_iter().chain(given).collect()
}

/// A failure as clients are told it.
pub(super) fn told(kind: Kind) -> Value {
    let row = kind.row();
    json!({"errors": [{"code": row.code, "message": row.sentence}], "result": false})
}

/// An example of a request, if it is one that may be written down.
fn request_example(endpoint: &Endpoint, catalog: &Catalog, tool: Option<&Tool>) -> Option<Value> {
    match (endpoint.takes, tool) {
        (Takes::Fields { example, .. }, _) => Some(example(catalog)),
        (Takes::ToolInputs { .. }, Some(tool)) => Some(tools::example(tool)),
        (Takes::ToolInputs { .. } | Takes::Parts { .. } | Takes::Nothing, _) => None,
    }
}

fn request_body(endpoint: &Endpoint, catalog: &Catalog, tool: Option<&Tool>) -> Option<Value> {
    let content = match (endpoint.takes, tool) {
        (Takes::Nothing, _) | (Takes::ToolInputs { .. }, None) => return None,
        (Takes::Fields { shape, .. }, _) => json!({
            JSON: {
                "schema": reference(&shape),
                "example": request_example(endpoint, catalog, tool),
            },
        }),
        (Takes::Parts { shape }, _) => json!({PARTS: {"schema": reference(&shape)}}),
        (Takes::ToolInputs { .. }, Some(tool)) => json!({
            JSON: {
                "schema": tools::inputs(tool, Form::Json),
                "example": request_example(endpoint, catalog, Some(tool)),
            },
            PARTS: {"schema": tools::inputs(tool, Form::Parts)},
            FORM: {"schema": tools::inputs(tool, Form::Json)},
        }),
    };
    Some(json!({"required": true, "content": content}))
}

fn responses(endpoint: &Endpoint, catalog: &Catalog) -> Value {
    let mut responses = Map::new();
    let status = match endpoint.gives {
        Gives::Socket => "101",
        _ => "200",
    };
    responses.insert(status.to_owned(), success(endpoint, catalog));
    if matches!(endpoint.gives, Gives::File) {
        let unchanged =
            json!({"description": "The file that `If-None-Match` named is still the same."});
        responses.insert("304".to_owned(), unchanged);
    }
    let always = ALWAYS.iter().filter(|_| endpoint.needs_key());
    for kind in endpoint.refusals.iter().chain(always) {
        let status = kind.row().status;
        if !status.is_success() {
            let shared = json!({"$ref": format!("#/components/responses/{kind:?}")});
            responses.insert(status.as_u16().to_string(), shared);
        }
    }
    Value::Object(responses)
}

fn success(endpoint: &Endpoint, catalog: &Catalog) -> Value {
    let (description, content) = match endpoint.gives {
        Gives::Socket => return json!({"description": "The connection is a websocket now."}),
        Gives::Json { shape, example } => {
            let content = json!({JSON: envelope(endpoint, &shape, example(catalog))});
            (
                "Done (`result` is `true`), or refused (`result` is `false`; the HTTP status is 200 all the same).",
                content,
            )
        }
        Gives::Page => (
            "A page for people.",
            json!({"text/html": {"schema": {"type": "string"}}}),
        ),
        Gives::Line => (
            "All is well.",
            json!({"text/plain": {"schema": {"type": "string"}}}),
        ),
        Gives::File => ("The bytes of the file.", json!({"*/*": {}})),
        Gives::Document => (
            "This document.",
            json!({JSON: {"schema": {"type": "object", "required": ["openapi", "paths"]}}}),
        ),
    };
    let mut success = json!({"description": description, "content": content});
    if matches!(endpoint.takes, Takes::ToolInputs { .. }) {
        success["links"] = links();
    }
    success
}

/// What may be done with the task that a run has become.
fn links() -> Value {
    let link = |name: &str| {
        json!({
            "operationId": name,
            "requestBody": {"tasktoken": "$response.body#/socketaccesstoken"},
        })
    };
    let about = [
        tasks::DETAIL,
        task_control::CANCEL,
        task_control::KILL,
        task_control::DELETE_FILES,
    ];
    let links = about.map(|endpoint| (endpoint.name.to_owned(), link(endpoint.name)));
    Value::Object(links.into_iter().collect())
}

/// What a status of 200 may mean.
fn envelope(endpoint: &Endpoint, shape: &Shape, example: Value) -> Value {
    let mut examples = Map::new();
    let done = json!({"summary": name(shape), "value": example});
    examples.insert("Done".to_owned(), done);
    let always = ALWAYS.iter().filter(|_| endpoint.needs_key());
    for kind in endpoint.refusals.iter().chain(always) {
        if kind.row().status.is_success() {
            let refused = json!({"summary": kind.row().sentence, "value": told(*kind)});
            examples.insert(format!("{kind:?}"), refused);
        }
    }
    json!({
        "schema": {"oneOf": [reference(shape), reference(&failure())]},
        "examples": examples,
    })
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?;
        name.strip_suffix('}')
    });
    let parameters = names.map(|name| {
        json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}})
    });
    parameters.collect()
}

fn header_parameters(endpoint: &Endpoint) -> Vec<Value> {
    let Takes::ToolInputs { headers } = endpoint.takes else {
        return Vec::new();
    };
    let parameters = headers.iter().map(|header| {
        json!({
            "name": header.name, "in": "header", "required": false,
            "description": header.description,
            "schema": {
                "type": "string", "minLength": 1, "maxLength": header.longest,
                "pattern": header.pattern,
            },
        })
    });
    parameters.collect()
}

/// A line to paste into a shell that knows the key, the nonce and the signature.
fn command(endpoint: &Endpoint, path: &str, catalog: &Catalog, tool: Option<&Tool>) -> String {
    let address = format!("\"{PLACE_OF_BASE_URL}{path}\"");
    let address = address.replace('{', "$").replace('}', "");
    if !endpoint.needs_key() {
        let output = match endpoint.gives {
            Gives::File => " -o picture.png",
            Gives::Socket => {
                return format!("ADDRESS={address}\nwebsocat \"${{ADDRESS/http/ws}}\"");
            }
            _ => "",
        };
        return format!("curl {address}{output}");
    }
    let keys = "-H \"x-api-key: $API_KEY\" -H \"x-nonce: $NONCE\" -H \"x-signature: $SIGNATURE\"";
    let body = match request_example(endpoint, catalog, tool) {
        Some(example) => format!(
            "-H \"Content-Type: application/json\" \\\n  -d '{}'",
            serde_json::to_string_pretty(&example).unwrap_or_default()
        ),
        None => "-F \"file=@circle.png\"".to_owned(),
    };
    format!("curl {address} \\\n  {keys} \\\n  {body}")
}

/// A slug as a word of code.
fn word(slug: &str) -> String {
    slug.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
}
