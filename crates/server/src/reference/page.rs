//! The document as a page for people: plain HTML with a little CSS, made on the server. No script
//! runs and nothing is fetched from elsewhere.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema::{fields, referred};
use crate::examples;
use crate::html::escape;
use crate::openapi::PLACE_OF_BASE_URL;

const TEMPLATE: &str = include_str!("page.html");

/// The page.
pub(super) fn of(document: &Value) -> String {
    let page = TEMPLATE
        .replace("{contents}", &contents(document))
        .replace("{address}", PLACE_OF_BASE_URL)
        .replace(
            "{description}",
            &prose(text(&document["info"], "description")),
        )
        .replace("{keys}", &keys(document))
        .replace(
            "{variables}",
            &escape(&examples::shell_variables("YOUR_KEY", "YOUR_SECRET")),
        )
        .replace("{sections}", &sections(document))
        .replace("{schemas}", &schemas(document))
        .replace("{errors}", &errors(document));
    page.replace("{version}", &escape(text(&document["info"], "version")))
}

/// Paragraphs with code in them.
pub(super) fn prose(text: &str) -> String {
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.is_empty());
    let paragraphs = paragraphs.map(|paragraph| format!("<p>{}</p>\n", inline(paragraph)));
    paragraphs.collect()
}

/// A member that is a text.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

/// Every other piece between back-ticks is code.
fn inline(text: &str) -> String {
    let pieces = text
        .split('`')
        .enumerate()
        .map(|(place, piece)| match place % 2 {
            0 => escape(piece),
            _ => format!("<code>{}</code>", escape(piece)),
        });
    pieces.collect()
}

/// One operation of the document.
struct Operation<'a> {
    path: &'a str,
    verb: &'a str,
    value: &'a Value,
}

impl Operation<'_> {
    fn name(&self) -> &str {
        text(self.value, "operationId")
    }
}

fn operations<'a>(document: &'a Value, section: &str) -> Vec<Operation<'a>> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, item)| {
        let item = item.as_object().into_iter().flatten();
        item.map(move |(verb, value)| Operation { path, verb, value })
    });
    all.filter(|operation| operation.value["tags"][0] == *section)
        .collect()
}

fn titles(document: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let tags = document["tags"].as_array().into_iter().flatten();
    tags.map(|tag| (text(tag, "name"), tag))
}

fn contents(document: &Value) -> String {
    let sections = titles(document).map(|(title, _)| {
        let entries: String = operations(document, title)
            .iter()
            .map(|operation| {
                format!(
                    "<li><a href=\"#{}\">{}</a></li>\n",
                    escape(operation.name()),
                    escape(text(operation.value, "summary"))
                )
            })
            .collect();
        format!("<h2>{}</h2>\n<ul>{entries}</ul>\n", escape(title))
    });
    sections.collect()
}

fn keys(document: &Value) -> String {
    let schemes = document["components"]["securitySchemes"].as_object();
    let rows = schemes.into_iter().flatten().map(|(_, scheme)| {
        format!(
            "<tr><td><code>{}</code></td><td>{}</td></tr>\n",
            escape(text(scheme, "name")),
            prose(text(scheme, "description"))
        )
    });
    table(&["header", "meaning"], &rows.collect::<String>())
}

fn sections(document: &Value) -> String {
    let sections = titles(document).map(|(title, tag)| {
        let operations: String = operations(document, title)
            .iter()
            .map(|operation| shown(document, operation))
            .collect();
        format!(
            "<h2>{}</h2>\n{}{operations}",
            escape(title),
            prose(text(tag, "description"))
        )
    });
    sections.collect()
}

fn shown(document: &Value, operation: &Operation<'_>) -> String {
    let Operation { path, verb, value } = operation;
    format!(
        "<h3 id=\"{id}\">{summary}</h3>\n<span class=\"address\"><span class=\"verb\">{verb}</span>{path}</span>\n\
         {description}{request}{headers}<pre><code>{command}</code></pre>\n{answer}",
        id = escape(operation.name()),
        summary = escape(text(value, "summary")),
        verb = verb.to_uppercase(),
        path = escape(path),
        description = prose(text(value, "description")),
        request = request(document, value),
        headers = headers(value),
        command = escape(text(&value["x-codeSamples"][0], "source")),
        answer = answer(value),
    )
}

/// The fields that a request may hold; of several kinds of body the first, which is JSON if that
/// is among them.
fn request(document: &Value, operation: &Value) -> String {
    let contents = operation["requestBody"]["content"].as_object();
    let content = contents.and_then(|contents| contents.values().next());
    let Some(schema) = content.map(|content| resolved(document, &content["schema"])) else {
        return String::new();
    };
    // The tool's description stands above already.
    let note = match operation["operationId"].as_str() {
        Some(name) if name.starts_with("run_") => "",
        _ => text(schema, "description"),
    };
    format!("{}{}", prose(note), fields(schema))
}

/// The headers that a request may have, besides those of the keys.
fn headers(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let headers = parameters.filter(|parameter| parameter["in"] == "header");
    let rows: String = headers
        .map(|header| {
            format!(
                "<tr><td><code>{}</code></td><td>{}</td></tr>\n",
                escape(text(header, "name")),
                prose(text(header, "description"))
            )
        })
        .collect();
    if rows.is_empty() {
        rows
    } else {
        table(&["header", "meaning"], &rows)
    }
}

fn answer(operation: &Value) -> String {
    let content = &operation["responses"]["200"]["content"]["application/json"];
    let Some(examples) = content["examples"].as_object() else {
        return String::new();
    };
    let (done, refused): (Vec<_>, Vec<_>) = examples.iter().partition(|(name, _)| *name == "Done");
    let done: String = done
        .iter()
        .map(|(_, example)| {
            let json = format!("{:#}", example["value"]);
            format!(
                "<details><summary>The answer</summary><pre><code>{}</code></pre></details>\n",
                escape(&json)
            )
        })
        .collect();
    let refused: BTreeSet<&str> = refused
        .iter()
        .map(|(_, example)| text(example, "summary"))
        .collect();
    let refused: Vec<String> = refused
        .iter()
        .map(|sentence| format!("<code>{}</code>", escape(sentence)))
        .collect();
    format!("{done}<p>Refused with: {}</p>\n", refused.join(" · "))
}

fn schemas(document: &Value) -> String {
    let schemas = document["components"]["schemas"].as_object();
    let shown = schemas.into_iter().flatten().map(|(name, schema)| {
        let name = escape(name);
        let description = prose(text(schema, "description"));
        let fields = fields(schema);
        format!("<h3 id=\"schema-{name}\">{name}</h3>\n{description}{fields}")
    });
    shown.collect()
}

fn errors(document: &Value) -> String {
    let rows = document["x-errors"].as_array().into_iter().flatten();
    let rows = rows.map(|row| {
        format!(
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>\n",
            escape(text(row, "message")),
            row["code"],
            row["status"]
        )
    });
    table(
        &["message", "code", "HTTP status"],
        &rows.collect::<String>(),
    )
}

fn table(headings: &[&str], rows: &str) -> String {
    let headings: String = headings
        .iter()
        .map(|heading| format!("<th>{heading}</th>"))
        .collect();
    format!(
        "<div class=\"table\"><table><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table></div>\n"
    )
}

/// What a reference stands for.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match referred(schema) {
        Some(name) => &document["components"]["schemas"][name],
        None => schema,
    }
}
