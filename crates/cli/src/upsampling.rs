//! `[upsampling]` in the configuration, at the top and for single tools: who rewrites prompts.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tintype_catalog::Catalog;
use tintype_domain::ToolSlug;
use tintype_engine::native::{DeviceOptions, LanguageOptions, LanguageUpsampler, NanoUpsampler};
use tintype_engine::upsampling::{MAX_SYSTEM_PROMPT_BYTES, SystemPrompts, Upsampler};
use tintype_service::upsampling::{ChatEndpoint, ChatEndpointConfig, ToolUpsampling, Upsampling};
use url::Url;

use crate::machine::Machine;
use crate::models::BUNDLED;
use crate::settings::{Settings, Source};
use crate::{key_variable, library};

/// A task holds its worker's place meanwhile, twice as long with the retry.
const MAX_TIMEOUT_SECONDS: u64 = 60;

/// Answers are prompts: more would be thrown away.
const MAX_TOKENS: u32 = 4_096;

/// What an operator decides, for all tools or for one. What is `None` for a tool is as it is for all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpsamplingSettings {
    /// Who rewrites prompts.
    pub kind: Option<Kind>,
    /// Whether a task fails when its prompt cannot be rewritten.
    pub required: Option<bool>,
    /// A file in the place of the text that tells a language model what to do with a prompt.
    pub system_prompt: Option<PathBuf>,
    /// The same for instructions of edits.
    pub edit_system_prompt: Option<PathBuf>,
    /// A chat server.
    pub endpoint: Option<EndpointSettings>,
    /// A language model on this machine.
    pub native: Option<NativeSettings>,
}

/// Who rewrites prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The bundled model's own.
    Nano,
    /// A chat server.
    Endpoint,
    /// A language model on this machine.
    Native,
    /// Nobody.
    Off,
}

/// A chat server with OpenAI's interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSettings {
    /// Up to where `/v1/chat/completions` begins.
    #[serde(alias = "base_url")]
    pub url: String,
    /// Which model to ask for.
    pub model: String,
    /// The environment variable that holds the key.
    #[serde(default)]
    pub key_env: Option<String>,
    /// For one call.
    #[serde(default = "twenty_seconds")]
    pub timeout_seconds: u64,
    /// How freely it rewrites.
    #[serde(default = "usual_temperature")]
    pub temperature: f32,
    /// Tokens of an answer at most.
    #[serde(default = "usual_tokens")]
    pub max_tokens: u32,
    /// More fields of each request, as the server knows them.
    #[serde(default)]
    pub extra: BTreeMap<String, Value>,
}

/// A language model on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NativeSettings {
    /// The name of an installed model, or a folder.
    pub model: String,
    /// Threads that it computes with: pictures are drawn meanwhile. As many as the engine's when not given.
    pub threads: Option<usize>,
    /// From the asking to the answer, the loading of the model included.
    pub timeout_seconds: u64,
    /// After so long without a prompt its memory is given back.
    pub idle_seconds: u64,
    /// How freely it rewrites; the model's own when not given.
    pub temperature: Option<f32>,
    /// Tokens of an answer at most.
    pub max_tokens: u32,
}

impl Default for NativeSettings {
    fn default() -> Self {
        Self {
            model: "qwen3-0.6b".to_owned(),
            threads: None,
            timeout_seconds: MAX_TIMEOUT_SECONDS,
            idle_seconds: 60,
            temperature: None,
            max_tokens: usual_tokens(),
        }
    }
}

fn twenty_seconds() -> u64 {
    20
}

fn usual_temperature() -> f32 {
    0.7
}

fn usual_tokens() -> u32 {
    400
}

/// What is decided for one tool, with everything that it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Who rewrites.
    pub who: Who,
    /// Whether a task fails without.
    pub required: bool,
    prompts: SystemPrompts,
}

