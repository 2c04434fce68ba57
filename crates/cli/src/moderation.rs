//! `[moderation]` in the configuration: what it may say, and the moderators that come of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use tintype_moderation::{Category, RuleSet, Thresholds, Tolerance};
use tintype_service::moderation::{Endpoint, EndpointConfig, Mode, Moderation, OnFailure};
use url::Url;

use crate::key_variable;
use crate::machine::Machine;
use crate::picture_classifier::{ClassifierModerator, ClassifierSettings};

/// What an operator decides about moderation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModerationSettings {
    /// `off`, `on` or `required`.
    pub mode: ModeSetting,
    /// A rule file in the place of the built-in rules.
    pub rules: Option<PathBuf>,
    /// `fail_closed` or `fail_open`.
    pub on_failure: OnFailureSetting,
    /// Rows of thresholds, tolerance 0 to 6, by category.
    pub thresholds: BTreeMap<String, [f32; Tolerance::COUNT]>,
    /// A moderation server.
    pub endpoint: Option<EndpointSettings>,
    /// A model on this machine that judges pictures.
    pub classifier: Option<ClassifierSettings>,
}

/// Whether anything is moderated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeSetting {
    /// Nothing is.
    Off,
    /// What there are moderators for.
    #[default]
    On,
    /// No run is accepted while a moderator is missing.
    Required,
}

/// What becomes of a task that a moderator could not judge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailureSetting {
    /// It fails.
    #[default]
    FailClosed,
    /// It goes on, with a note.
    FailOpen,
}

/// A moderation server with OpenAI's interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSettings {
    /// Up to where `/v1/moderations` begins.
    pub url: String,
    /// Which model to ask for.
    #[serde(default)]
    pub model: Option<String>,
    /// The environment variable that holds the key.
    #[serde(default)]
    pub key_env: Option<String>,
    /// For one call.
    #[serde(default = "ten")]
    pub timeout_seconds: u64,
    /// Whether it judges prompts.
    #[serde(default = "yes")]
    pub texts: bool,
    /// Whether it judges pictures.
    #[serde(default)]
    pub pictures: bool,
    /// What its categories mean.
    #[serde(default)]
    pub categories: BTreeMap<String, String>,
}

fn ten() -> u64 {
    10
}

fn yes() -> bool {
    true
}

/// A worker that drains waits for a judgement: it must not be waited for longer.
const MAX_TIMEOUT_SECONDS: u64 = 12;

impl ModerationSettings {
    /// The moderators. Nothing is connected to; a classifier is loaded, from the library in the data
    /// folder if it is there.
    ///
    /// # Errors
    /// A rule file that is not there or broken (its line and the reason), an unknown category, a
    /// key that is not in the environment, a classifier that cannot be used.
    pub fn moderation(&self, data: &Path, machine: &Machine) -> anyhow::Result<Moderation> {
        let endpoint = match &self.endpoint {
            Some(endpoint) => Some((endpoint, Arc::new(endpoint.open()?))),
            None => None,
        };
        let mut moderation = Moderation {
            mode: match self.mode {
                ModeSetting::Off => Mode::Off,
                ModeSetting::On => Mode::On,
                ModeSetting::Required => Mode::Required,
            },
            on_failure: match self.on_failure {
                OnFailureSetting::FailClosed => OnFailure::FailClosed,
                OnFailureSetting::FailOpen => OnFailure::FailOpen,
            },
            thresholds: self.thresholds()?,
            texts: vec![Arc::new(self.rule_set()?)],
            pictures: Vec::new(),
        };
        if self.mode != ModeSetting::Off
            && let Some(classifier) = self.classifier(data, machine)?
        {
            moderation.pictures.push(Arc::new(classifier));
        }
        if let Some((settings, endpoint)) = endpoint {
            if settings.texts {
                moderation.texts.push(endpoint.clone());
            }
            if settings.pictures {
                moderation.pictures.push(endpoint);
            }
        }
        Ok(moderation)
    }

    /// The classifier of pictures: the operator's, or the one that is installed.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn classifier(
        &self,
        data: &Path,
        machine: &Machine,
    ) -> anyhow::Result<Option<ClassifierModerator>> {
        let installed = || ClassifierSettings::installed(data);
        let Some(settings) = self.classifier.clone().or_else(installed) else {
            return Ok(None);
        };
        let classifier = settings
            .open(data, machine)
            .context("[moderation.classifier]")?;
        Ok(Some(classifier))
    }

    /// The rules: the operator's, or those that ship with the program.
    ///
    /// # Errors
    /// A file that is not there or broken.
    pub fn rule_set(&self) -> anyhow::Result<RuleSet> {
        match &self.rules {
            Some(file) => RuleSet::load(file).context("[moderation] rules"),
            None => Ok(RuleSet::builtin()),
        }
    }

    /// The thresholds, with the operator's rows.
    ///
    /// # Errors
    /// A category that does not exist, or that may not be tolerated.
    pub fn thresholds(&self) -> anyhow::Result<Thresholds> {
        let mut thresholds = Thresholds::default();
        for (name, row) in &self.thresholds {
            let category: Category = name.parse().context("[moderation.thresholds]")?;
            let set = thresholds.set(category, *row);
            set.context("[moderation.thresholds]")?;
        }
        Ok(thresholds)
    }
}

