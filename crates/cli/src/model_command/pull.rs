//! `tintype model pull`.

use anyhow::{Context, bail};
use clap::Args;
use tintype_library::hub::Hub;
use tintype_library::pull::{Pulled, Remote};
use tintype_library::{Error, Known, Library, Licence, Manifest, ModelName};

use super::{Place, amount, ask, watcher};
use crate::logs;
use crate::models_settings::{self, ModelsSettings};

/// In front of a repository that nobody has written a manifest for.
const REMOTE: &str = "hf:";

/// The command line of `model pull`.
#[derive(Debug, Args)]
pub struct PullArguments {
    /// A name that `tintype model list` shows, or hf:OWNER/REPOSITORY[@REVISION][:FILE,…] for any other
    /// model: its weights and their configuration, or the named files.
    #[arg(value_name = "NAME|hf:OWNER/REPOSITORY")]
    model: String,
    /// What the model is called here [default: the repository's name, in small letters].
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// Accept the licence without being asked.
    #[arg(long)]
    accept_licence: bool,
    #[command(flatten)]
    place: Place,
}

impl PullArguments {
    /// Fetches it.
    ///
    /// # Errors
    /// What could not be fetched, and what to do.
    pub fn run(self) -> anyhow::Result<()> {
        logs::start();
        // Its threads write to the disk; nothing else runs on them.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        runtime.block_on(async {
            tokio::select! {
                done = self.pull() => done,
                _ = tokio::signal::ctrl_c() => {
                    bail!("stopped; what has arrived is kept, and the same command goes on from there")
                }
            }
        })
    }

    async fn pull(&self) -> anyhow::Result<()> {
        let settings = self.place.settings()?;
        let library = models_settings::library(&settings.data);
        let hub = settings.models.hub()?;
        let manifest = self.manifest(&library, &hub, &settings.models).await?;
        let (name, options) = (&manifest.name, settings.models.pull_options());
        if library.record(name)?.is_none() && !options.offline {
            self.take_licence(&manifest)?;
        }
        let watcher = watcher::watcher();
        let pulled = library.pull(&hub, &manifest, options, watcher).await?;
        println!("{}", report(&manifest, &pulled));
        Ok(())
    }

    /// What is to be fetched.
    async fn manifest(
        &self,
        library: &Library,
        hub: &Hub,
        settings: &ModelsSettings,
    ) -> anyhow::Result<Manifest> {
        let Some(remote) = self.model.strip_prefix(REMOTE) else {
            let known = Known::load(library.root())?;
            let manifest = known.get(&self.model).cloned();
            let mut manifest = manifest.ok_or_else(|| self.unknown(library))?;
            if let Some(name) = &self.name {
                manifest.name = name.parse::<ModelName>()?;
            }
            return Ok(manifest);
        };
        let remote: Remote = remote.parse()?;
        let name = match &self.name {
            Some(name) => name.parse::<ModelName>()?,
            None => remote.name().context("give it a name with --as")?,
        };
        if settings.offline() {
            return Err(Error::Offline { name }.into());
        }
        Ok(remote.manifest(hub, name).await?)
    }

    fn unknown(&self, library: &Library) -> anyhow::Error {
        let error = anyhow::Error::from(library.missing(&self.model));
        if self.model.contains('/') {
            let model = &self.model;
            return error.context(format!("a repository is written hf:{model}"));
        }
        error
    }

    /// Shows the licence; asks, if it forbids something.
    fn take_licence(&self, manifest: &Manifest) -> anyhow::Result<()> {
        let Licence {
            name,
            url,
            acknowledge,
        } = &manifest.licence;
        eprintln!("{}: {}", manifest.name, manifest.title);
        eprintln!("licence: {name}, {url}");
        if manifest.gated && models_settings::token().is_none() {
            eprintln!(
                "the hub may want to know who asks: accept the licence there, and set {} to a token",
                models_settings::TOKEN_VARIABLE
            );
        }
        if !acknowledge || self.accept_licence {
            return Ok(());
        }
        let question = format!("Do you accept the {name} ({url})?");
        if !ask::yes(&question, "--accept-licence")? {
            bail!("without its licence the model is not fetched");
        }
        Ok(())
    }
}

fn report(manifest: &Manifest, pulled: &Pulled) -> String {
    let (name, folder) = (&manifest.name, pulled.folder.display());
    let size = amount(pulled.bytes);
    if pulled.was_whole {
        return format!("{name} is here and whole: {folder} ({size})");
    }
    format!("{name} is ready: {folder} ({size})")
}
