//! Whether what is asked for and what is drawn is moderated.

use tintype_service::moderation::Moderation;

use super::Finding;
use crate::machine::Machine;
use crate::settings::Settings;

/// What a picture moderator is set up with.
const ADVICE: &str = "a classifier (tintype model pull nsfw-vit), or a moderation server that judges \
                      pictures: [moderation.endpoint] with pictures = true (docs/moderation.md)";

/// Those who judge, with the memory that they take.
pub(super) struct Moderators(anyhow::Result<Moderation>);

impl Moderators {
    pub fn of(settings: &Settings, machine: &Machine) -> Self {
        Self(settings.moderation.moderation(&settings.data, machine))
    }

    pub fn finding(&self) -> Finding {
        match &self.0 {
            Ok(moderation) => finding_of(moderation),
            Err(error) => Finding::ok("moderation", "cannot be set up").wrong(format!("{error:#}")),
        }
    }
}

fn finding_of(moderation: &Moderation) -> Finding {
    let Some(gap) = moderation.gap() else {
        return Finding::ok("moderation", "prompts and pictures are moderated");
    };
    let finding = Finding::ok("moderation", gap);
    if moderation.refusal().is_some() {
        return finding.wrong(format!(
            "mode = \"required\" refuses every run; set up {ADVICE}"
        ));
    }
    if moderation.judges_texts() {
        return finding.note(format!(
            "to have them judged as prompts are, set up {ADVICE}"
        ));
    }
    finding.note("mode = \"on\" has prompts judged by the built-in rules")
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::moderation::{ModeSetting, ModerationSettings};

    fn found(moderation: ModerationSettings) -> (State, String) {
        let settings = Settings {
            moderation,
            ..Settings::default()
        };
        let finding = Moderators::of(&settings, &Machine::default()).finding();
        (finding.state, finding.found)
    }

    #[test]
    fn what_is_not_moderated_is_said() {
        let mode = |mode| ModerationSettings {
            mode,
            ..ModerationSettings::default()
        };
        let pictures = "pictures are not moderated".to_owned();
        assert_eq!(
            found(mode(ModeSetting::On)),
            (State::Note, pictures.clone())
        );
        assert_eq!(found(mode(ModeSetting::Required)), (State::Wrong, pictures));
        let nothing = "nothing is moderated".to_owned();
        assert_eq!(found(mode(ModeSetting::Off)), (State::Note, nothing));
        let broken = ModerationSettings {
            rules: Some("/nowhere.toml".into()),
            ..ModerationSettings::default()
        };
        assert_eq!(found(broken).0, State::Wrong);
    }
}
