//! What draws: for each tool its engines, and the provider if one of them needs it.

use tintype_engine::native::{KEPT_LORA_BYTES, ModelPlan};
use tintype_words::Bytes;

use super::Finding;
use crate::engine_states::{self, EngineState};
use crate::machine::Machine;
use crate::models;
use crate::settings::{Settings, Source};

/// The models that tools name, each looked at once: what it will take in memory, or why it cannot be opened.
pub(super) struct Plans(Vec<(String, Result<ModelPlan, String>)>);

impl Plans {
    pub fn of(settings: &Settings, machine: &Machine) -> Self {
        let mut plans: Vec<(String, _)> = Vec::new();
        let catalog = settings.catalog();
        let tools = catalog.tools().iter().map(|tool| tool.slug());
        for source in tools.flat_map(|tool| settings.sources(&tool)) {
            match source {
                Source::Local(name) if plans.iter().all(|(known, _)| *known != name) => {
                    let plan = plan(&name, settings, machine);
                    plans.push((name, plan));
                }
                Source::Local(_) | Source::Bfl => {}
            }
        }
        Self(plans)
    }

    fn trouble(&self, model: &str) -> Option<String> {
        let (_, plan) = self.0.iter().find(|(name, _)| name == model)?;
        plan.as_ref().err().cloned()
    }

    /// One line for each model that can be opened: what of it will be in memory.
    pub fn findings(&self) -> impl Iterator<Item = Finding> {
        self.0.iter().filter_map(|(name, plan)| {
            let plan = plan.as_ref().ok()?;
            Some(Finding::ok("memory plan", format!("{name}: {plan}")))
        })
    }
}

/// One line for each tool.
pub(super) fn tools(settings: &Settings, plans: &Plans) -> Vec<Finding> {
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
                .filter_map(|source| trouble(source, settings, plans));
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

fn trouble(source: &Source, settings: &Settings, plans: &Plans) -> Option<String> {
    match source {
        Source::Local(model) => plans.trouble(model),
        Source::Bfl => settings.bfl.key().is_none().then(|| {
            let variable = &settings.bfl.key_env;
            format!("bfl has no key: put that of your account into the variable {variable}")
        }),
    }
}

/// What a model will take in memory, or why it cannot be opened.
fn plan(model: &str, settings: &Settings, machine: &Machine) -> Result<ModelPlan, String> {
    let source = models::source_of(model, &settings.data);
    let plan = ModelPlan::of(&source, &machine.engine, &machine.budget);
    plan.map_err(|error| models::cannot_open(model, &settings.data, &error.sentence()))
}

/// What stands in memory beside the models that draw: one line for each.
pub(super) fn beside(machine: &Machine) -> Vec<Finding> {
    let aside = machine.budget.aside().into_iter();
    let aside = aside.map(|(what, bytes)| format!("{what}: {} are set aside for it", Bytes(bytes)));
    let loras = format!(
        "LoRAs: those of a job are counted with its model; open ones are kept while there is room, up to {}",
        Bytes(KEPT_LORA_BYTES)
    );
    let lines = aside.chain([loras]);
    lines
        .map(|found| Finding::ok("memory plan", found))
        .collect()
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
