//! Schemas that no type says by itself: what is always the same, and what other crates' types
//! look like on the wire.

use serde_json::Value;
use tintype_domain::TaskState;
use utoipa::openapi::schema::{Array, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

use crate::wire::status_word;

/// A schema as JSON.
pub(crate) fn value(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).expect("a schema is JSON; this is a bug")
}

/// `result` of a success.
pub(crate) fn yes() -> Schema {
    always(true)
}

/// `result` of a failure.
pub(crate) fn no() -> Schema {
    always(false)
}

fn always(result: bool) -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Boolean))
        .enum_values(Some([result]))
        .description(Some(format!("Always `{result}`.")))
        .into()
}

/// `errors` of a success.
pub(crate) fn no_errors() -> Schema {
    let mut none = Array::new(utoipa::schema!(Value));
    none.max_items = Some(0);
    none.description = Some("Always empty: failures have an envelope of their own.".to_owned());
    Schema::Array(none)
}

/// Where a task stands.
pub(crate) fn status() -> Schema {
    let words = TaskState::ALL.map(status_word);
    text_out_of(words)
        .description(Some(
            "Where the task stands. `task_postprocess_end` and `task_cancel` are final.",
        ))
        .into()
}

/// How a form shows a field.
pub(crate) fn control() -> Schema {
    text_out_of(["text", "textarea", "select"])
        .description(Some("How a form shows it."))
        .into()
}

/// What a select offers.
pub(crate) fn choices() -> Schema {
    let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    let choice = ObjectBuilder::new()
        .property("value", text().description(Some("What is sent.")))
        .property("label", text().description(Some("What is shown.")))
        .required("value")
        .required("label");
    let mut choices = Array::new(choice);
    choices.description = Some("What a select offers; empty for other fields.".to_owned());
    Schema::Array(choices)
}

fn text_out_of<const N: usize>(words: [&'static str; N]) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(words))
}

/// A number in a request: digits, as a text or not.
pub(crate) fn number(description: &str) -> Schema {
    ObjectBuilder::new()
        .schema_type(several([Type::String, Type::Integer, Type::Null]))
        .description(Some(description))
        .pattern(Some("^[0-9]*$"))
        .minimum(Some(0))
        .into()
}

/// Where a page of a list begins.
pub(crate) fn start() -> Schema {
    number("How many of the first to pass over.")
}

/// How long a page of a list is.
pub(crate) fn limit() -> Schema {
    number("How many to show: 20 if it does not say, and never more than 100.")
}

/// Something that is on or off, as a boolean or a text.
pub(crate) fn switch(description: &str) -> Schema {
    ObjectBuilder::new()
        .schema_type(several([Type::Boolean, Type::String, Type::Null]))
        .description(Some(description))
        .into()
}

fn several(types: impl IntoIterator<Item = Type>) -> SchemaType {
    SchemaType::Array(types.into_iter().collect())
}
