//! What idle websockets cost: opens them to a server in a process of its own, registers each for a
//! task that waits in the queue, and prints the server's resident memory before and after.
//!
//! ```text
//! ulimit -n 25000; cargo run --release -p tintype-server --example idle_sockets -- [SOCKETS]
//! ```
//!
//! SOCKETS is 10,000 if nothing is said. Both processes need a file handle for each of them.

use std::error::Error;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use object_store::memory::InMemory;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tintype_catalog::Catalog;
use tintype_domain::{AuthKind, ToolSlug};
use tintype_server::{Options, listen, router};
use tintype_service::{
    Credentials, NewProjectRequest, Parts, RawValue, RunRequest, SealingKey, Service,
    ServiceConfig, SystemClock,
};
use tintype_store::SqliteStore;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

type Anyhow = Box<dyn Error>;

/// Tasks that are watched; each by some of the sockets.
const TASKS: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Anyhow> {
    match std::env::args().nth(1).as_deref() {
        Some("--server") => serve().await,
        None => measure(10_000).await,
        Some(sockets) => measure(sockets.parse()?).await,
    }
}

/// The server: prints its address and the tokens of its tasks, and serves until its input ends.
async fn serve() -> Result<(), Anyhow> {
    let folder = tempfile::tempdir()?;
    let mut rng = StdRng::from_os_rng();
    let parts = Parts {
        store: Arc::new(SqliteStore::open(&folder.path().join("tasks.db"))?),
        blobs: Arc::new(InMemory::new()),
        catalog: Catalog::builtin(),
        sealing_key: SealingKey::ephemeral(&mut rng),
        clock: Arc::new(SystemClock),
        rng,
    };
    let config = ServiceConfig::new("http://127.0.0.1");
    let service = Arc::new(Service::new(config, parts));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    for token in submit(&service).await? {
        println!("{token}");
    }
    let options = Options::default();
    let router = router(service, &options);
    let gone = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let stop = async { drop(gone.await) };
    let grace = Duration::from_secs(5);
    listen::serve(listener, router, &options.limits, stop, grace).await;
    Ok(())
}

/// Tasks that nobody will take.
async fn submit(service: &Service) -> Result<Vec<String>, Anyhow> {
    let project = NewProjectRequest {
        name: "idle".to_owned(),
        auth: AuthKind::Key,
        allowed_networks: vec![],
        strict_nonce: false,
    };
    let keys = service.create_project(project).await?;
    let credentials = Credentials {
        api_key: Some(keys.api_key),
        nonce: None,
        signature: None,
        remote: [127, 0, 0, 1].into(),
    };
    let principal = service.authenticate(&credentials).await?;
    let mut tokens = Vec::with_capacity(TASKS);
    for _ in 0..TASKS {
        let run = RunRequest {
            tool: ToolSlug::new("black-forest-labs", "flux-pro-1.1"),
            inputs: vec![("prompt".to_owned(), RawValue::Json("a red circle".into()))],
            base_url: None,
            idempotency_key: None,
        };
        tokens.push(service.submit(&principal, run).await?.token.0);
    }
    Ok(tokens)
}

/// The clients.
async fn measure(sockets: usize) -> Result<(), Anyhow> {
    let mut server = Command::new(std::env::current_exe()?)
        .arg("--server")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(server.stdout.take().ok_or("no output")?).lines();
    let lines: Vec<String> = lines.take(1 + TASKS).collect::<Result<_, _>>()?;
    let (address, tokens) = lines.split_first().ok_or("no address")?;
    let address: SocketAddr = address.parse()?;
    drop(connect(address, &tokens[0]).await?);
    let before = resident_bytes(&server)?;
    let (began, mut open) = (Instant::now(), Vec::with_capacity(sockets));
    for index in 0..sockets {
        open.push(connect(address, &tokens[index % TASKS]).await?);
    }
    let elapsed = began.elapsed();
    let after = resident_bytes(&server)?;
    let each = after.saturating_sub(before) as f64 / sockets as f64;
    println!(
        "{sockets} idle subscribers, opened in {elapsed:.1?}: the server went from {:.1} MB to \
         {:.1} MB, {each:.0} bytes each",
        before as f64 / 1e6,
        after as f64 / 1e6,
    );
    drop(server.stdin.take());
    server.wait()?;
    Ok(())
}

/// A socket that has been told where its task stands.
async fn connect(address: SocketAddr, token: &str) -> Result<WebSocketStream<TcpStream>, Anyhow> {
    let stream = TcpStream::connect(address).await?;
    let (mut socket, _) = client_async(format!("ws://{address}/v1"), stream).await?;
    let message = json!({"type": "task_info", "tasktoken": token});
    socket.send(Message::text(message.to_string())).await?;
    for expected in ["connected", "task_queue"] {
        let heard = socket.next().await.ok_or("closed")??.into_text()?;
        if !heard.contains(expected) {
            return Err(format!("{heard} in place of {expected}").into());
        }
    }
    Ok(socket)
}

/// What a process holds in memory.
fn resident_bytes(process: &Child) -> Result<u64, Anyhow> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes: u64 = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no VmRSS")?
        .parse()?;
    Ok(kilobytes * 1024)
}
