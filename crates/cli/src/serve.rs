//! `tintype serve`: opens everything, serves until a signal, and leaves in good order.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use tintype_domain::{ToolSlug, WorkerId};
use tintype_engine::Sampling;
use tintype_server::{BaseUrl, Options, listen, router, webhooks};
use tintype_service::Service;
use tintype_service::janitor::{Janitor, JanitorConfig, JanitorHandle};
use tintype_service::webhooks::{Deliveries, DeliveriesHandle, WebhookConfig};
use tintype_service::worker::{Worker, WorkerConfig, WorkerHandle};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::data_folder::DataFolder;
use crate::greeting::Greeting;
use crate::machine::Machine;
use crate::models::Models;
use crate::settings::{ConfigFile, Overrides, Settings};
use crate::signals::Signals;
use crate::{assembly, logs};

/// What requests in hand get to be answered when the service stops: answers take milliseconds,
/// a client in the middle of a body may need a moment.
const REQUEST_GRACE: Duration = Duration::from_secs(5);

/// A stopping service is gone after this long; the worker's own drain ends before.
const STOP_TIMEOUT: Duration = Duration::from_secs(19);

/// What blocking work that nobody waits for gets at the very end.
const RUNTIME_TIMEOUT: Duration = Duration::from_millis(500);

/// The command line of `serve`.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct ServeArguments {
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    overrides: Overrides,
}

