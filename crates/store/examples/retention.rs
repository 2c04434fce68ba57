//! What it costs to forget: walks over a database with many tasks, and the size of its file.
//!
//! ```text
//! cargo run --release -p tintype-store --example retention -- [TASKS] [ROUNDS]
//! ```
//!
//! TASKS (1,000,000) have ended, one each second, each with a picture. First a walk finds nothing
//! old; then, in each of ROUNDS (5), as many as a tenth are added, a tenth is forgotten, record
//! and all, and the file is tidied: its size should not move.

use std::path::Path;
use std::time::{Duration, Instant};

use tintype_domain::{AuthKind, BlobKey, Epoch, FileId, TaskId, UnixMillis};
use tintype_domain::{NewTask, TaskToken, ToolSlug};
use tintype_store::{Expiring, ExpiryStep, Mode, NewProject, SqliteStore, Store, Upkeep};

const START: UnixMillis = UnixMillis(1_700_000_000_000);

/// Keys that a sweep asks about at once.
const ASKED_AT_ONCE: i64 = 250;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let tasks: i64 = arguments.next().transpose()?.unwrap_or(1_000_000);
    let rounds: i64 = arguments.next().transpose()?.unwrap_or(5);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tasks.db");
    let store = SqliteStore::open(&path)?;
    template(&store).await?;
    add(&path, 2, tasks)?;
    tidy(&store).await?;
    println!("{tasks} ended tasks: {}", size(folder.path())?);

    expire(&store, Expiring::Outputs, 0, "nothing is old").await?;
    ask(&store, tasks).await?;
    let share = tasks / 10;
    for round in 0..rounds {
        add(&path, tasks + 2 + round * share, share)?;
        let before = (round + 1) * share;
        expire(&store, Expiring::Outputs, before, "forget outputs").await?;
        expire(&store, Expiring::Records, before, "forget records").await?;
        tidy(&store).await?;
        println!("round {}: {}", round + 1, size(folder.path())?);
    }
    expire(&store, Expiring::Records, i64::MAX / 2000, "forget all").await?;
    tidy(&store).await?;
    println!("nothing left: {}", size(folder.path())?);
    Ok(())
}

/// The task that all others are copies of. It never ends.
async fn template(store: &SqliteStore) -> Result<(), AnyError> {
    let project = NewProject {
        name: "retention".to_owned(),
        api_key: "key".to_owned(),
        sealed_secret: Vec::new(),
        auth: AuthKind::Key,
        allowed_networks: Vec::new(),
        strict_nonce: false,
    };
    let project = store.create_project(project, START).await?.id;
    let prompt = "A plain cookie package on a wooden table, in the soft light of a window";
    let parameters = [("prompt", prompt), ("aspectRatio", "16:9"), ("seed", "42")];
    let task = NewTask {
        uuid: uuid::Uuid::now_v7(),
        token: TaskToken::random(&mut rand::rng(), START),
        project,
        tool: ToolSlug::new("black-forest-labs", "flux-pro-1.1"),
        parameters: parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect(),
        output_folder: FileId::random(&mut rand::rng()),
        callback_url: None,
        callback_base_url: None,
        warnings: Vec::new(),
        uploads: Vec::new(),
        pictures: 1,
        idempotency: None,
    };
    store.submit(task, START).await?;
    Ok(())
}

/// Ended tasks with the numbers from `first` on, as another program would write them.
fn add(path: &Path, first: i64, tasks: i64) -> Result<(), AnyError> {
    let connection = rusqlite::Connection::open(path)?;
    connection.execute_batch(&format!(
        "BEGIN;
         CREATE TEMP TABLE copy AS
             WITH RECURSIVE number (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM number)
             SELECT n FROM number LIMIT {tasks};
         INSERT INTO task (id, uuid, token, project, tool_owner, tool_model, parameters,
                           output_folder, warnings)
             SELECT n, uuid, 'copy' || n, project, tool_owner, tool_model, parameters,
                    output_folder, warnings FROM copy, task WHERE id = 1;
         INSERT INTO job (task, state, epoch, attempts, created_at, postprocess_ended_at, exit_code)
             SELECT n, 'finished', 1, 1, {start} + n * 1000, {start} + n * 1000, 0 FROM copy;
         INSERT INTO output (id, task, name, content_type, parent_id, size_bytes, added_at,
                             modified_at, access_key, directory, blob_key)
             SELECT hex(randomblob(16)), n, '0.png', 'image/png', hex(randomblob(16)), 1000000,
                    {start} + n * 1000, {start} + n * 1000, hex(randomblob(15)),
                    hex(randomblob(35)), 'tasks/' || n || '/1/0' FROM copy;
         COMMIT;",
        start = START.0
    ))?;
    Ok(())
}

/// A walk over everything; what it took in all, and its longest step.
async fn expire(
    store: &SqliteStore,
    what: Expiring,
    before_seconds: i64,
    name: &str,
) -> Result<(), AnyError> {
    let mut step = ExpiryStep {
        what,
        before: START.plus_millis(before_seconds * 1000),
        after: 0,
        mode: Mode::Remove,
    };
    let (start, mut longest, mut steps, mut gone) = (Instant::now(), Duration::ZERO, 0, 0);
    loop {
        let began = Instant::now();
        let expired = store.expire(step).await?;
        longest = longest.max(began.elapsed());
        steps += 1;
        gone += expired.blob_keys.len() as u64 + expired.records;
        match expired.next {
            Some(next) => step.after = next,
            None => break,
        }
    }
    let (all, longest) = (start.elapsed().as_secs_f64(), longest.as_secs_f64() * 1e3);
    println!("  {name:16} {gone:9} in {steps:5} steps, {all:6.1} s, longest {longest:5.1} ms");
    Ok(())
}

/// What a sweep asks of the store.
async fn ask(store: &SqliteStore, tasks: i64) -> Result<(), AnyError> {
    let start = Instant::now();
    let mut number = 1;
    while number < tasks {
        let keys = (number..number + ASKED_AT_ONCE).map(|task| BlobKey::Output {
            task: TaskId(task),
            epoch: Epoch(1),
            index: 0,
        });
        store.live_blobs(keys.collect()).await?;
        number += ASKED_AT_ONCE;
    }
    let all = start.elapsed().as_secs_f64();
    println!("  {:16} {tasks:9} keys in {all:6.1} s", "ask for a sweep");
    Ok(())
}

async fn tidy(store: &SqliteStore) -> Result<(), AnyError> {
    let upkeep = Upkeep {
        nonces_before: START,
        repeats_before: START,
    };
    let (start, mut longest, mut bytes) = (Instant::now(), Duration::ZERO, 0);
    loop {
        let began = Instant::now();
        let tidied = store.tidy(upkeep).await?;
        longest = longest.max(began.elapsed());
        bytes += tidied.bytes;
        if !tidied.more {
            break;
        }
    }
    let (all, longest) = (start.elapsed().as_secs_f64(), longest.as_secs_f64() * 1e3);
    let megabytes = bytes / 1_000_000;
    println!(
        "  {:16} {megabytes:6} MB back, {all:6.1} s, longest {longest:5.1} ms",
        "tidy"
    );
    Ok(())
}

fn size(folder: &Path) -> Result<String, AnyError> {
    let bytes = |name: &str| std::fs::metadata(folder.join(name)).map(|file| file.len());
    let (database, log) = (bytes("tasks.db")?, bytes("tasks.db-wal").unwrap_or(0));
    Ok(format!(
        "database {} MB, log {} MB",
        database / 1_000_000,
        log / 1_000_000
    ))
}