impl EndpointSettings {
    fn open(&self) -> anyhow::Result<Endpoint> {
        let config = self.config().context("[moderation.endpoint]")?;
        Endpoint::new(config).context("[moderation.endpoint]")
    }

    fn config(&self) -> anyhow::Result<EndpointConfig> {
        let url = Url::parse(&self.url)
            .map_err(|error| anyhow!("url \"{}\" is no address: {error}", self.url))?;
        if !(1..=MAX_TIMEOUT_SECONDS).contains(&self.timeout_seconds) {
            bail!("timeout_seconds is from 1 to {MAX_TIMEOUT_SECONDS}");
        }
        if !self.texts && !self.pictures {
            bail!("it judges neither texts nor pictures: set one of them to true");
        }
        let categories = self.categories.iter().map(|(theirs, ours)| {
            let ours: Category = ours.parse().context("categories")?;
            Ok((theirs.clone(), ours))
        });
        Ok(EndpointConfig {
            url,
            model: self.model.clone(),
            key: key_variable::read(self.key_env.as_deref())?.map(Into::into),
            timeout: Duration::from_secs(self.timeout_seconds),
            categories: categories.collect::<anyhow::Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> ModerationSettings {
        let file = figment::Figment::from(figment::providers::Serialized::defaults(
            ModerationSettings::default(),
        ))
        .merge(<figment::providers::Toml as figment::providers::Format>::string(text));
        file.extract().expect("settings")
    }

    fn failure(text: &str) -> String {
        let error = settings(text)
            .moderation(Path::new("/nowhere"), &Machine::default())
            .expect_err("cannot be used");
        format!("{error:#}")
    }

    #[test]
    fn prompts_are_moderated_unless_somebody_says_otherwise() {
        let moderation = settings("")
            .moderation(Path::new("/nowhere"), &Machine::default())
            .expect("the default");
        assert!(moderation.judges_texts() && !moderation.judges_pictures());
        assert_eq!(moderation.gap(), Some("pictures are not moderated"));
        assert_eq!(moderation.refusal(), None);
        let off = settings("mode = \"off\"")
            .moderation(Path::new("/nowhere"), &Machine::default())
            .expect("off");
        assert_eq!(off.gap(), Some("nothing is moderated"));
        let required = settings("mode = \"required\"")
            .moderation(Path::new("/nowhere"), &Machine::default())
            .expect("required");
        assert!(required.refusal().is_some());
    }

    #[test]
    fn an_endpoint_judges_what_it_is_set_to() {
        let text = "mode = \"required\"\n[endpoint]\nurl = \"http://10.0.0.7:8000\"\npictures = true\n\
                    [endpoint.categories]\nS1 = \"violence\"\n[thresholds]\nhate = [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]";
        let moderation = settings(text)
            .moderation(Path::new("/nowhere"), &Machine::default())
            .expect("settings");
        assert_eq!((moderation.texts.len(), moderation.pictures.len()), (2, 1));
        assert_eq!((moderation.gap(), moderation.refusal()), (None, None));
        let lax = Tolerance::new(6).expect("a level");
        assert_eq!(moderation.thresholds.threshold(Category::Hate, lax), 0.1);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let rules = folder.path().join("rules.toml");
        std::fs::write(
            &rules,
            "[[rule]]\ncategory = \"gore\"\nscore = 1\nphrases = [\"a\"]",
        )
        .expect("written");
        let broken = failure(&format!("rules = \"{}\"", rules.display()));
        assert!(
            broken.contains("rules.toml, line 2: there is no category \"gore\""),
            "{broken}"
        );
        assert!(failure("rules = \"/nowhere.toml\"").contains("cannot read /nowhere.toml"));
        assert!(failure("[thresholds]\ngore = [1, 1, 1, 1, 1, 1, 1]").contains("no category"));
        let minors = failure("[thresholds]\n\"sexual/minors\" = [1, 1, 1, 1, 1, 1, 1]");
        assert!(minors.contains("tolerated at no level"), "{minors}");
        let endpoint =
            |rest: &str| failure(&format!("[endpoint]\nurl = \"http://a.example\"\n{rest}"));
        assert!(failure("[endpoint]\nurl = \"a.example\"").contains("is no address"));
        assert!(endpoint("timeout_seconds = 600").contains("from 1 to 12"));
        assert!(endpoint("texts = false").contains("neither texts nor pictures"));
        assert!(endpoint("categories = { S1 = \"gore\" }").contains("no category \"gore\""));
        assert!(endpoint("key_env = \"NOBODY_SETS_THIS\"").contains("NOBODY_SETS_THIS"));
        assert!(endpoint("key_env = \"TINTYPE_KEY\"").contains("those are settings"));
    }
}
