//! What a task costs the embedded store: submit, claim and complete, many at a time.
//!
//! ```text
//! cargo run --release -p tintype-store --example throughput -- [TASKS] [CALLERS] [FINISHED]
//! ```
//!
//! TASKS (20,000) go through the store from CALLERS (256) concurrent callers, in a database that
//! holds FINISHED (0) tasks from before. Every call is durable when it answers, so a single caller
//! (CALLERS 1) mostly measures how fast the disk flushes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tintype_domain::{
    AccessKey, AuthKind, FileId, NewTask, Outcome, OutputFile, ProjectId, Task, TaskToken,
    ToolSlug, UnixMillis, WorkerId, random_directory,
};
use tintype_store::{Claim, Error, NewProject, SqliteStore, Store};
use tokio::task::JoinSet;

/// As long as prompts are.
const PROMPT: &str = "A plain cookie package on a wooden table, in the soft light of a window, \
     photographed from above with a shallow depth of field";

/// Tasks taken in one claim, as a worker with a deep queue would.
const CLAIMED_AT_ONCE: usize = 64;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let tasks: usize = arguments.next().transpose()?.unwrap_or(20_000);
    let callers = arguments.next().transpose()?.unwrap_or(256).max(1);
    let finished = arguments.next().transpose()?.unwrap_or(0);

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("tasks.db");
    let project = prepare(&path, finished).await?;
    let store = Arc::new(SqliteStore::open(&path)?);

    println!("{tasks} tasks, {callers} callers, {finished} finished before");
    println!("µs per task:     time  processor");
    let start = Moment::now();
    submit(&store, project, tasks, callers).await?;
    let submitted = Moment::now();
    let claimed = claim(&store).await?;
    let given_out = Moment::now();
    assert_eq!(claimed.len(), tasks, "every task is given out once");
    complete(&store, claimed, callers).await?;
    let completed = Moment::now();

    submitted.report("submit", &start, tasks);
    given_out.report("claim", &submitted, tasks);
    completed.report("complete", &given_out, tasks);
    completed.report("all", &start, tasks);
    Ok(())
}

/// A point on the wall clock, and on the account of what this process has computed.
struct Moment {
    wall: Instant,
    processor: Duration,
}

impl Moment {
    fn now() -> Self {
        Self {
            wall: Instant::now(),
            processor: processor_time().unwrap_or_default(),
        }
    }

    fn report(&self, what: &str, since: &Self, tasks: usize) {
        let per_task = |time: Duration| time.as_secs_f64() * 1e6 / tasks as f64;
        let wall = per_task(self.wall - since.wall);
        let processor = per_task(self.processor - since.processor);
        println!("  {what:10} {wall:9.1} {processor:10.1}");
    }
}

/// Makes the project and the tasks from before. The latter are copies of one, for speed.
async fn prepare(path: &Path, finished: usize) -> Result<ProjectId, AnyError> {
    let store = Arc::new(SqliteStore::open(path)?);
    let project = NewProject {
        name: "throughput".to_owned(),
        api_key: "key".to_owned(),
        sealed_secret: Vec::new(),
        auth: AuthKind::Key,
        allowed_networks: Vec::new(),
        strict_nonce: false,
    };
    let project = store.create_project(project, now()).await?.id;
    submit(&store, project, 1, 1).await?;
    let first = claim(&store).await?;
    complete(&store, first, 1).await?;
    drop(store);

    rusqlite::Connection::open(path)?.execute_batch(&format!(
        "BEGIN;
         CREATE TEMP TABLE copy AS
             WITH RECURSIVE number (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number)
             SELECT n FROM number LIMIT {finished};
         INSERT INTO task (id, uuid, token, project, tool_owner, tool_model, parameters,
                 output_folder, warnings)
             SELECT n, uuid, substr(token, 1, 7) || '-copy-' || n, project, tool_owner, tool_model, parameters,
                 output_folder, warnings FROM copy, task WHERE id = 1;
         INSERT INTO job (task, state, epoch, attempts, created_at, exit_code)
             SELECT n, 'finished', 1, 1, created_at, 1 FROM copy, job WHERE task = 1;
         COMMIT;"
    ))?;
    Ok(project)
}

