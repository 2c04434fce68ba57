//! Which model draws for which tool. Tools that name the same model share one engine.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context;
use tintype_catalog::Catalog;
use tintype_domain::ToolSlug;
use tintype_engine::Engine;
use tintype_engine::native::{DeviceOptions, ModelSource, NativeEngine};
use tintype_service::worker::Engines;

use crate::settings::Settings;

/// The model that ships inside the program.
pub const BUNDLED: &str = "nano";

/// The opened models.
pub struct Models {
    engines: Engines,
    descriptions: Vec<String>,
}

impl Models {
    /// Opens every model that a tool needs. Blocks until all are loaded.
    ///
    /// # Errors
    /// The first model that cannot be opened, with the reason.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        let own: HashMap<ToolSlug, &str> = settings.tool_models().collect();
        let options = DeviceOptions {
            threads: settings.threads.unwrap_or(0),
            ..DeviceOptions::default()
        };
        let mut opened: Vec<(&str, Arc<dyn Engine>)> = Vec::new();
        let mut engines = Engines::new();
        for tool in Catalog::builtin().tools() {
            let name = own.get(&tool.slug()).copied().unwrap_or(&settings.model);
            if !opened.iter().any(|(known, _)| *known == name) {
                opened.push((name, open(name, options)?));
            }
            let shared = opened.iter().find(|(known, _)| *known == name);
            engines.extend(shared.map(|(_, engine)| (tool.slug(), engine.clone())));
        }
        let descriptions = opened.iter().map(|(name, _)| describe(name)).collect();
        Ok(Self {
            engines,
            descriptions,
        })
    }

    /// Which engine draws for which tool.
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    /// The models in words, for people.
    pub fn descriptions(&self) -> &[String] {
        &self.descriptions
    }
}

fn open(name: &str, options: DeviceOptions) -> anyhow::Result<Arc<dyn Engine>> {
    let Ok(source) = name.parse::<ModelSource>();
    let engine = NativeEngine::start(source, options)
        .with_context(|| format!("cannot open the model {name}"))?;
    Ok(Arc::new(engine))
}

fn describe(name: &str) -> String {
    if name == BUNDLED {
        "nano (bundled: small, for trying the service)".to_owned()
    } else {
        name.to_owned()
    }
}