/// Who rewrites the prompts of a tool.
#[derive(Debug, Clone, PartialEq)]
pub enum Who {
    /// The engine that draws, if it does so by itself.
    Engine,
    /// The bundled model's own upsampler.
    Nano,
    /// A chat server.
    Endpoint(EndpointSettings),
    /// A language model on this machine.
    Native(NativeSettings),
    /// Nobody.
    Nobody,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine => f.write_str("the engine bfl"),
            Self::Nano => f.write_str("nano (the bundled model's own language)"),
            Self::Endpoint(endpoint) => {
                let url = Url::parse(&endpoint.url).ok();
                let host = url.as_ref().and_then(Url::host_str).unwrap_or("?");
                write!(f, "{} at {host}", endpoint.model)
            }
            Self::Native(native) => write!(f, "{} on this machine", native.model),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

impl UpsamplingSettings {
    /// These, with what they leave open taken from those for all tools.
    fn over(&self, all: &Self) -> Self {
        Self {
            kind: self.kind.or(all.kind),
            required: self.required.or(all.required),
            system_prompt: self.system_prompt.clone().or(all.system_prompt.clone()),
            edit_system_prompt: self
                .edit_system_prompt
                .clone()
                .or(all.edit_system_prompt.clone()),
            endpoint: self.endpoint.clone().or(all.endpoint.clone()),
            native: self.native.clone().or(all.native.clone()),
        }
    }

    /// What is decided where these engines draw.
    ///
    /// # Errors
    /// A setting that is missing or does not fit.
    pub fn plan(&self, sources: &[Source]) -> anyhow::Result<Plan> {
        let required = self.required.unwrap_or(false);
        let who = self.who(sources)?;
        let by_engine = sources.iter().all(|source| *source == Source::Bfl);
        if required && (who == Who::Nobody || (who == Who::Engine && !by_engine)) {
            bail!(
                "required = true needs somebody who rewrites: set kind to endpoint, native or nano"
            );
        }
        Ok(Plan {
            who,
            required,
            prompts: self.prompts()?,
        })
    }

    fn who(&self, sources: &[Source]) -> anyhow::Result<Who> {
        let is_bfl = |source: &Source| *source == Source::Bfl;
        let is_nano = |source: &Source| *source == Source::Local(BUNDLED.to_owned());
        if sources.iter().all(is_bfl) {
            return Ok(Who::Engine);
        }
        Ok(match self.kind {
            Some(Kind::Nano) => Who::Nano,
            Some(Kind::Endpoint) => Who::Endpoint(self.endpoint.clone().ok_or_else(|| {
                anyhow!("kind = \"endpoint\" needs [upsampling.endpoint] with url and model")
            })?),
            Some(Kind::Native) => Who::Native(self.native.clone().unwrap_or_default()),
            Some(Kind::Off) => Who::Nobody,
            None if sources.iter().any(is_bfl) => Who::Engine,
            None if sources.iter().all(is_nano) => Who::Nano,
            None => Who::Nobody,
        })
    }

    fn prompts(&self) -> anyhow::Result<SystemPrompts> {
        let built_in = SystemPrompts::default();
        let read = |file: &Option<PathBuf>, built_in| match file {
            Some(file) => read_prompt(file),
            None => Ok(built_in),
        };
        Ok(SystemPrompts {
            picture: read(&self.system_prompt, built_in.picture).context("system_prompt")?,
            edit: read(&self.edit_system_prompt, built_in.edit).context("edit_system_prompt")?,
        })
    }
}

fn read_prompt(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let opened = std::fs::File::open(file);
    let read = opened.and_then(|opened| {
        opened
            .take(MAX_SYSTEM_PROMPT_BYTES + 1)
            .read_to_string(&mut text)
    });
    let bytes = read.with_context(|| format!("cannot read {}", file.display()))?;
    if bytes as u64 > MAX_SYSTEM_PROMPT_BYTES {
        bail!(
            "{} has more than {MAX_SYSTEM_PROMPT_BYTES} bytes",
            file.display()
        );
    }
    if text.trim().is_empty() {
        bail!("{} is empty", file.display());
    }
    Ok(text.trim().to_owned())
}

impl Plan {
    /// What is decided for a tool.
    ///
    /// # Errors
    /// A setting that is missing or does not fit.
    pub fn of_tool(settings: &Settings, tool: &ToolSlug) -> anyhow::Result<Self> {
        let own = settings.tools.get(&tool.to_string());
        let merged = match own.and_then(|own| own.upsampling.as_ref()) {
            Some(own) => own.over(&settings.upsampling),
            None => settings.upsampling.clone(),
        };
        merged
            .plan(&settings.sources(tool))
            .with_context(|| format!("[upsampling] of {tool}"))
    }

