//! `tintype model list`.

use clap::Args;
use serde::Serialize;
use serde_json::json;
use tintype_catalog::Catalog;
use tintype_library::{Condition, Listed};

use super::{Place, amount};
use crate::models_settings::library;
use crate::settings::{Settings, Source};
use crate::table;

/// The command line of `model list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Only those that are here.
    #[arg(long)]
    installed: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// A model, and which tools of the configuration use it.
#[derive(Debug)]
struct Row {
    model: Listed,
    tools: Vec<String>,
}

impl ListArguments {
    /// Prints the list.
    ///
    /// # Errors
    /// Settings or manifests that cannot be read.
    pub fn list(&self) -> anyhow::Result<()> {
        let settings = self.place.settings()?;
        let models = library(&settings.data).list()?.into_iter();
        let here = |model: &Listed| {
            !self.installed || matches!(model.condition, Condition::Installed | Condition::ByHand)
        };
        let rows: Vec<Row> = models
            .filter(here)
            .map(|model| Row {
                tools: tools(&settings, &model.name),
                model,
            })
            .collect();
        if self.json {
            let rows: Vec<_> = rows.iter().map(as_json).collect();
            println!("{}", serde_json::to_string_pretty(&rows)?);
        } else {
            print!("{}", text(&rows));
        }
        Ok(())
    }
}

/// The tools that a model draws for.
fn tools(settings: &Settings, model: &str) -> Vec<String> {
    let catalog = Catalog::builtin();
    let slugs = catalog.tools().iter().map(|tool| tool.slug());
    let local = Source::Local(model.to_owned());
    let users = slugs.filter(|slug| settings.sources(slug).contains(&local));
    users.map(|slug| slug.to_string()).collect()
}

fn condition(condition: Condition) -> &'static str {
    match condition {
        Condition::Installed => "installed",
        Condition::ByHand => "by hand",
        Condition::Unfinished => "unfinished",
        Condition::Available => "-",
    }
}

fn text(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "No model is here yet: `tintype model list` shows those that can be fetched.\n"
            .to_owned();
    }
    let rows: Vec<[String; 6]> = rows.iter().map(cells).collect();
    table::columns(
        ["MODEL", "HERE", "MACHINE", "SIZE", "LICENCE", "WHAT IT IS"],
        &rows,
    )
}

fn cells(row: &Row) -> [String; 6] {
    let model = &row.model;
    let size = match model.bytes {
        Some(bytes) if model.size_is_exact => amount(bytes),
        Some(bytes) => format!("~{}", amount(bytes)),
        None => "?".to_owned(),
    };
    let licence = model.licence.as_ref().map(|licence| short(&licence.name));
    let mut title = model.title.clone();
    if !row.tools.is_empty() {
        title += &format!(" (draws for {})", row.tools.join(", "));
    }
    [
        model.name.clone(),
        condition(model.condition).to_owned(),
        model
            .machine_gb
            .map_or("?".to_owned(), |size| format!("{size} GB")),
        size,
        licence.unwrap_or_else(|| "?".to_owned()),
        title,
    ]
    .map(|cell| table::plain(&cell))
}

/// A licence's name that fits into a column.
fn short(licence: &str) -> String {
    match licence {
        "FLUX.1 [dev] Non-Commercial License" => "non-commercial".to_owned(),
        other => other.chars().take(20).collect(),
    }
}

#[derive(Serialize)]
struct PrintedLicence<'a> {
    name: &'a str,
    url: &'a str,
    acknowledge: bool,
}

fn as_json(row: &Row) -> serde_json::Value {
    let model = &row.model;
    let licence = model.licence.as_ref().map(|licence| PrintedLicence {
        name: &licence.name,
        url: &licence.url,
        acknowledge: licence.acknowledge,
    });
    json!({
        "name": model.name,
        "state": match model.condition {
            Condition::Installed => "installed",
            Condition::ByHand => "by-hand",
            Condition::Unfinished => "unfinished",
            Condition::Available => "available",
        },
        "kind": model.kind,
        "title": model.title,
        "machine_gb": model.machine_gb,
        "bytes": model.bytes,
        "bytes_exact": model.size_is_exact,
        "licence": licence,
        "tools": row.tools,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ToolSettings;

    #[test]
    fn the_list_reads_as_published() {
        let mut settings = Settings::default();
        let tool = ToolSettings {
            model: Some("flux-kontext-dev-q4".to_owned()),
            ..ToolSettings::default()
        };
        let slug = "black-forest-labs/flux-kontext-max".to_owned();
        settings.tools.insert(slug, tool);
        let folder = tempfile::tempdir().expect("a folder");
        let models = library(folder.path()).list().expect("a list").into_iter();
        let rows: Vec<Row> = models
            .map(|model| Row {
                tools: tools(&settings, &model.name),
                model,
            })
            .collect();
        insta::assert_snapshot!("model_list", text(&rows));
        insta::assert_json_snapshot!("model_list_json", as_json(&rows[19]));
        assert_eq!(text(&[]).lines().count(), 1);
    }
}
