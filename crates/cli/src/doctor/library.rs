//! The library of models.

use tintype_library::Condition;

use super::Finding;
use crate::models_settings::library;
use crate::settings::Settings;

/// Where it is and what is in it.
pub(super) fn installed(settings: &Settings) -> Finding {
    let library = library(&settings.data);
    let place = library.root().display();
    let models = match library.list() {
        Ok(models) => models,
        Err(error) => {
            return Finding::ok("library", place.to_string()).wrong(error.to_string());
        }
    };
    let of = |wanted: &[Condition]| -> Vec<String> {
        let found = models
            .iter()
            .filter(|model| wanted.contains(&model.condition));
        found.map(|model| model.name.clone()).collect()
    };
    let here = of(&[Condition::Installed, Condition::ByHand]);
    let unfinished = of(&[Condition::Unfinished]);
    let finding = match here.as_slice() {
        [] => Finding::ok("library", format!("no model is in {place}")),
        here => Finding::ok("library", format!("{place} holds {}", here.join(", "))),
    };
    match (here.is_empty(), unfinished.as_slice()) {
        (_, [first, ..]) => finding.note(format!(
            "{} was not fetched to its end: `tintype model pull {first}` goes on",
            unfinished.join(", ")
        )),
        (true, []) => finding.note("`tintype model list` shows those that can be fetched"),
        (false, []) => finding,
    }
}
