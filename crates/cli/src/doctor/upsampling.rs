//! Who rewrites prompts, and whether it answers.

use std::sync::Arc;

use tintype_catalog::Catalog;
use tintype_engine::upsampling::{Purpose, Upsampler, Wish};

use super::Finding;
use crate::machine::Machine;
use crate::settings::Settings;
use crate::upsample;
use crate::upsampling::{Plan, Who};

const WHAT: &str = "upsampling";

/// Those who rewrite, with the memory that they take.
pub(super) struct Upsamplers {
    /// One line for each tool.
    pub findings: Vec<Finding>,
    /// What they take is set aside while they are here.
    _opened: Vec<Asked>,
}

/// Somebody who rewrites, and what keeps him from it.
struct Asked {
    plan: Plan,
    trouble: Option<String>,
    _opened: Option<Arc<dyn Upsampler>>,
}

impl Upsamplers {
    /// A chat server is asked to rewrite a few words; each only once.
    pub fn of(settings: &Settings, machine: &Machine) -> Self {
        let mut asked: Vec<Asked> = Vec::new();
        let mut findings = Vec::new();
        for tool in Catalog::builtin().tools() {
            let tool = tool.slug();
            let plan = match Plan::of_tool(settings, &tool) {
                Ok(plan) => plan,
                Err(error) => {
                    let finding = Finding::ok(WHAT, format!("{tool}: cannot be set up"));
                    findings.push(finding.wrong(format!("{error:#}")));
                    continue;
                }
            };
            let known = asked.iter().position(|other| other.plan == plan);
            let index = known.unwrap_or_else(|| {
                asked.push(Asked::of(plan, settings, machine));
                asked.len() - 1
            });
            let Asked { plan, trouble, .. } = &asked[index];
            findings.push(finding_of(&tool.to_string(), plan, trouble.clone()));
        }
        Self {
            findings,
            _opened: asked,
        }
    }
}

impl Asked {
    fn of(plan: Plan, settings: &Settings, machine: &Machine) -> Self {
        let (opened, trouble) = match plan.open(settings, machine) {
            Ok(opened) => (opened, None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let trouble = trouble.or_else(|| trouble_of(&plan, opened.as_deref()?));
        Self {
            plan,
            trouble,
            _opened: opened,
        }
    }
}

fn finding_of(tool: &str, plan: &Plan, trouble: Option<String>) -> Finding {
    let answers = match (&plan.who, &trouble) {
        (Who::Endpoint(_), None) => ", which answers",
        (_, Some(_)) => ", which does NOT work",
        _ => "",
    };
    let required = if plan.required { " (required)" } else { "" };
    let found = match plan.who {
        Who::Nobody => format!("the prompts of {tool} are not rewritten"),
        _ => format!(
            "the prompts of {tool} are rewritten by {}{answers}{required}",
            plan.who
        ),
    };
    let finding = Finding::ok(WHAT, found);
    match trouble {
        Some(trouble) if plan.required => finding.wrong(trouble),
        Some(trouble) => finding.note(format!(
            "{trouble}; pictures are drawn from prompts as they are sent"
        )),
        None if plan.who == Who::Nobody => finding
            .note("promptUpsampling is answered with a remark; to have it done, set [upsampling]"),
        None => finding,
    }
}

/// What keeps it from rewriting.
fn trouble_of(plan: &Plan, upsampler: &dyn Upsampler) -> Option<String> {
    let wish = Wish {
        prompt: "a red circle".to_owned(),
        purpose: Purpose::Picture,
        seed: 1,
    };
    match plan.who {
        Who::Endpoint(_) => upsample::rewritten(upsampler, wish)
            .err()
            .map(|error| error.to_string()),
        // It would have to be loaded: opening has looked at its files.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::upsampling::{EndpointSettings, Kind, UpsamplingSettings};

    fn found(model: &str, upsampling: UpsamplingSettings) -> (State, String) {
        let settings = Settings {
            model: model.to_owned(),
            upsampling,
            ..Settings::default()
        };
        let finding = Upsamplers::of(&settings, &Machine::default())
            .findings
            .remove(0);
        (finding.state, finding.found)
    }

    #[test]
    fn who_rewrites_is_told_and_whether_it_answers() {
        let (state, text) = found("nano", UpsamplingSettings::default());
        assert_eq!(state, State::Ok);
        assert!(
            text.ends_with("rewritten by nano (the bundled model's own language)"),
            "{text}"
        );
        let (state, text) = found("/models/dev", UpsamplingSettings::default());
        assert_eq!(state, State::Note);
        assert!(text.ends_with("are not rewritten"), "{text}");
        // Nobody listens there: the port was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let endpoint = serde_json::json!({ "url": format!("http://{address}"), "model": "small" });
        let endpoint: EndpointSettings = serde_json::from_value(endpoint).expect("settings");
        let silent = |required| UpsamplingSettings {
            kind: Some(Kind::Endpoint),
            endpoint: Some(endpoint.clone()),
            required: Some(required),
            ..UpsamplingSettings::default()
        };
        let (state, text) = found("/models/dev", silent(false));
        assert_eq!(state, State::Note);
        assert!(
            text.ends_with("small at 127.0.0.1, which does NOT work"),
            "{text}"
        );
        assert_eq!(found("/models/dev", silent(true)).0, State::Wrong);
    }
}