    /// Makes the upsampler ready; `None` if there is none of ours. Nothing is connected to or
    /// loaded; the memory of a language model is set aside.
    ///
    /// # Errors
    /// A setting that does not fit; a key that is not in the environment.
    pub fn open(
        &self,
        settings: &Settings,
        machine: &Machine,
    ) -> anyhow::Result<Option<Arc<dyn Upsampler>>> {
        Ok(match &self.who {
            Who::Engine | Who::Nobody => None,
            Who::Nano => Some(Arc::new(NanoUpsampler)),
            Who::Endpoint(endpoint) => {
                let config = endpoint.config(&self.prompts);
                let config = config.context("[upsampling.endpoint]")?;
                let endpoint = ChatEndpoint::new(config).context("[upsampling.endpoint]")?;
                Some(Arc::new(endpoint))
            }
            Who::Native(native) => {
                let options = native.options(settings, &self.prompts);
                let options = options.context("[upsampling.native]")?;
                Some(Arc::new(LanguageUpsampler::start_within(
                    options,
                    &machine.budget,
                )?))
            }
        })
    }
}

/// Everybody who rewrites prompts. Tools for which the same is decided share it.
///
/// # Errors
/// Those of [`Plan::of_tool`] and [`Plan::open`].
pub fn open(settings: &Settings, machine: &Machine) -> anyhow::Result<Upsampling> {
    let mut opened: Vec<(Plan, ToolUpsampling)> = Vec::new();
    let mut tools = Vec::new();
    for tool in Catalog::builtin().tools() {
        let plan = Plan::of_tool(settings, &tool.slug())?;
        let known = opened.iter().find(|(other, _)| *other == plan);
        let upsampling = match known {
            Some((_, known)) => known.clone(),
            None => ToolUpsampling {
                upsampler: plan.open(settings, machine)?,
                required: plan.required,
            },
        };
        tracing::info!(tool.name = %tool.slug(), upsampler = %plan.who, required = plan.required, "prompt upsampling");
        opened.push((plan, upsampling.clone()));
        tools.push((tool.slug(), upsampling));
    }
    Ok(tools.into_iter().collect())
}

impl EndpointSettings {
    fn config(&self, prompts: &SystemPrompts) -> anyhow::Result<ChatEndpointConfig> {
        let url = Url::parse(&self.url)
            .map_err(|error| anyhow!("url \"{}\" is no address: {error}", self.url))?;
        check_seconds(self.timeout_seconds)?;
        check_tokens(self.max_tokens)?;
        if !(0.0..=2.0).contains(&self.temperature) {
            bail!("temperature is from 0 to 2");
        }
        Ok(ChatEndpointConfig {
            url,
            model: self.model.clone(),
            key: key_variable::read(self.key_env.as_deref())?.map(Into::into),
            timeout: Duration::from_secs(self.timeout_seconds),
            temperature: self.temperature,
            max_tokens: self.max_tokens,
            system_prompts: prompts.clone(),
            extra: self.extra.clone().into_iter().collect(),
        })
    }
}

impl NativeSettings {
    fn options(
        &self,
        settings: &Settings,
        prompts: &SystemPrompts,
    ) -> anyhow::Result<LanguageOptions> {
        check_seconds(self.timeout_seconds)?;
        check_tokens(self.max_tokens)?;
        if self.idle_seconds == 0 || self.threads == Some(0) {
            bail!("idle_seconds and threads must be at least 1");
        }
        if self
            .temperature
            .is_some_and(|value| !(0.0..=2.0).contains(&value))
        {
            bail!("temperature is from 0 to 2");
        }
        Ok(LanguageOptions {
            name: self.model.clone(),
            folder: library::locate(&self.model, &settings.data)?,
            device: DeviceOptions {
                threads: self.threads.or(settings.threads).unwrap_or(0),
                ..settings.compute.device_options()?
            },
            system_prompts: prompts.clone(),
            temperature: self.temperature,
            max_tokens: self.max_tokens as usize,
            timeout: Duration::from_secs(self.timeout_seconds),
            idle: Duration::from_secs(self.idle_seconds),
        })
    }
}

fn check_seconds(seconds: u64) -> anyhow::Result<()> {
    if !(1..=MAX_TIMEOUT_SECONDS).contains(&seconds) {
        bail!("timeout_seconds is from 1 to {MAX_TIMEOUT_SECONDS}");
    }
    Ok(())
}

fn check_tokens(tokens: u32) -> anyhow::Result<()> {
    if !(1..=MAX_TOKENS).contains(&tokens) {
        bail!("max_tokens is from 1 to {MAX_TOKENS}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> UpsamplingSettings {
        use figment::providers::{Format, Serialized, Toml};
        let defaults = Serialized::defaults(UpsamplingSettings::default());
        let file = figment::Figment::from(defaults).merge(Toml::string(text));
        file.extract().expect("settings")
    }

    fn local(name: &str) -> Source {
        Source::Local(name.to_owned())
    }

    fn who(text: &str, sources: &[Source]) -> String {
        let plan = settings(text).plan(sources).expect("a plan");
        plan.who.to_string()
    }

    fn failure(text: &str, sources: &[Source]) -> String {
        let opened = settings(text).plan(sources).and_then(|plan| {
            plan.open(&Settings::default(), &Machine::default())
                .map(drop)
        });
        format!("{:#}", opened.expect_err("cannot be used"))
    }

    const ENDPOINT: &str =
        "kind = \"endpoint\"\n[endpoint]\nurl = \"http://10.0.0.7:8000/v1\"\nmodel = \"qwen3\"";

    #[test]
    fn without_a_word_the_bundled_model_has_its_own_and_others_have_none() {
        assert_eq!(
            who("", &[local("nano")]),
            "nano (the bundled model's own language)"
        );
        assert_eq!(who("", &[local("/models/dev")]), "nobody");
        assert_eq!(who("", &[Source::Bfl]), "the engine bfl");
        let both = [local("/models/dev"), Source::Bfl];
        assert_eq!(who("", &both), "the engine bfl");
        assert_eq!(who("kind = \"off\"", &[local("nano")]), "nobody");
    }

    #[test]
    fn what_is_said_counts_unless_the_engine_always_does_it() {
        assert_eq!(who(ENDPOINT, &[local("nano")]), "qwen3 at 10.0.0.7");
        assert_eq!(
            who(ENDPOINT, &[local("nano"), Source::Bfl]),
            "qwen3 at 10.0.0.7"
        );
        assert_eq!(who(ENDPOINT, &[Source::Bfl]), "the engine bfl");
        assert_eq!(
            who("kind = \"native\"", &[local("nano")]),
            "qwen3-0.6b on this machine"
        );
    }

    #[test]
    fn a_tool_s_own_settings_stand_over_those_of_all() {
        let all = settings(ENDPOINT);
        let own = settings("required = true").over(&all);
        let plan = own.plan(&[local("/models/dev")]).expect("a plan");
        assert!(plan.required && matches!(plan.who, Who::Endpoint(_)));
        let own = settings("kind = \"off\"").over(&all);
        assert_eq!(own.plan(&[local("nano")]).expect("a plan").who, Who::Nobody);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let here = [local("/models/dev")];
        assert!(failure("required = true", &here).contains("needs somebody who rewrites"));
        let both = [local("/models/dev"), Source::Bfl];
        assert!(failure("required = true", &both).contains("needs somebody who rewrites"));
        assert!(failure("kind = \"endpoint\"", &here).contains("[upsampling.endpoint]"));
        let endpoint = |rest: &str| failure(&format!("{ENDPOINT}\n{rest}"), &here);
        assert!(endpoint("timeout_seconds = 600").contains("from 1 to 60"));
        assert!(endpoint("max_tokens = 0").contains("from 1 to 4096"));
        assert!(endpoint("temperature = 3").contains("from 0 to 2"));
        assert!(endpoint("key_env = \"NOBODY_SETS_THIS\"").contains("NOBODY_SETS_THIS"));
        assert!(endpoint("key_env = \"TINTYPE_KEY\"").contains("those are settings"));
        let native = failure("kind = \"native\"\n[native]\nmodel = \"/nowhere\"", &here);
        assert!(native.contains("tintype model pull"), "{native}");
        let file = failure("system_prompt = \"/nowhere.txt\"", &here);
        assert!(file.contains("cannot read /nowhere.txt"), "{file}");
    }
}
