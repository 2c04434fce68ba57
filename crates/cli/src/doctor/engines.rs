//! What draws: for each tool its engines, and the provider if one of them needs it.

use std::path::Path;

use tintype_catalog::Catalog;

use super::Finding;
use crate::models::BUNDLED;
use crate::settings::{Settings, Source};

/// One line for each tool.
pub(super) fn tools(settings: &Settings) -> Vec<Finding> {
    let catalog = Catalog::builtin();
    let tools = catalog.tools().iter().map(|tool| tool.slug());
    tools
        .map(|tool| {
            let sources = settings.sources(&tool);
            let names: Vec<_> = sources.iter().map(Source::to_string).collect();
            let finding = Finding::ok(
                "model",
                format!("{tool} draws with {}", names.join(", then ")),
            );
            let troubles = sources
                .iter()
                .filter_map(|source| trouble(source, settings));
            let troubles: Vec<_> = troubles.collect();
            match troubles.len() {
                0 => finding,
                missing if missing == sources.len() => finding.wrong(troubles.join("; ")),
                _ => finding.note(format!("{}; the other engine draws", troubles.join("; "))),
            }
        })
        .collect()
}

fn trouble(source: &Source, settings: &Settings) -> Option<String> {
    match source {
        Source::Local(model) if model == BUNDLED => None,
        Source::Local(model) if Path::new(model).join("model_index.json").is_file() => None,
        Source::Local(model) => Some(format!(
            "{model} is not a folder in diffusers layout (it has no model_index.json); name one \
             with --model, or {BUNDLED}"
        )),
        Source::Bfl => settings.bfl.key().is_none().then(|| {
            let variable = &settings.bfl.key_env;
            format!("bfl has no key: put that of your account into the variable {variable}")
        }),
    }
}

/// How the provider is reached, if a tool uses it. The key is never shown.
pub(super) fn provider(settings: &Settings) -> Option<Finding> {
    let catalog = Catalog::builtin();
    let tools = catalog.tools().iter().map(|tool| tool.slug());
    let mut sources = tools.flat_map(|tool| settings.sources(&tool));
    if !sources.any(|source| source == Source::Bfl) {
        return None;
    }
    let bfl = &settings.bfl;
    let key = if bfl.key().is_some() {
        "set"
    } else {
        "NOT set"
    };
    Some(Finding::ok(
        "bfl",
        format!(
            "{}, the key in {} is {key}; {} jobs at a time, {} of flux-kontext-max",
            bfl.host(),
            bfl.key_env,
            bfl.active,
            bfl.active_kontext_max
        ),
    ))
}
