//! `tintype webhook …`: works on the data folder itself, also while a server runs on it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use tintype_domain::{ProjectId, TaskId, WebhookId, WebhookState};
use tintype_service::{Clock, SystemClock};
use tintype_store::{Redelivery, SqliteStore, Store, WebhookQuery, WebhookRef};

use crate::administration;
use crate::data_folder::DataFolder;

mod output;

/// Work on webhooks.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// List reports of ended tasks with every attempt to deliver them, newest task first.
    List(ListArguments),
    /// Send a report again that was delivered or given up, under its old id.
    ///
    /// A running server sends it within a second or two; without one it is sent after the next
    /// start. Receivers tell a repeated report by its id.
    Redeliver(RedeliverArguments),
}

/// The command line of `webhook list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Only those of this project.
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Only those that stand there.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Only that of this task.
    #[arg(long, value_name = "ID")]
    task: Option<i64>,
    /// Reports at most; 1000 is the bound.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u64,
    /// Print one line of JSON for each report.
    #[arg(long)]
    json: bool,
    /// The folder of the service [default: ~/.local/share/tintype].
    #[arg(long, value_name = "DIR", env = "TINTYPE_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
}

/// The command line of `webhook redeliver`.
#[derive(Debug, Args)]
pub struct RedeliverArguments {
    /// The report's id, as `webhook list` shows it.
    #[arg(required_unless_present = "task", conflicts_with = "task")]
    id: Option<String>,
    /// The task whose report it is.
    #[arg(long, value_name = "ID")]
    task: Option<i64>,
    /// The folder of the service [default: ~/.local/share/tintype].
    #[arg(long, value_name = "DIR", env = "TINTYPE_DATA", hide_env_values = true)]
    data: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// To be sent, or to be sent again.
    Pending,
    /// The receiver took it.
    Delivered,
    /// Given up.
    Failed,
}

impl From<State> for WebhookState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Delivered => Self::Delivered,
            State::Failed => Self::Failed,
        }
    }
}

impl WebhookCommand {
    /// Does it.
    ///
    /// # Errors
    /// What went wrong, for the person at the terminal.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(arguments) => administration::run(list(arguments)),
            Self::Redeliver(arguments) => administration::run(redeliver(arguments)),
        }
    }
}

fn open(data: Option<PathBuf>) -> anyhow::Result<SqliteStore> {
    DataFolder::named(data)?.store_beside()
}

async fn list(arguments: ListArguments) -> anyhow::Result<()> {
    let store = open(arguments.data)?;
    let project = match &arguments.project {
        Some(name) => Some(project_named(&store, name).await?),
        None => None,
    };
    let query = WebhookQuery {
        project,
        state: arguments.state.map(WebhookState::from),
        task: arguments.task.map(TaskId),
        limit: arguments.limit,
    };
    let webhooks = store.webhooks(query).await?;
    if arguments.json {
        print!("{}", output::json_lines(&webhooks)?);
    } else {
        print!("{}", output::text(&webhooks, SystemClock.now()));
    }
    Ok(())
}

async fn project_named(store: &SqliteStore, name: &str) -> anyhow::Result<ProjectId> {
    let projects = store.projects().await?;
    let found = projects.iter().find(|project| project.name == name);
    let found = found.with_context(|| format!("there is no project named \"{name}\""))?;
    Ok(found.id)
}

async fn redeliver(arguments: RedeliverArguments) -> anyhow::Result<()> {
    let store = open(arguments.data)?;
    let name = match (arguments.id, arguments.task) {
        (Some(id), _) => WebhookRef::Id(WebhookId(id)),
        (None, Some(task)) => WebhookRef::Task(TaskId(task)),
        (None, None) => bail!("say which: the report's id, or --task and the task's number"),
    };
    match store.redeliver_webhook(&name, SystemClock.now()).await? {
        Redelivery::Due(webhook) => {
            println!("{} of task {} is sent again", webhook.id, webhook.task);
            Ok(())
        }
        Redelivery::Pending(webhook) => {
            let when = output::next(&webhook, SystemClock.now());
            bail!("{} is on its way already: {when}", webhook.id)
        }
        Redelivery::Unknown => bail!(
            "there is no such report: `tintype webhook list` shows those of tasks that ended and \
             named a callback"
        ),
    }
}
