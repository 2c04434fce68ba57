//! `tintype model …`: the models on this machine. Works on the data folder itself, with or without a
//! server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use tintype_library::{Library, ModelName};

use crate::administration;
use crate::models_settings::library;
use crate::settings::{ConfigFile, Overrides, Settings};

mod ask;
mod inspect;
mod list;
mod path;
mod pull;
mod remove;
mod verify;
mod watcher;

/// Work on models.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Fetch a model from a hub, go on with it, or mend it.
    ///
    /// What has arrived is kept when the command ends early: the same command goes on from there. Every
    /// file is checked while it is written, and the model can be used when all of it is there. Files
    /// that another model has already are not fetched again.
    ///
    /// A repository that does not give its files to everybody wants a token: put it into the variable
    /// HF_TOKEN. [models] in the configuration (or HF_ENDPOINT) names another hub.
    Pull(pull::PullArguments),
    /// List the models that can be fetched, and those that are here.
    List(list::ListArguments),
    /// Delete a model. Files that another one needs stay.
    Remove(remove::RemoveArguments),
    /// Read all files of a model, and say which are not what was fetched.
    ///
    /// `tintype model pull` mends them. The status is 1 if something is wrong.
    Verify(verify::VerifyArguments),
    /// Say what a file or folder is, what it lacks, and how much memory it would take.
    ///
    /// Nothing but headers is read.
    Inspect(inspect::InspectArguments),
    /// Print the folder of a model.
    Path(path::PathArguments),
}

/// Where the models are.
#[derive(Debug, Args)]
pub struct Place {
    #[command(flatten)]
    file: ConfigFile,
    /// The folder of the service; models lie in its folder `models` [default: ~/.local/share/tintype].
    #[arg(long, value_name = "DIR", env = "TINTYPE_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
}

impl Place {
    /// What the operator has set.
    ///
    /// # Errors
    /// Settings that cannot be read.
    fn settings(&self) -> anyhow::Result<Settings> {
        let overrides = Overrides {
            data: self.data.clone(),
            ..Overrides::default()
        };
        Settings::load(self.file.config.as_deref(), overrides)
    }

    /// The library.
    ///
    /// # Errors
    /// Those of the settings.
    fn library(&self) -> anyhow::Result<Library> {
        Ok(library(&self.settings()?.data))
    }
}

impl ModelCommand {
    /// Does it.
    ///
    /// # Errors
    /// What went wrong, for the person at the terminal.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Pull(arguments) => arguments.run(),
            Self::List(arguments) => administration::run(async { arguments.list() }),
            Self::Remove(arguments) => administration::run(async { arguments.remove() }),
            Self::Verify(arguments) => administration::run(async { arguments.verify() }),
            Self::Inspect(arguments) => administration::run(async { arguments.inspect() }),
            Self::Path(arguments) => administration::run(async { arguments.print() }),
        }
    }
}

/// A model's name, as it was typed.
fn parse_name(library: &Library, text: &str) -> anyhow::Result<ModelName> {
    let name = text.parse::<ModelName>();
    name.map_err(|_| library.missing(text).into())
}

/// An amount of bytes for people.
fn amount(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
