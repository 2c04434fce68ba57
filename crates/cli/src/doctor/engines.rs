//! What draws: for each tool its engines, and the provider if one of them needs it.

use std::path::Path;

use super::Finding;
use crate::engine_states::{self, EngineState};
use crate::library;
use crate::models::BUNDLED;
use crate::settings::{Settings, Source};

/// One line for each tool.
pub(super) fn tools(settings: &Settings) -> Vec<Finding> {
    let catalog = settings.catalog();
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

/// One line for each engine that a server has left alone.
pub(super) fn states(settings: &Settings) -> Vec<Finding> {
    let now = engine_states::now();
    let states = engine_states::read(&settings.data).into_iter();
    states
        .map(|(name, state)| finding_of(&name, &state, now))
        .collect()
}

fn finding_of(name: &str, state: &EngineState, now: u64) -> Finding {
    let ago = now.saturating_sub(state.since);
    match state.open_until {
        None => Finding::ok(
            "breaker",
            format!("{name} works again, since {ago} seconds (closed)"),
        ),
        Some(until) if until > now => {
            let left = until - now;
            Finding::ok(
                "breaker",
                format!("{name} is left alone for {left} seconds more (open)"),
            )
            .note(state.reason.clone())
        }
        Some(_) => Finding::ok(
            "breaker",
            format!("{name} is tried with the next task (half open)"),
        )
        .note(state.reason.clone()),
    }
}

fn trouble(source: &Source, settings: &Settings) -> Option<String> {
    match source {
        Source::Local(model) if model == BUNDLED => None,
        Source::Local(model) => match library::locate(model, &settings.data) {
            Ok(folder) if is_model(&folder) => None,
            Ok(_) => Some(format!(
                "{model} holds no model (neither model_index.json nor files of weights); name another \
                 one with --model, or {BUNDLED}"
            )),
            Err(error) => Some(error.to_string()),
        },
        Source::Bfl => settings.bfl.key().is_none().then(|| {
            let variable = &settings.bfl.key_env;
            format!("bfl has no key: put that of your account into the variable {variable}")
        }),
    }
}

/// Whether there is something that a model can be read from; whoever opens it knows better.
fn is_model(path: &Path) -> bool {
    const WEIGHTS: [&str; 2] = ["safetensors", "gguf"];
    let weights = |path: &Path| {
        let ending = path.extension().unwrap_or_default();
        WEIGHTS.iter().any(|known| ending == *known)
    };
    let inside = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut inside = inside.map(|entry| entry.path());
    weights(path) || path.join("model_index.json").is_file() || inside.any(|path| weights(&path))
}

/// How the provider is reached, if a tool uses it. The key is never shown.
pub(super) fn provider(settings: &Settings) -> Option<Finding> {
    let catalog = settings.catalog();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_breaker_reads_as_what_comes_next() {
        let read = |open_until, now| {
            let state = EngineState {
                since: 100,
                open_until,
                reason: "no credits".to_owned(),
            };
            finding_of("bfl", &state, now)
        };
        let open = read(Some(160), 110);
        assert_eq!(open.found, "bfl is left alone for 50 seconds more (open)");
        assert_eq!(open.advice.as_deref(), Some("no credits"));
        let half_open = read(Some(160), 160);
        assert_eq!(
            half_open.found,
            "bfl is tried with the next task (half open)"
        );
        let closed = read(None, 107);
        assert_eq!(closed.found, "bfl works again, since 7 seconds (closed)");
        assert_eq!(closed.advice, None);
    }
}
