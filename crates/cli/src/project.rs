//! `tintype project …`: works on the data folder itself, also while a server runs on it.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tintype_domain::AuthKind;
use tintype_service::{NewProjectRequest, ProjectKeys};

use crate::data_folder::DataFolder;
use crate::settings::default_data_folder;
use crate::{assembly, logs};

/// Work on projects.
#[derive(Debug, Subcommand)]
pub enum ProjectCommand {
    /// Make a project and print its key and secret. They are shown this one time.
    ///
    /// It may be done while a server runs on the same data folder; the keys work at once.
    Create(CreateArguments),
}

/// The command line of `project create`.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// A name for people, unique in the data folder.
    name: String,
    /// How clients prove themselves: by signing with key and secret, or by the key alone.
    #[arg(long, value_enum, default_value_t = Auth::Signature)]
    auth: Auth,
    /// The folder of the service [default: ~/.local/share/tintype].
    #[arg(long, value_name = "DIR", env = "TINTYPE_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
    /// A network that clients may call from, such as 10.0.0.0/8; may be given more than once.
    /// Without it all may.
    #[arg(long = "allow-ip", value_name = "CIDR")]
    allow_ip: Vec<String>,
    /// Refuse a nonce that was used before. Clients that sign once and poll with the same
    /// headers do not work then.
    #[arg(long)]
    strict_nonce: bool,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Auth {
    /// x-api-key, x-nonce and x-signature.
    Signature,
    /// x-api-key alone.
    Key,
}

impl ProjectCommand {
    /// Does it.
    ///
    /// # Errors
    /// What went wrong, for the person at the terminal.
    pub fn run(self) -> anyhow::Result<()> {
        logs::start();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        match self {
            Self::Create(arguments) => runtime.block_on(create(arguments)),
        }
    }
}

async fn create(arguments: CreateArguments) -> anyhow::Result<()> {
    let data = DataFolder::at(&arguments.data.unwrap_or_else(default_data_folder))?;
    let store = Arc::new(data.store_beside()?);
    let service = assembly::service_beside(&data, store).await?;
    let request = NewProjectRequest {
        name: arguments.name,
        auth: match arguments.auth {
            Auth::Signature => AuthKind::Signature,
            Auth::Key => AuthKind::Key,
        },
        allowed_networks: arguments.allow_ip,
        strict_nonce: arguments.strict_nonce,
    };
    let keys = service.create_project(request).await?;
    if arguments.json {
        println!("{}", serde_json::to_string(&PrintedKeys::of(&keys))?);
    } else {
        println!("project     {}", keys.name);
        println!("API key     {}", keys.api_key);
        println!("API secret  {}", keys.api_secret);
        eprintln!("Keep them: they are not shown again.");
    }
    Ok(())
}

#[derive(Serialize)]
struct PrintedKeys<'a> {
    name: &'a str,
    api_key: &'a str,
    api_secret: &'a str,
}

impl<'a> PrintedKeys<'a> {
    fn of(keys: &'a ProjectKeys) -> Self {
        Self {
            name: &keys.name,
            api_key: &keys.api_key,
            api_secret: &keys.api_secret,
        }
    }
}
