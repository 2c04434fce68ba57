//! `tintype project …`: works on the data folder itself, also while a server runs on it.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tintype_domain::AuthKind;
use tintype_service::{NewProjectRequest, ProjectKeys, ShownProject};

use crate::data_folder::DataFolder;
use crate::project_limits::{self, ListArguments, SetArguments};
use crate::{administration, assembly, table};

/// Work on projects.
#[derive(Debug, Subcommand)]
pub enum ProjectCommand {
    /// Make a project and print its key and secret. They are shown this one time.
    ///
    /// It may be done while a server runs on the same data folder; the keys work at once.
    Create(CreateArguments),
    /// Print a project's settings, and the secret that its receivers verify webhooks with.
    Show(ShowArguments),
    /// Set what a project may use: tasks at a time, money, prices, its share; then show it.
    ///
    /// What is not named stays. It may be done while a server runs on the same data folder, and
    /// holds at once. Everything is unlimited and free until it is set.
    Set(SetArguments),
    /// Show all projects: what they may use, and what they use.
    List(ListArguments),
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

/// The command line of `project show`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The project's name.
    name: String,
    /// The folder of the service [default: ~/.local/share/tintype].
    #[arg(long, value_name = "DIR", env = "TINTYPE_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
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
        match self {
            Self::Create(arguments) => administration::run(create(arguments)),
            Self::Show(arguments) => administration::run(show(arguments)),
            Self::Set(arguments) => administration::run(project_limits::set(arguments)),
            Self::List(arguments) => administration::run(project_limits::list(arguments)),
        }
    }
}

async fn create(arguments: CreateArguments) -> anyhow::Result<()> {
    let service = assembly::service_beside(&DataFolder::named(arguments.data)?).await?;
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
        println!("project         {}", keys.name);
        println!("API key         {}", keys.api_key);
        println!("API secret      {}", keys.api_secret);
        println!("webhook secret  {}", keys.webhook_secret);
        eprintln!("Keep the API secret: it is not shown again.");
    }
    Ok(())
}

async fn show(arguments: ShowArguments) -> anyhow::Result<()> {
    let service = assembly::service_beside(&DataFolder::named(arguments.data)?).await?;
    let name = &arguments.name;
    let shown = service.project_named(name).await?;
    let shown = shown.with_context(|| format!("there is no project named \"{name}\""))?;
    if arguments.json {
        println!("{}", serde_json::to_string(&PrintedProject::of(&shown))?);
    } else {
        print!("{}", project_text(&shown));
    }
    Ok(())
}

fn project_text(shown: &ShownProject) -> String {
    let project = &shown.project;
    let networks = match project.allowed_networks.as_slice() {
        [] => "everywhere".to_owned(),
        networks => networks.join(" "),
    };
    let nonces = if project.strict_nonce {
        ", each nonce once"
    } else {
        ""
    };
    let mut lines = vec![
        ("project", project.name.clone()),
        ("API key", project.api_key.clone()),
        ("proves itself", auth_text(project.auth).to_owned() + nonces),
        ("callable from", networks),
        ("made", table::time(project.created_at)),
        ("webhook secret", shown.webhook_secret.clone()),
    ];
    let lines = lines
        .drain(..)
        .map(|(label, value)| format!("{label:<16}{value}\n"));
    lines.collect()
}

fn auth_text(auth: AuthKind) -> &'static str {
    match auth {
        AuthKind::Signature => "by signing",
        AuthKind::Key => "by the key alone",
    }
}

#[derive(Serialize)]
struct PrintedProject<'a> {
    name: &'a str,
    api_key: &'a str,
    auth: AuthKind,
    allowed_networks: &'a [String],
    strict_nonce: bool,
    created_at: String,
    webhook_secret: &'a str,
}

impl<'a> PrintedProject<'a> {
    fn of(shown: &'a ShownProject) -> Self {
        Self {
            name: &shown.project.name,
            api_key: &shown.project.api_key,
            auth: shown.project.auth,
            allowed_networks: &shown.project.allowed_networks,
            strict_nonce: shown.project.strict_nonce,
            created_at: table::time(shown.project.created_at),
            webhook_secret: &shown.webhook_secret,
        }
    }
}

#[derive(Serialize)]
struct PrintedKeys<'a> {
    name: &'a str,
    api_key: &'a str,
    api_secret: &'a str,
    webhook_secret: &'a str,
}

impl<'a> PrintedKeys<'a> {
    fn of(keys: &'a ProjectKeys) -> Self {
        Self {
            name: &keys.name,
            api_key: &keys.api_key,
            api_secret: &keys.api_secret,
            webhook_secret: &keys.webhook_secret,
        }
    }
}
