//! Schemas of the document as tables for people.

use serde_json::Value;

use super::page::{prose, text};
use crate::html::escape;

/// The fields of an object, as a table; empty if it has none.
pub(super) fn fields(schema: &Value) -> String {
    let Some(properties) = schema["properties"]
        .as_object()
        .filter(|all| !all.is_empty())
    else {
        return String::new();
    };
    let rows: String = properties
        .iter()
        .map(|(name, property)| row(name, property, is_required(schema, name)))
        .collect();
    format!(
        "<div class=\"table\"><table><thead><tr><th>field</th><th>type</th><th>meaning</th></tr></thead>\
         <tbody>{rows}</tbody></table></div>\n"
    )
}

/// The name at the end of a reference.
pub(super) fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn is_required(schema: &Value, name: &str) -> bool {
    let required = schema["required"].as_array();
    required.is_some_and(|names| names.iter().any(|required| required == name))
}

fn row(name: &str, property: &Value, required: bool) -> String {
    format!(
        "<tr><td><code>{}</code></td><td>{}</td><td>{}{}</td></tr>\n",
        escape(name),
        kind(property, required),
        prose(text(property, "description")),
        more(property)
    )
}

/// What a value is, in a word or two.
fn kind(schema: &Value, required: bool) -> String {
    let optional = if required {
        ""
    } else {
        "<small>optional</small>"
    };
    format!("{}{optional}", plain_kind(schema))
}

fn plain_kind(schema: &Value) -> String {
    if let Some(name) = referred(schema) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    if let Some(parts) = schema["oneOf"].as_array().or(schema["allOf"].as_array()) {
        let kinds: Vec<String> = parts
            .iter()
            .filter(|part| part["type"] != "null")
            .map(plain_kind)
            .collect();
        return kinds.join(" or ");
    }
    let words = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().into_iter().collect::<Vec<_>>(),
    };
    let words = words.into_iter().filter(|word| *word != "null");
    let words: Vec<String> = words.map(|word| word_for(word, schema)).collect();
    words.join(" or ")
}

fn word_for(word: &str, schema: &Value) -> String {
    match word {
        "string" if schema["format"] == "binary" => "file".to_owned(),
        "string" => "text".to_owned(),
        "integer" => "number".to_owned(),
        "array" if schema["maxItems"] == 0 => "empty list".to_owned(),
        "array" => format!("list of {}", plain_kind(&schema["items"])),
        other => escape(other),
    }
}

/// Default, options and bounds, where there are any.
fn more(schema: &Value) -> String {
    let mut lines = Vec::new();
    if let Some(default) = schema.get("default") {
        lines.push(format!("default {}", code(default)));
    }
    // One value only is said by the meaning.
    if let Some(options) = schema["enum"].as_array().filter(|all| all.len() > 1) {
        let options: Vec<String> = options.iter().map(code).collect();
        lines.push(format!("one of {}", options.join(" ")));
    }
    if let (Some(min), Some(max)) = (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
        lines.push(format!("from {min} to {max}"));
    }
    if let Some(longest) = schema["maxLength"].as_u64() {
        lines.push(format!("at most {longest} characters"));
    }
    let lines = lines.iter().map(|line| format!("<small>{line}</small>"));
    lines.collect()
}

fn code(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    format!("<code>{}</code>", escape(&text))
}
