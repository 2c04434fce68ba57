//! Tasks through the store alone: to fill a database before a measurement, and to measure what of
//! a task's cost is the store's.

use std::sync::Arc;

use tintype_domain::{
    AccessKey, Epoch, FileId, NewTask, Outcome, OutputFile, ProjectId, TaskId, TaskToken, ToolSlug,
    UnixMillis, WorkerId, random_directory,
};
use tintype_service::{Clock, SystemClock};
use tintype_store::{Claim, SqliteStore, Store};
use tokio::task::JoinSet;

use crate::rig::{PARAMETERS, tool};

/// Tasks taken in one claim.
const CLAIMED_AT_ONCE: usize = 64;

/// Callers while a database is filled: as many as make one batch of the store's writer.
const FILLERS: usize = 256;

/// Between reports while a database is filled.
const REPORT_EVERY: u64 = 100_000;

/// A claimed task, as much of it as its end needs.
struct Claimed {
    task: TaskId,
    epoch: Epoch,
    output_folder: FileId,
}

/// Adds finished tasks until there are this many.
pub(crate) async fn fill(
    store: &Arc<SqliteStore>,
    project: ProjectId,
    finished: u64,
) -> anyhow::Result<()> {
    let mut there = finished_tasks(store).await?;
    while there < finished {
        let some = (finished - there).min(REPORT_EVERY);
        work_through(
            store,
            project,
            Share {
                tasks: some,
                callers: FILLERS,
            },
        )
        .await?;
        there += some;
        if finished > REPORT_EVERY {
            eprintln!("filling the database: {there} of {finished} tasks");
        }
    }
    Ok(())
}

/// How many tasks have ended.
pub(crate) async fn finished_tasks(store: &SqliteStore) -> anyhow::Result<u64> {
    let stats = store.tool_stats().await?;
    let ended = stats
        .iter()
        .map(|(_, stats)| stats.successes + stats.failures);
    Ok(ended.sum())
}

/// How much work, and by how many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) tasks: u64,
    pub(crate) callers: usize,
}

/// Submits tasks, claims them and completes them, all three at the same time.
pub(crate) async fn work_through(
    store: &Arc<SqliteStore>,
    project: ProjectId,
    share: Share,
) -> anyhow::Result<()> {
    let (claimed, to_complete) = async_channel(share.callers);
    let mut working = JoinSet::new();
    for number in 0..share.callers as u64 {
        let callers = share.callers as u64;
        let own = share.tasks / callers + u64::from(number < share.tasks % callers);
        let store = Arc::clone(store);
        working.spawn(async move {
            for _ in 0..own {
                store.submit(new_task(project), SystemClock.now()).await?;
            }
            anyhow::Ok(())
        });
    }
    for _ in 0..share.callers {
        let (store, to_complete) = (Arc::clone(store), to_complete.clone());
        working.spawn(async move {
            while let Some(claimed) = next(&to_complete).await {
                complete(&store, claimed).await?;
            }
            anyhow::Ok(())
        });
    }
    let mut given_out = 0;
    while given_out < share.tasks {
        for claim in claim(store).await? {
            given_out += 1;
            claimed.send(claim).await?;
        }
    }
    drop(claimed);
    while let Some(done) = working.join_next().await {
        done??;
    }
    Ok(())
}

type ToComplete = Arc<tokio::sync::Mutex<tokio::sync::mpsc::Receiver<Claimed>>>;

fn async_channel(capacity: usize) -> (tokio::sync::mpsc::Sender<Claimed>, ToComplete) {
    let (sender, receiver) = tokio::sync::mpsc::channel(capacity);
    (sender, Arc::new(tokio::sync::Mutex::new(receiver)))
}

async fn next(to_complete: &ToComplete) -> Option<Claimed> {
    to_complete.lock().await.recv().await
}

async fn claim(store: &SqliteStore) -> anyhow::Result<Vec<Claimed>> {
    let now = SystemClock.now();
    let claim = Claim {
        worker: WorkerId("bench".to_owned()),
        limit: CLAIMED_AT_ONCE,
        lease_until: now.plus_millis(60_000),
        max_attempts: 3,
    };
    let tasks = store.claim(claim, now).await?;
    let claimed = tasks.into_iter().map(|task| Claimed {
        task: task.id,
        epoch: task.epoch,
        output_folder: task.output_folder,
    });
    Ok(claimed.collect())
}

async fn complete(store: &SqliteStore, claimed: Claimed) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let outcome = Outcome::Succeeded {
        outputs: vec![output(&claimed, now)],
        withheld: 0,
        maker: None,
        debug_error: String::new(),
    };
    store
        .complete(claimed.task, claimed.epoch, outcome, now)
        .await?;
    Ok(())
}

fn new_task(project: ProjectId) -> NewTask {
    let rng = &mut rand::rng();
    NewTask {
        uploads: Vec::new(),
        pictures: 1,
        idempotency: None,
        uuid: uuid::Uuid::now_v7(),
        token: TaskToken::random(rng, SystemClock.now()),
        project,
        tool: ToolSlug::new(tool().owner, tool().model),
        parameters: PARAMETERS
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect(),
        output_folder: FileId::random(rng),
        callback_url: None,
        callback_base_url: None,
        warnings: Vec::new(),
    }
}

fn output(claimed: &Claimed, now: UnixMillis) -> OutputFile {
    let rng = &mut rand::rng();
    OutputFile {
        id: FileId::random(rng),
        name: "0.png".to_owned(),
        content_type: "image/png".to_owned(),
        parent_id: claimed.output_folder.clone(),
        size_bytes: 1_000_000,
        added_at: now,
        modified_at: now,
        access_key: AccessKey::random(rng),
        directory: random_directory(rng, now),
        blob_key: format!("tasks/{}/{}/0", claimed.task, claimed.epoch),
    }
}
