//! Which engine draws for which tool, with which model. Tools that name the same share it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use tintype_domain::ToolSlug;
use tintype_engine::native::{DeviceOptions, NativeEngine};
use tintype_engine::{AbsentEngine, Breaker, Chain, Engine, Link, LoraWish};
use tintype_service::worker::Engines;

use crate::engine_states::StateFile;
use crate::library;
use crate::memory::{self, gigabytes};
use crate::settings::{Settings, Source};

/// The model that ships inside the program.
pub const BUNDLED: &str = "nano";

/// The opened models.
pub struct Models {
    engines: Engines,
    descriptions: Vec<String>,
    tool_loras: HashMap<ToolSlug, Vec<LoraWish>>,
}

impl Models {
    /// Opens every model that a tool needs. Blocks until all are loaded. One that cannot be opened
    /// is passed over if another engine stands in for it.
    ///
    /// # Errors
    /// A tool for which nothing can be opened, with the reason.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        let mut opening = Opening::of(settings);
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
    states: StateFile,
    members: Vec<Member>,
    chains: Vec<(Vec<Source>, Arc<dyn Engine>)>,
}

impl<'a> Opening<'a> {
    fn of(settings: &'a Settings) -> Self {
        Self {
            settings,
            states: StateFile::in_folder(&settings.data),
            members: Vec::new(),
            chains: Vec::new(),
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
            let member = self.member(source);
            links.push(member.link.clone());
            missing.extend(member.missing.clone());
        }
        if missing.len() == links.len() {
            return Err(anyhow!(missing.join("; ")));
        }
        for reason in missing {
            tracing::warn!("{reason}; the other engine draws in its place");
        }
        let chain: Arc<dyn Engine> = match (sources, links.as_slice()) {
            // What only ever ends with the program needs no breaker.
            ([Source::Local(_)], [link]) => link.engine.clone(),
            _ => Arc::new(Chain::new(links, Instant::now)),
        };
        self.chains.push((sources.to_vec(), chain.clone()));
        Ok(chain)
    }

    fn member(&mut self, source: &Source) -> &Member {
        let known = self
            .members
            .iter()
            .position(|member| member.source == *source);
        let index = known.unwrap_or_else(|| {
            self.members.push(self.open(source));
            self.members.len() - 1
        });
        &self.members[index]
    }

    fn open(&self, source: &Source) -> Member {
        let opened: anyhow::Result<Arc<dyn Engine>> = match source {
            Source::Local(name) => self
                .room_for(source, name)
                .and_then(|()| open_local(name, self.settings)),
            Source::Bfl => self
                .settings
                .bfl
                .engine()
                .map(|engine| Arc::new(engine) as _),
        };
        let missing = opened.as_ref().err().map(|error| format!("{error:#}"));
        let engine = opened.unwrap_or_else(|error| {
            let message = format!("{error:#}.");
            Arc::new(AbsentEngine::new(source.to_string(), message))
        });
        let breaker = Breaker::new(source.to_string());
        Member {
            source: source.clone(),
            link: Link {
                engine,
                breaker: Arc::new(breaker.observed(self.states.observer())),
            },
            label: describe(source, self.settings),
            missing,
        }
    }

    /// Whether a model may be opened. One that does not fit would take the machine down with it:
    /// if other engines stand behind it everywhere, they draw instead.
    ///
    /// # Errors
    /// How much is missing.
    fn room_for(&self, source: &Source, name: &str) -> anyhow::Result<()> {
        let catalog = self.settings.catalog();
        let tools = catalog.tools().iter();
        let mut orders = tools.map(|tool| self.settings.sources(&tool.slug()));
        let Some(memory) = memory::of_this_machine() else {
            return Ok(());
        };
        if orders.any(|order| order.len() == 1 && order[0] == *source) {
            return Ok(());
        }
        let folder = library::locate(name, &self.settings.data)
            .with_context(|| format!("cannot open the model {name}"))?;
        let wanted = memory::weights_bytes(&folder);
        if wanted > memory.available_bytes {
            bail!(
                "the model {name} does not fit: it wants {:.1} GiB at least, and {:.1} GiB are free",
                gigabytes(wanted),
                gigabytes(memory.available_bytes)
            );
        }
        Ok(())
    }
}

fn open_local(name: &str, settings: &Settings) -> anyhow::Result<Arc<dyn Engine>> {
    let options = DeviceOptions {
        threads: settings.threads.unwrap_or(0),
        lora_folder: Some(settings.models.lora_folder(&settings.data)),
        ..settings.compute.device_options()?
    };
    let source = library::source(name, &settings.data);
    let opened = source.and_then(|source| Ok(NativeEngine::start(source, options)?));
    let engine = opened.with_context(|| format!("cannot open the model {name}"))?;
    Ok(Arc::new(engine))
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
