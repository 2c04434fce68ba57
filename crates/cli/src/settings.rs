//! What an operator decides: built-in values, then the configuration file, then the environment
//! (`TINTYPE_…`), then flags. The later one wins.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use tintype_catalog::{Catalog, Offered, Tool};
use tintype_domain::ToolSlug;
use tintype_engine::{LoraWish, Sampling, bfl};
use tintype_server::Limits;
use tintype_service::{AllowedTargets, GuardConfig, Networks, ServiceConfig};
use url::Url;

use crate::compute_settings::ComputeSettings;
use crate::engine_settings::{BflSettings, EngineName, EngineOrder};
use crate::lora_settings;
use crate::machine::Machine;
use crate::models_settings::ModelsSettings;
use crate::moderation::ModerationSettings;
use crate::retention::RetentionSettings;
use crate::upsampling;
use crate::upsampling::UpsamplingSettings;

/// The configuration file that is read without being named, in the working folder or in the data
/// folder.
const FILE_NAME: &str = "tintype.toml";

/// Models that are installed, in the data folder.
const MODELS_FOLDER: &str = "models";

/// Variables with our prefix that are not settings.
const NOT_SETTINGS: [&str; 2] = ["config", "log"];

/// All settings of `tintype serve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address and port to listen on.
    pub listen: String,
    /// The folder for everything that is kept.
    pub data: PathBuf,
    /// Where clients reach the service; derived from `listen` when not given.
    pub public_url: Option<String>,
    /// `nano`, a model of the library, or a path.
    pub model: String,
    /// The engines that draw, in the order in which they are asked.
    pub engine: EngineOrder,
    /// Threads of the engine; all cores when not given.
    pub threads: Option<usize>,
    /// Networks and hosts outside the public internet that clients may name.
    pub allowed_private_targets: Vec<String>,
    /// Lets clients make this machine connect to any private address.
    pub danger_allow_private_addresses: bool,
    /// Proxies that are believed when they say whom they speak for.
    pub trusted_proxies: Vec<String>,
    /// Settings of single tools, by `owner/model`.
    pub tools: BTreeMap<String, ToolSettings>,
    /// Bounds of the HTTP border.
    pub limits: Limits,
    /// Bounds for fetching pictures from addresses that clients name.
    pub fetch: FetchSettings,
    /// For how long things are kept.
    pub retention: RetentionSettings,
    /// How Black Forest Labs are reached.
    pub bfl: BflSettings,
    /// How models are fetched, and where LoRAs lie.
    pub models: ModelsSettings,
    /// What is let through.
    pub moderation: ModerationSettings,
    /// Who rewrites prompts.
    pub upsampling: UpsamplingSettings,
    /// How the engine computes.
    pub compute: ComputeSettings,
}

/// What may differ from tool to tool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolSettings {
    /// `nano`, a model of the library, or a path.
    pub model: Option<String>,
    /// The engines that draw, in the order in which they are asked.
    pub engine: Option<EngineOrder>,
    /// LoRAs of its pictures, unless a request names others: `NAME` or `NAME:WEIGHT`.
    pub loras: Vec<String>,
    /// Denoising steps where a request does not say.
    pub steps: Option<u32>,
    /// The same for the scale of distilled guidance.
    pub guidance: Option<f32>,
    /// The same for the shift of the schedule.
    pub shift: Option<f32>,
    /// The same for the scale of classifier-free guidance.
    pub true_cfg: Option<f32>,
    /// The same for what the picture shall not show.
    pub negative_prompt: Option<String>,
    /// Who rewrites prompts; what it leaves open is as it is for all tools.
    pub upsampling: Option<UpsamplingSettings>,
}

impl ToolSettings {
    fn sampling(&self) -> Sampling {
        Sampling {
            steps: self.steps,
            guidance: self.guidance,
            shift: self.shift,
            true_cfg: self.true_cfg,
            negative_prompt: self.negative_prompt.clone(),
        }
    }

