//! The document at `GET /openapi.json` (OpenAPI 3.1): made from the table of routes, the wire
//! types, the table of errors and the catalogue, so that it cannot say what is not served.
//!
//! It is made once. Where the addresses begin is not known then: [`PLACE_OF_BASE_URL`] stands in
//! the texts and is replaced when they are served.

mod endpoint;
mod intro;
mod operation;
pub(crate) mod samples;
mod tools;
pub(crate) mod words;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tintype_catalog::Catalog;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

pub(crate) use endpoint::{Endpoint, Gives, Header, Section, Shape, Takes, Verb};

use crate::errors::{ErrorEnvelope, Kind, TABLE};
use crate::routes::RUN;
use operation::operation;

/// Stands where the service's own address belongs.
pub(crate) const PLACE_OF_BASE_URL: &str = "http://address-of-this-service.invalid";

/// The kinds of failure that a call with a key and a body can always meet.
const ALWAYS: [Kind; 6] = [
    Kind::Credentials,
    Kind::BodyTooLarge,
    Kind::BodyTooSlow,
    Kind::Unavailable,
    Kind::Internal,
    Kind::UnreadableBody,
];

/// The document.
pub(crate) fn document(endpoints: &[Endpoint], catalog: &Catalog) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": intro::info(),
        "servers": [{"url": PLACE_OF_BASE_URL}],
        "tags": Section::ALL.map(|section| {
            json!({"name": section.title(), "description": section.description()})
        }),
        "paths": paths(endpoints, catalog),
        "components": {
            "securitySchemes": intro::security_schemes(),
            "schemas": schemas(endpoints),
            "responses": failures(),
        },
        "x-errors": table(),
    })
}

fn paths(endpoints: &[Endpoint], catalog: &Catalog) -> Value {
    let mut paths = Map::new();
    let mut add = |path: String, verb: Verb, operation: Value| {
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[verb.word()] = operation;
    };
    for endpoint in endpoints {
        if endpoint.path == RUN {
            for tool in catalog.tools() {
                let path = format!("/v1/Run/{}", tool.slug());
                let run = operation(endpoint, &path, catalog, Some(tool));
                add(path, endpoint.verb, run);
            }
        } else {
            let path = endpoint.path.to_owned();
            add(
                path,
                endpoint.verb,
                operation(endpoint, endpoint.path, catalog, None),
            );
        }
    }
    Value::Object(paths)
}

/// All that is referred to, by name.
fn schemas(endpoints: &[Endpoint]) -> Value {
    let mut found: Vec<(String, RefOr<Schema>)> = vec![(name(&failure()), ErrorEnvelope::schema())];
    ErrorEnvelope::schemas(&mut found);
    for shape in endpoints.iter().flat_map(operation::shapes) {
        found.push((name(&shape), (shape.schema)()));
        (shape.parts)(&mut found);
    }
    let found: BTreeMap<String, Value> = found
        .into_iter()
        .map(|(name, schema)| (name, words::value(&schema)))
        .collect();
    json!(found)
}

/// The answers that every endpoint shares, by the kind of failure.
fn failures() -> Value {
    let mut failures = Map::new();
    let others = [
        Kind::UnknownPath,
        Kind::SocketExpected,
        Kind::TooManySockets,
    ];
    for kind in ALWAYS.into_iter().chain(others) {
        let row = kind.row();
        if row.status.is_success() {
            continue;
        }
        let failure = json!({
            "description": row.sentence,
            "content": {"application/json": {
                "schema": reference(&failure()),
                "example": operation::told(kind),
            }},
        });
        failures.insert(format!("{kind:?}"), failure);
    }
    Value::Object(failures)
}

/// The table of errors, for the page and for those who write clients.
fn table() -> Vec<Value> {
    let rows = TABLE.iter().map(|row| {
        json!({
            "name": format!("{:?}", row.kind), "status": row.status.as_u16(),
            "code": row.code, "message": row.sentence,
        })
    });
    rows.collect()
}

fn failure() -> Shape {
    Shape::of::<ErrorEnvelope>()
}

fn name(shape: &Shape) -> String {
    (shape.name)().into_owned()
}

fn reference(shape: &Shape) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", name(shape))})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::endpoints;

    #[test]
    fn every_route_is_in_the_document_and_nothing_else() {
        let catalog = Catalog::builtin();
        let document = document(&endpoints(), &catalog);
        let mut expected = BTreeSet::new();
        for endpoint in endpoints() {
            let verb = endpoint.verb.word();
            if endpoint.path == RUN {
                let tools = catalog.tools().iter();
                expected.extend(tools.map(|tool| format!("{verb} /v1/Run/{}", tool.slug())));
            } else {
                expected.insert(format!("{verb} {}", endpoint.path));
            }
        }
        let paths = document["paths"].as_object().expect("paths");
        let documented = paths.iter().flat_map(|(path, item)| {
            let verbs = item.as_object().expect("a path item").keys();
            verbs.map(move |verb| format!("{verb} {path}"))
        });
        assert_eq!(documented.collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn names_of_operations_and_schemas_are_unique() {
        let endpoints = endpoints();
        let names: BTreeSet<&str> = endpoints.iter().map(|endpoint| endpoint.name).collect();
        assert_eq!(names.len(), endpoints.len());
        let mut schemas: Vec<(String, Value)> = Vec::new();
        for shape in endpoints.iter().flat_map(operation::shapes) {
            let mut found = vec![(name(&shape), (shape.schema)())];
            (shape.parts)(&mut found);
            schemas.extend(
                found
                    .iter()
                    .map(|(name, schema)| (name.clone(), words::value(schema))),
            );
        }
        for (name, schema) in &schemas {
            let mut same = schemas.iter().filter(|(other, _)| other == name);
            assert!(same.all(|(_, other)| other == schema), "{name}");
        }
    }
}