const AFTER_HELP: &str = "\
The configuration file knows the same settings and more. The environment wins over the file, and a \
flag over both:

  listen = \"127.0.0.1:8787\"
  model = \"nano\"
  engine = \"flux\"         # or \"bfl\", or several in an order: [\"flux\", \"bfl\"]
  allowed_private_targets = []             # networks and hosts for input images
  danger_allow_private_addresses = false   # input images from any private address
  trusted_proxies = []                     # networks whose X-Forwarded-For is believed

  [tools.\"black-forest-labs/flux-kontext-max\"]
  model = \"/models/FLUX.1-Kontext-dev\"
  engine = [\"flux\", \"bfl\"]

  [bfl]                  # Black Forest Labs
  base_url = \"https://api.bfl.ai\"
  key_env = \"BFL_API_KEY\" # the variable that holds the key

  [compute]
  memory_gb = 12         # what all models may take together; without it what is free
  preload = true         # load models before the first task needs them

  [limits]
  body_bytes = 33554432
  multipart_bytes = 105906176

  [retention]            # \"30d\", \"12h\", \"90m\", or \"off\" to keep it for ever
  outputs = \"off\"        # the pictures of a task, from its end; its record stays
  uploads = \"off\"        # uploaded files that no unfinished task names
  records = \"off\"        # whole records of tasks
  sweep_grace = \"24h\"    # files that no record points at

  [moderation]           # docs/moderation.md
  mode = \"on\"            # \"required\": no run while a moderator is missing; \"off\"
  rules = \"FILE\"         # in the place of the built-in rules for prompts

  [moderation.classifier] # judges pictures; tintype model pull nsfw-vit gets one
  model = \"DIR\"

  [upsampling]           # docs/configuration.md: who rewrites prompts
  kind = \"endpoint\"      # \"nano\", \"native\", \"off\"; for one tool: [tools.\"…\".upsampling]
  required = false       # true: a task fails when its prompt cannot be rewritten

  [upsampling.endpoint]  # a chat server: vLLM, llama.cpp, Ollama …
  url = \"http://127.0.0.1:11434\"
  model = \"qwen3:4b\"

In the environment these are TINTYPE_DANGER_ALLOW_PRIVATE_ADDRESSES, TINTYPE_LIMITS__BODY_BYTES and \
so on. TINTYPE_LOG sets what is logged, such as debug or warn,tintype_server=info.

SIGTERM or Control-C lets the running step finish and stops within 20 seconds; nothing that was \
accepted is lost. A second one stops at once.";

impl ServeArguments {
    /// Serves until a signal comes.
    ///
    /// # Errors
    /// What keeps the service from starting, for the person at the terminal.
    pub fn run(self) -> anyhow::Result<()> {
        logs::start();
        let settings = Settings::load(self.file.config.as_deref(), self.overrides)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the runtime")?;
        let served = runtime.block_on(serve(settings));
        runtime.shutdown_timeout(RUNTIME_TIMEOUT);
        served
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    // Loading a large model takes a while; a signal does not wait for it.
    let running = tokio::select! {
        running = Running::start(settings) => running?,
        signal = signals.next() => {
            tracing::info!("{signal}: stopped before the service was up");
            return Ok(());
        }
    };
    let signal = signals.next().await;
    tracing::info!("{signal}: finishing what runs; once more stops at once");
    signals.exit_on_next();
    running.stop().await;
    Ok(())
}

/// A service that is up.
struct Running {
    server: JoinHandle<()>,
    /// Dropped to tell the server to stop.
    stop: oneshot::Sender<()>,
    worker: WorkerHandle,
    janitor: JanitorHandle,
    deliveries: DeliveriesHandle,
}

impl Running {
    async fn start(settings: Settings) -> anyhow::Result<Self> {
        let data = DataFolder::at(&settings.data)?;
        let store = Arc::new(data.store()?);
        let listener = bind(&settings.listen).await?;
        let address = listener
            .local_addr()
            .context("cannot tell which port was taken")?;
        let public_url = settings.public_url.clone();
        let machine = Machine::of(&settings)?;
        let public_url = public_url.unwrap_or_else(|| local_url(address));
        // What does not draw sets its memory aside first: models that draw are placed in the rest.
        let config = settings.service_config(public_url, &machine)?;
        let options = Options {
            base_url: match settings.public_url {
                Some(_) => BaseUrl::Configured,
                None => BaseUrl::FromRequest,
            },
            limits: settings.limits.clone(),
            trusted_proxies: settings.trusted_proxies()?,
        };
        let janitor = JanitorConfig {
            blob_folder: Some(data.blob_folder()),
            ..JanitorConfig::new(settings.retention.policy()?)
        };
        let (catalog, tool_defaults) = (settings.catalog(), settings.tool_defaults());
        let models = tokio::task::spawn_blocking(move || Models::open(&settings, &machine));
        let models = models.await.context("opening the models failed")??;
        let service = assembly::service(config, catalog, &data, store).await?;
        // Only now: keys that were shown by a start that failed would be lost.
        let new_keys = service.ensure_default_project().await?;
        let worker = spawn_worker(&service, &models, tool_defaults);
        let janitor = Janitor::new(service.clone(), janitor).spawn();
        let render = webhooks(&service, &options);
        let deliveries = Deliveries::spawn(service.clone(), render, WebhookConfig::default());
        let gap = service.moderation().gap();
        if let Some(gap) = gap {
            tracing::warn!("{gap}");
        }
        greet(&Greeting {
            unmoderated: gap,
            public_url: service.public_url(),
            data: data.path(),
            models: models.descriptions(),
            new_keys: new_keys.as_ref(),
        });
        let (stop, stopped) = oneshot::channel();
        let router = router(service, &options);
        let server = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            listen::serve(listener, router, &options.limits, stopped, REQUEST_GRACE).await;
        });
        Ok(Self {
            server,
            stop,
            worker,
            janitor,
            deliveries,
        })
    }

    async fn stop(self) {
        drop(self.stop);
        let all = async {
            tokio::join!(
                self.worker.drain(),
                self.janitor.drain(),
                self.deliveries.drain(),
                self.server
            )
        };
        match tokio::time::timeout(STOP_TIMEOUT, all).await {
            Ok(_) => tracing::info!("stopped"),
            Err(_) => tracing::warn!("stopped in the middle; the rest runs after the next start"),
        }
    }
}

fn spawn_worker(
    service: &Arc<Service>,
    models: &Models,
    tool_defaults: HashMap<ToolSlug, Sampling>,
) -> WorkerHandle {
    let id = WorkerId(format!("serve-{}", std::process::id()));
    let config = WorkerConfig {
        tool_defaults,
        tool_loras: models.tool_loras().clone(),
        ..WorkerConfig::new(id)
    };
    Worker::spawn(service.clone(), models.engines().clone(), config)
}

async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let help = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another program uses this port; choose another one \
                                              with --listen"
                .to_owned(),
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 need a privilege; choose another one with --listen".to_owned()
            }
            std::io::ErrorKind::InvalidInput => {
                "write it as address and port, such as 127.0.0.1:8787".to_owned()
            }
            _ => error.to_string(),
        };
        anyhow!("cannot listen on {address}: {help}")
    })
}

/// How this machine reaches a service that listens there.
fn local_url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// A reader that has gone away is no reason to stop serving.
fn greet(greeting: &Greeting<'_>) {
    let mut output = std::io::stdout().lock();
    let text = greeting.text(output.is_terminal());
    let _ = output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush());
}