    /// Whether the defaults are within the bounds of the tool's parameters.
    fn check(&self, tool: &Tool) -> anyhow::Result<()> {
        let number = |value: Option<f32>| value.map(|value| value.to_string());
        let defaults = [
            ("prompt", Some("any".to_owned())),
            ("steps", self.steps.map(|steps| steps.to_string())),
            ("guidance", number(self.guidance)),
            ("shift", number(self.shift)),
            ("trueCfg", number(self.true_cfg)),
            ("negativePrompt", self.negative_prompt.clone()),
        ];
        let said = defaults
            .into_iter()
            .filter_map(|(id, value)| Some((id, value?)));
        let fields: Vec<_> = said
            .map(|(id, value)| (id.to_owned(), value.into()))
            .collect();
        match tool.validate(&fields) {
            Ok(_) => Ok(()),
            Err(errors) => bail!("{}", errors[0]),
        }
    }
}

/// Where a tool's pictures come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This program, with a model.
    Local(String),
    /// Black Forest Labs.
    Bfl,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local(model) => model,
            Self::Bfl => bfl::ENGINE_NAME,
        })
    }
}

/// How pictures are fetched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchSettings {
    /// Seconds to connect.
    pub connect_seconds: u64,
    /// Seconds for everything.
    pub total_seconds: u64,
}

impl Default for FetchSettings {
    fn default() -> Self {
        let config = ServiceConfig::new("");
        Self {
            connect_seconds: config.guard.connect_timeout.as_secs(),
            total_seconds: config.fetch_timeout.as_secs(),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8787".to_owned(),
            data: default_data_folder(),
            public_url: None,
            model: crate::models::BUNDLED.to_owned(),
            engine: EngineOrder::default(),
            threads: None,
            allowed_private_targets: Vec::new(),
            danger_allow_private_addresses: false,
            trusted_proxies: Vec::new(),
            tools: BTreeMap::new(),
            limits: Limits::default(),
            fetch: FetchSettings::default(),
            retention: RetentionSettings::default(),
            bfl: BflSettings::default(),
            models: ModelsSettings::default(),
            moderation: ModerationSettings::default(),
            upsampling: UpsamplingSettings::default(),
            compute: ComputeSettings::default(),
        }
    }
}

/// Which configuration file is read.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// Configuration file [default: tintype.toml here or in the data folder, if there is one].
    #[arg(
        long,
        value_name = "FILE",
        env = "TINTYPE_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,
}

/// What came on the command line (or in the variable that `--help` names beside a flag).
#[derive(Debug, Clone, Default, Args, Serialize)]
pub struct Overrides {
    /// Address and port to listen on [default: 127.0.0.1:8787].
    #[arg(
        long,
        value_name = "ADDR",
        env = "TINTYPE_LISTEN",
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Folder for everything that is kept [default: ~/.local/share/tintype].
    #[arg(long, value_name = "DIR", env = "TINTYPE_DATA", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// Where clients reach the service, such as https://pictures.example: the addresses of
    /// pictures begin with it. Without it they begin with the host that the client used.
    #[arg(
        long,
        value_name = "URL",
        env = "TINTYPE_PUBLIC_URL",
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// The bundled model, nano, one that `tintype model list` shows, or the folder of one
    /// [default: nano].
    #[arg(
        long,
        value_name = "NAME|DIR",
        env = "TINTYPE_MODEL",
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Threads of the engine [default: all cores].
    #[arg(
        long,
        value_name = "N",
        env = "TINTYPE_THREADS",
        hide_env_values = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
}