async fn submit(
    store: &Arc<SqliteStore>,
    project: ProjectId,
    tasks: usize,
    callers: usize,
) -> Result<(), AnyError> {
    let work = (0..tasks).map(|_| new_task(project)).collect();
    concurrently(store, work, callers, |store, task| async move {
        store.submit(task, now()).await.map(drop)
    })
    .await
}

async fn claim(store: &SqliteStore) -> Result<Vec<Task>, AnyError> {
    let mut all = Vec::new();
    loop {
        let claim = Claim {
            worker: WorkerId("throughput".to_owned()),
            limit: CLAIMED_AT_ONCE,
            lease_until: now().plus_millis(60_000),
            max_attempts: 3,
        };
        let some = store.claim(claim, now()).await?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}

async fn complete(
    store: &Arc<SqliteStore>,
    tasks: Vec<Task>,
    callers: usize,
) -> Result<(), AnyError> {
    concurrently(store, tasks, callers, |store, task| async move {
        let outcome = Outcome::Succeeded {
            outputs: vec![output(&task)],
            withheld: 0,
            maker: None,
            debug_error: String::new(),
        };
        store
            .complete(task.id, task.epoch, outcome, now())
            .await
            .map(drop)
    })
    .await
}

/// Does all of the work. The pieces are dealt out to the callers in turn, as a server's clients
/// and workers have neighbouring tasks in hand at any time; each caller does one after the other.
async fn concurrently<W, F, Doing>(
    store: &Arc<SqliteStore>,
    work: Vec<W>,
    callers: usize,
    act: F,
) -> Result<(), AnyError>
where
    W: Send + 'static,
    F: Fn(Arc<SqliteStore>, W) -> Doing + Copy + Send + 'static,
    Doing: Future<Output = Result<(), Error>> + Send,
{
    let mut working = JoinSet::new();
    let mut hands: Vec<_> = (0..callers).map(|_| Vec::new()).collect();
    for (number, piece) in work.into_iter().enumerate() {
        hands[number % callers].push(piece);
    }
    for own in hands {
        let store = Arc::clone(store);
        working.spawn(async move {
            for piece in own {
                act(Arc::clone(&store), piece).await?;
            }
            Ok::<(), Error>(())
        });
    }
    while let Some(done) = working.join_next().await {
        done??;
    }
    Ok(())
}

fn new_task(project: ProjectId) -> NewTask {
    let rng = &mut rand::rng();
    let parameters = [("prompt", PROMPT), ("aspectRatio", "16:9"), ("seed", "42")];
    NewTask {
        uuid: uuid::Uuid::now_v7(),
        token: TaskToken::random(rng, now()),
        project,
        tool: ToolSlug::new("black-forest-labs", "flux-pro-1.1"),
        parameters: parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect(),
        output_folder: FileId::random(rng),
        callback_url: None,
        callback_base_url: None,
        warnings: Vec::new(),
        uploads: Vec::new(),
        pictures: 1,
        idempotency: None,
    }
}

fn output(task: &Task) -> OutputFile {
    let rng = &mut rand::rng();
    OutputFile {
        id: FileId::random(rng),
        name: "0.png".to_owned(),
        content_type: "image/png".to_owned(),
        parent_id: task.output_folder.clone(),
        size_bytes: 1_000_000,
        added_at: now(),
        modified_at: now(),
        access_key: AccessKey::random(rng),
        directory: random_directory(rng, now()),
        blob_key: format!("{}/{}/0", task.id, task.epoch),
    }
}

/// Tokens and addresses begin with the time: indexes grow as they do in a running server.
fn now() -> UnixMillis {
    let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    UnixMillis(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// What this process has computed for so far, from Linux's accounts (in hundredths of a second).
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let hundredths: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(10 * hundredths))
}
