//! Whether what is asked for and what is drawn is moderated.

use super::Finding;
use crate::settings::Settings;

/// What a picture moderator is set up with.
const ADVICE: &str = "a classifier (tintype model pull nsfw-vit), or a moderation server that judges \
                      pictures: [moderation.endpoint] with pictures = true (docs/moderation.md)";

pub(super) fn moderation(settings: &Settings) -> Finding {
    let moderation = match settings.moderation.moderation(&settings.data) {
        Ok(moderation) => moderation,
        Err(error) => {
            return Finding::ok("moderation", "cannot be set up").wrong(format!("{error:#}"));
        }
    };
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
        let finding = super::moderation(&settings);
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