impl Settings {
    /// Reads everything there is.
    ///
    /// # Errors
    /// A file that was named and is not there, a setting that does not exist or does not fit.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> anyhow::Result<Self> {
        let file = match file {
            Some(file) if !file.is_file() => {
                bail!("there is no configuration file {}", file.display())
            }
            Some(file) => Some(file.to_owned()),
            None => Self::file_without_a_name(&overrides),
        };
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = &file {
            figment = figment.merge(Toml::file_exact(file));
        }
        let figment = figment
            .merge(Env::prefixed("TINTYPE_").ignore(&NOT_SETTINGS).split("__"))
            .merge(Serialized::defaults(overrides));
        let settings: Self = figment
            .extract()
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        settings.check().with_context(|| match &file {
            Some(file) => format!("the configuration (with {}) cannot be used", file.display()),
            None => "the configuration cannot be used".to_owned(),
        })?;
        Ok(settings)
    }

    fn file_without_a_name(overrides: &Overrides) -> Option<PathBuf> {
        let data = overrides.data.clone().unwrap_or_else(default_data_folder);
        let candidates = [PathBuf::from(FILE_NAME), data.join(FILE_NAME)];
        candidates.into_iter().find(|candidate| candidate.is_file())
    }

    fn check(&self) -> anyhow::Result<()> {
        let catalog = Catalog::known();
        for (name, own) in &self.tools {
            let Some(tool) = slug(name).and_then(|slug| catalog.tool(&slug)) else {
                let known: Vec<String> = catalog
                    .tools()
                    .iter()
                    .map(|tool| tool.slug().to_string())
                    .collect();
                bail!(
                    "there is no tool \"{name}\"; there are {}",
                    known.join(", ")
                );
            };
            own.check(tool)
                .with_context(|| format!("tools.\"{name}\""))?;
        }
        if let Some(url) = &self.public_url {
            check_public_url(url)?;
        }
        self.allowed_targets()?;
        self.trusted_proxies()?;
        if self.threads == Some(0) {
            bail!("threads must be at least 1");
        }
        self.retention.policy()?;
        self.engine.check()?;
        for (name, tool) in &self.tools {
            let order = tool.engine.as_ref();
            order
                .map_or(Ok(()), EngineOrder::check)
                .context(name.clone())?;
            lora_settings::wishes(&tool.loras).context(name.clone())?;
        }
        self.compute.device_options()?;
        self.models.check()?;
        self.bfl.check()
    }

    /// Where a tool's pictures come from, in the order in which it is tried.
    pub fn sources(&self, tool: &ToolSlug) -> Vec<Source> {
        let own = self.tools.get(&tool.to_string());
        let model = own.and_then(|own| own.model.clone());
        let installed = || self.installed(tool).map(|path| path.display().to_string());
        let model = model.or_else(installed).unwrap_or(self.model.clone());
        let order = own
            .and_then(|own| own.engine.as_ref())
            .unwrap_or(&self.engine);
        let source = |name: &EngineName| match name {
            EngineName::Flux => Source::Local(model.clone()),
            EngineName::Bfl => Source::Bfl,
        };
        order.0.iter().map(source).collect()
    }

    /// The LoRAs of each tool that has some.
    ///
    /// # Errors
    /// One that is no name with a weight.
    pub fn tool_loras(&self) -> anyhow::Result<HashMap<ToolSlug, Vec<LoraWish>>> {
        let own = self.tools.iter().filter(|(_, own)| !own.loras.is_empty());
        own.filter_map(|(name, own)| Some((slug(name)?, lora_settings::wishes(&own.loras))))
            .map(|(slug, wishes)| Ok((slug, wishes?)))
            .collect()
    }

    /// The tools that are offered: those of every service, and those of open models that have one,
    /// by their entry or because it is installed.
    pub fn catalog(&self) -> Catalog {
        let entry = |slug: &ToolSlug| self.tools.get(&slug.to_string());
        let named = |own: &ToolSettings| own.model.is_some() || own.engine.is_some();
        Catalog::known()
            .offering(|slug| entry(slug).is_some_and(named) || self.installed(slug).is_some())
    }

    /// The folder of an open model in the data folder, named like its tool. The tools of every
    /// service have none: they draw with what the settings say.
    fn installed(&self, tool: &ToolSlug) -> Option<PathBuf> {
        let known = Catalog::known();
        let known = known.tool(tool)?;
        let folder = self.data.join(MODELS_FOLDER).join(&known.model);
        (known.offered == Offered::WhenBound && folder.is_dir()).then_some(folder)
    }

    /// How the sampler runs for each tool where a request does not say.
    pub fn tool_defaults(&self) -> HashMap<ToolSlug, Sampling> {
        let defaults = self.tools.iter();
        defaults
            .filter_map(|(name, own)| Some((slug(name)?, own.sampling())))
            .collect()
    }

    /// What the service needs to know.
    ///
    /// # Errors
    /// An entry of `allowed_private_targets` that cannot be understood; moderation that cannot be
    /// set up.
    pub fn service_config(
        &self,
        public_url: String,
        machine: &Machine,
    ) -> anyhow::Result<ServiceConfig> {
        Ok(ServiceConfig {
            guard: GuardConfig {
                connect_timeout: Duration::from_secs(self.fetch.connect_seconds),
                allowed: self.allowed_targets()?,
                danger_allow_private_addresses: self.danger_allow_private_addresses,
            },
            fetch_timeout: Duration::from_secs(self.fetch.total_seconds),
            moderation: self.moderation.moderation(&self.data, machine)?,
            upsampling: upsampling::open(self, machine)?,
            ..ServiceConfig::new(public_url)
        })
    }

    /// Proxies that are believed.
    ///
    /// # Errors
    /// An entry of `trusted_proxies` that is no network.
    pub fn trusted_proxies(&self) -> anyhow::Result<Networks> {
        let entries = self.trusted_proxies.iter().map(String::as_str);
        Networks::parse(entries).context("trusted_proxies")
    }

    fn allowed_targets(&self) -> anyhow::Result<AllowedTargets> {
        let entries = self.allowed_private_targets.iter().map(String::as_str);
        AllowedTargets::parse(entries).context("allowed_private_targets")
    }
}

