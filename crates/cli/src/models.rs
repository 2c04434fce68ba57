//! Which engine draws for which tool, with which model. Tools that name the same share it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow};
use tintype_domain::ToolSlug;
use tintype_engine::native::{Host, ModelSource, NativeEngine};
use tintype_engine::{AbsentEngine, Breaker, Chain, Engine, Link, LoraWish};
use tintype_service::worker::Engines;

use crate::engine_states::StateFile;
use crate::library;
use crate::machine::Machine;
use crate::settings::{Settings, Source};

/// The model that ships inside the program.
pub const BUNDLED: &str = "nano";

/// The models that tools name.
pub struct Models {
    engines: Engines,
    descriptions: Vec<String>,
    tool_loras: HashMap<ToolSlug, Vec<LoraWish>>,
}

impl Models {
    /// Looks at every model that a tool needs. Weights are loaded when the first task needs them, or ahead
    /// if the settings say so, but never while somebody waits here. A model that cannot be opened fails its
    /// own tasks, or another engine draws in its place; it is looked at again when tasks want it.
    ///
    /// # Errors
    /// Nothing can compute; a tool with no engine but a provider that is not set up.
    pub fn open(settings: &Settings, machine: &Machine) -> anyhow::Result<Self> {
        let mut opening = Opening::of(settings, machine);
        let mut engines = Engines::new();
        for tool in settings.catalog().tools() {
            let sources = settings.sources(&tool.slug());
            engines.insert(tool.slug(), opening.chain(&sources)?);
        }
        Ok(Self {
            engines,
            tool_loras: settings.tool_loras()?,
            descriptions: opening.members.iter().map(Member::description).collect(),
        })
    }

    /// Which engine draws for which tool.
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    /// The LoRAs that tools have by themselves.
    pub fn tool_loras(&self) -> &HashMap<ToolSlug, Vec<LoraWish>> {
        &self.tool_loras
    }

    /// The models in words, for people.
    pub fn descriptions(&self) -> &[String] {
        &self.descriptions
    }
}

/// An engine that was opened, or could not be.
struct Member {
    source: Source,
    link: Link,
    label: String,
    missing: Option<String>,
}

impl Member {
    fn description(&self) -> String {
        match &self.missing {
            None => self.label.clone(),
            Some(reason) => format!("{} (NOT available: {reason})", self.label),
        }
    }
}

/// What has been opened so far.
struct Opening<'a> {
    settings: &'a Settings,
    machine: &'a Machine,
    states: StateFile,
    members: Vec<Member>,
    chains: Vec<(Vec<Source>, Arc<dyn Engine>)>,
    /// The device of all models, once there is one.
    host: Option<Arc<Host>>,
}

impl<'a> Opening<'a> {
    fn of(settings: &'a Settings, machine: &'a Machine) -> Self {
        Self {
            settings,
            machine,
            states: StateFile::in_folder(&settings.data),
            members: Vec::new(),
            chains: Vec::new(),
            host: None,
        }
    }

    /// The engine that asks these, in their order. Equal orders are one engine: its places count
    /// once.
    fn chain(&mut self, sources: &[Source]) -> anyhow::Result<Arc<dyn Engine>> {
        if let Some((_, known)) = self.chains.iter().find(|(known, _)| known == sources) {
            return Ok(known.clone());
        }
        let mut links = Vec::new();
        let mut missing = Vec::new();
        for source in sources {
            let member = self.member(source)?;
            links.push(member.link.clone());
            missing.extend(member.missing.clone());
        }
        let nobody = missing.len() == links.len();
        let local = |source: &Source| matches!(source, Source::Local(_));
        if nobody && !sources.iter().any(local) {
            return Err(anyhow!(missing.join("; ")));
        }
        for reason in missing {
            match nobody {
                true => tracing::warn!("{reason}; tasks that need it fail with this reason"),
                false => tracing::warn!("{reason}; the other engine draws in its place"),
            }
        }
        let chain: Arc<dyn Engine> = Arc::new(Chain::new(links, Instant::now));
        self.chains.push((sources.to_vec(), chain.clone()));
        Ok(chain)
    }

    fn member(&mut self, source: &Source) -> anyhow::Result<&Member> {
        let known = self
            .members
            .iter()
            .position(|member| member.source == *source);
        let index = match known {
            Some(index) => index,
            None => {
                let member = self.open(source)?;
                self.members.push(member);
                self.members.len() - 1
            }
        };
        Ok(&self.members[index])
    }

    fn open(&mut self, source: &Source) -> anyhow::Result<Member> {
        let (engine, missing): (Arc<dyn Engine>, _) = match source {
            Source::Local(name) => {
                let engine = self.local(name)?;
                let trouble = engine.trouble();
                let missing = trouble.map(|why| cannot_open(name, &self.settings.data, &why));
                (Arc::new(engine), missing)
            }
            Source::Bfl => match self.settings.bfl.engine() {
                Ok(engine) => (Arc::new(engine), None),
                Err(error) => {
                    let message = format!("{error:#}.");
                    let absent = AbsentEngine::new(source.to_string(), message);
                    (Arc::new(absent), Some(format!("{error:#}")))
                }
            },
        };
        let breaker = Breaker::new(source.to_string());
        Ok(Member {
            source: source.clone(),
            link: Link {
                engine,
                breaker: Arc::new(breaker.observed(self.states.observer())),
            },
            label: describe(source, self.settings),
            missing,
        })
    }

    /// A model on the one device of this program.
    fn local(&mut self, name: &str) -> anyhow::Result<NativeEngine> {
        let host = match &self.host {
            Some(host) => host.clone(),
            None => {
                let host =
                    Host::start_within(self.machine.engine.clone(), self.machine.budget.clone());
                self.host
                    .insert(host.context("nothing can compute")?)
                    .clone()
            }
        };
        let engine = host.engine(source_of(name, &self.settings.data));
        if let Some(plan) = engine.plan() {
            tracing::info!(
                model.name = engine.model_name(),
                memory.plan = plan,
                "model found"
            );
        }
        if self.settings.compute.preload {
            engine.preload().context("nothing can compute")?;
        }
        Ok(engine)
    }
}

/// That a model cannot be used, and why: of one that is nowhere, what it may be called or how it is fetched.
pub fn cannot_open(name: &str, data: &Path, why: &str) -> String {
    match library::locate(name, data) {
        Ok(_) => format!("cannot open the model {name}: {why}"),
        Err(nowhere) => format!("cannot open the model {name}: {nowhere:#}"),
    }
}

/// What a model's name means. Of one that is not there, the place where it would be: a task that comes when
/// it was fetched draws with it.
pub fn source_of(name: &str, data: &Path) -> ModelSource {
    let missing = |_| {
        let path = PathBuf::from(name);
        let is_name = path.components().count() == 1;
        ModelSource::Directory(if is_name {
            data.join("models").join(path)
        } else {
            path
        })
    };
    library::source(name, data).unwrap_or_else(missing)
}

fn describe(source: &Source, settings: &Settings) -> String {
    match source {
        Source::Local(name) if name == BUNDLED => {
            "nano (bundled: small, for trying the service)".to_owned()
        }
        Source::Local(name) => name.clone(),
        Source::Bfl => format!("bfl ({})", settings.bfl.host()),
    }
}
