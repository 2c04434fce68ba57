//! `tintype bench …`: what the service costs on this machine, and how fast it computes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use tintype_bench::{Keys, Only, Options, Remote, bench_in_process, bench_remote, run_clients};
use tintype_speed::SpeedCommand;

use crate::settings::default_data_folder;

/// The hidden word that makes this program the clients of a measurement.
const CLIENTS: &str = "clients";

/// Measure what the service costs and how fast it computes.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure the task API: processor time and latency of runs and of questions about them.
    Api(Box<ApiArguments>),
    #[command(flatten)]
    Speed(SpeedCommand),
    /// Be the clients of a measurement.
    #[command(name = CLIENTS, hide = true)]
    Clients,
}

/// The command line of `bench api`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct ApiArguments {
    /// Clients at a time.
    #[arg(long, value_name = "N", default_value_t = 64)]
    clients: usize,
    /// How long each measurement takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    seconds: f64,
    /// Finished tasks in the database, one round for each number. Filling takes some minutes for a
    /// million and happens once.
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1000,1000000"
    )]
    finished: Vec<u64>,
    /// One part of the measurement.
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,
    /// Keep pictures in memory in place of writing them to the disk.
    #[arg(long)]
    pictures_in_memory: bool,
    /// The folder where filled databases are kept [default: tintype-bench beside the data folder].
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Measure a server that runs already, such as http://127.0.0.1:8787. Its tasks are real: the
    /// server's model draws them.
    #[arg(long, value_name = "URL", requires = "key")]
    url: Option<String>,
    /// The API key of a project there.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Its secret; projects that use the key alone have no need of it.
    #[arg(
        long,
        value_name = "SECRET",
        env = "API_SECRET",
        hide_env_values = true
    )]
    secret: Option<String>,
    /// The process of that server on this machine, to see its processor time.
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Option<u32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    /// Submit, claim and complete.
    Tasks,
    /// Task/Detail.
    Detail,
}

const AFTER_HELP: &str = "\
Without --url the service runs in this process: the real store, router and socket, and an engine \
that draws a tiny picture at once. The clients are a process of their own, so the processor time \
is the service's alone, the kernel's part of it included. Three layers are measured: the store \
alone, the service, and the whole over a socket.

The latency at half of the peak rate is taken with an open loop: requests are due at fixed moments \
whether or not earlier ones were answered, and an answer's time counts from that moment.";

impl BenchCommand {
    /// Measures, and prints the tables.
    ///
    /// # Errors
    /// What kept it from measuring, for the person at the terminal.
    pub fn run(self) -> anyhow::Result<()> {
        let arguments = match self {
            Self::Api(arguments) => arguments,
            Self::Speed(command) => return command.run(),
            Self::Clients => return run_clients(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        println!("{}", runtime.block_on(arguments.measure())?);
        Ok(())
    }
}

impl ApiArguments {
    async fn measure(self) -> anyhow::Result<String> {
        if self.clients == 0 || !(self.seconds > 0.0 && self.seconds < 3600.0) {
            bail!("there must be at least one client, and --seconds between 0 and 3600");
        }
        let remote = self.remote()?;
        let options = Options {
            clients: self.clients,
            duration: Duration::from_secs_f64(self.seconds),
            finished: self.finished,
            only: self.only.map(|part| match part {
                Part::Tasks => Only::Tasks,
                Part::Detail => Only::Detail,
            }),
            folder: self.folder.unwrap_or_else(default_folder),
            pictures_on_disk: !self.pictures_in_memory,
            client_arguments: vec!["bench".into(), CLIENTS.into()],
        };
        match remote {
            Some(remote) => bench_remote(&options, &remote).await,
            None => bench_in_process(&options).await,
        }
    }

    fn remote(&self) -> anyhow::Result<Option<Remote>> {
        let Some((url, key)) = self.url.as_ref().zip(self.key.as_ref()) else {
            return Ok(None);
        };
        let address = url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|address| address.contains(':') && !address.contains('/'))
            .ok_or_else(|| {
                anyhow!(
                    "write --url as http://HOST:PORT; other addresses and https are not measured"
                )
            })?;
        Ok(Some(Remote {
            address: address.to_owned(),
            keys: Keys {
                api_key: key.clone(),
                api_secret: self.secret.clone(),
            },
            pid: self.pid,
        }))
    }
}

fn default_folder() -> PathBuf {
    default_data_folder().with_file_name("tintype-bench")
}