fn slug(name: &str) -> Option<ToolSlug> {
    name.split_once('/')
        .map(|(owner, model)| ToolSlug::new(owner, model))
}

fn check_public_url(text: &str) -> anyhow::Result<()> {
    let url = Url::parse(text).ok();
    let usable = url.is_some_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if usable {
        return Ok(());
    }
    bail!("public-url must be an address like https://pictures.example, not \"{text}\"")
}

/// The data folder of commands that read no configuration file: `TINTYPE_DATA`, or the default one.
pub fn data_folder() -> PathBuf {
    let named = std::env::var_os("TINTYPE_DATA").filter(|value| !value.is_empty());
    named.map_or_else(default_data_folder, PathBuf::from)
}

/// `$XDG_DATA_HOME/tintype`, or `~/.local/share/tintype`, or beside the caller.
pub fn default_data_folder() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let shared = named("XDG_DATA_HOME").map(PathBuf::from);
    let shared = shared.or_else(|| Some(PathBuf::from(named("HOME")?).join(".local/share")));
    shared.map_or_else(
        || PathBuf::from("tintype-data"),
        |shared| shared.join("tintype"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        listen = "0.0.0.0:80"
        public_url = "https://pictures.example"
        threads = 2
        allowed_private_targets = ["10.0.0.0/8", "pictures.internal"]
        [tools."black-forest-labs/flux-kontext-max"]
        model = "/models/kontext"
        engine = ["bfl", "flux"]
        [limits]
        connections = 7
        [fetch]
        total_seconds = 3
    "#;

    fn load(text: &str, overrides: Overrides) -> anyhow::Result<Settings> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("any.toml");
        std::fs::write(&file, text)?;
        Settings::load(Some(&file), overrides)
    }

    fn failure(text: &str) -> String {
        format!(
            "{:#}",
            load(text, Overrides::default()).expect_err("the file is wrong")
        )
    }

    #[test]
    fn a_file_is_read_and_flags_win_over_it() {
        let flags = Overrides {
            threads: Some(5),
            ..Overrides::default()
        };
        let settings = load(TEXT, flags).expect("a good file");
        assert_eq!(
            (settings.listen.as_str(), settings.threads),
            ("0.0.0.0:80", Some(5))
        );
        assert_eq!(settings.limits.connections, 7);
        assert_eq!(settings.limits.body_bytes, Limits::default().body_bytes);
        let config = settings
            .service_config(String::new(), &Machine::default())
            .expect("a config");
        assert_eq!(config.fetch_timeout, Duration::from_secs(3));
        let targets = ["10.0.0.0/8", "pictures.internal"];
        let targets = AllowedTargets::parse(targets).expect("targets");
        assert_eq!(config.guard.allowed, targets);
        let of = |model| settings.sources(&ToolSlug::new("black-forest-labs", model));
        let local = |name: &str| Source::Local(name.to_owned());
        assert_eq!(
            of("flux-kontext-max"),
            [Source::Bfl, local("/models/kontext")]
        );
        assert_eq!(of("flux-pro-1.1"), [local("nano")]);
    }

    #[test]
    fn a_tool_of_an_open_model_is_offered_when_it_has_one() {
        let offered = |settings: &Settings| {
            let catalog = settings.catalog();
            let listed = catalog.listed();
            let told = listed.map(|listed| (listed.number, listed.tool.model.clone()));
            told.collect::<Vec<_>>()
        };
        let [kontext, pro] = ["flux-kontext-max", "flux-pro-1.1"].map(str::to_owned);
        let usual = load("", Overrides::default()).expect("a good file");
        assert_eq!(offered(&usual), [(1, kontext), (2, pro)]);
        let text = "[tools.\"black-forest-labs/flux-dev\"]\nmodel = \"/models/dev\"\nsteps = 20\n\
                    guidance = 4.5\n[tools.\"black-forest-labs/flux-krea-dev\"]\nsteps = 9";
        let folder = tempfile::tempdir().expect("a folder");
        let installed = folder.path().join("models/flux-schnell");
        std::fs::create_dir_all(&installed).expect("a folder");
        let overrides = Overrides {
            data: Some(folder.path().to_owned()),
            ..Overrides::default()
        };
        let settings = load(text, overrides).expect("a good file");
        let more = [(3, "flux-schnell".to_owned()), (4, "flux-dev".to_owned())];
        assert_eq!(offered(&settings)[2..], more, "defaults alone bind nothing");
        let of = |model| settings.sources(&ToolSlug::new("black-forest-labs", model));
        assert_eq!(of("flux-dev"), [Source::Local("/models/dev".to_owned())]);
        let installed = Source::Local(installed.display().to_string());
        assert_eq!(of("flux-schnell"), [installed]);
        let defaults = settings.tool_defaults();
        let dev = &defaults[&ToolSlug::new("black-forest-labs", "flux-dev")];
        assert_eq!((dev.steps, dev.guidance), (Some(20), Some(4.5)));
        let wrong = failure("[tools.\"black-forest-labs/flux-dev\"]\nsteps = 500");
        assert!(
            wrong.contains("[steps] must be between 1 and 50"),
            "{wrong}"
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        assert!(failure("lisen = \"x\"").contains("lisen"));
        assert!(failure("threads = \"many\"").contains("threads"));
        assert!(failure("threads = 0").contains("threads"));
        assert!(failure("[compute]\nisa = \"mmx\"").contains("compute.isa"));
        assert!(failure("[compute]\nweights = \"fp4\"").contains("exact, bf16, int8"));
        let wrong_time = failure("[retention]\noutputs = \"30 days\"");
        assert!(wrong_time.contains("outputs"), "{wrong_time}");
        assert!(
            wrong_time.contains("30d"),
            "it says how to write it: {wrong_time}"
        );
        assert!(failure("[retention]\noutputs = 30").contains("\"30d\""));
        assert!(failure("[retention]\nsweep_grace = \"off\"").contains("sweep_grace"));
        let targets = failure("allowed_private_targets = [\"10.0.0.0/8\", \"a b\"]");
        assert!(
            targets.contains("allowed_private_targets: \"a b\" is neither"),
            "{targets}"
        );
        let proxies = failure("trusted_proxies = [\"proxy.internal\"]");
        assert!(
            proxies.contains("trusted_proxies: \"proxy.internal\" is not"),
            "{proxies}"
        );
        assert!(failure("public_url = \"pictures.example\"").contains("public-url"));
        assert!(failure("engine = []").contains("names no engine"));
        assert!(failure("engine = [\"bfl\", \"bfl\"]").contains("twice"));
        assert!(failure("engine = \"gpu\"").contains("engine"));
        assert!(failure("[bfl]\nbase_url = \"http://api.bfl.ai\"").contains("base_url"));
        assert!(failure("[tools.\"a/b\"]\nmodel = \"x\"").contains("there is no tool \"a/b\""));
    }

    #[test]
    fn every_file_to_copy_is_one_that_works() {
        let page = include_str!("../../../docs/configuration.md");
        let files: Vec<_> = page.split("```toml").skip(1).collect();
        assert!(files.len() >= 4, "{}", files.len());
        for file in files {
            let (file, _) = file.split_once("```").expect("its end");
            load(file, Overrides::default()).expect(file);
        }
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = Settings::load(Some(Path::new("/nowhere/t.toml")), Overrides::default());
        assert!(
            error
                .expect_err("no such file")
                .to_string()
                .contains("/nowhere/t.toml")
        );
    }
}
