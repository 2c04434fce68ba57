//! The one thread that writes.
//!
//! It takes all requests that wait (up to a bound), runs them in one `BEGIN IMMEDIATE` with a
//! savepoint for each, commits, and only then tells the followers and answers: while the disk is busy with one commit
//! the next batch gathers. A request that fails is undone alone. When the transaction as a whole
//! fails (a full disk, say), every request of the batch is told so, nothing is left half-written,
//! and the thread goes on with the next batch.

use std::thread::JoinHandle;

use rusqlite::Connection;
use tintype_domain::Event;
use tokio::sync::{mpsc, oneshot};

use super::batch::Batch;
use crate::Error;
use crate::follow::Feed;

/// Requests that may wait; a caller beyond that waits until there is room.
const QUEUE_CAPACITY: usize = 1024;

/// Requests in one transaction. More would make the first ones wait for the last without making
/// the commit, one flush of the disk, noticeably cheaper for each.
const BATCH_LIMIT: usize = 256;

/// The handle on the thread. Dropping it waits for the batch in hand and ends the thread.
#[derive(Debug)]
pub(super) struct Writer {
    requests: Option<mpsc::Sender<Box<dyn Request>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on a connection that may write.
    pub(super) fn start(connection: Connection, feed: Feed) -> Result<Self, Error> {
        let (requests, waiting) = mpsc::channel(QUEUE_CAPACITY);
        let thread = std::thread::Builder::new()
            .name("tintype-store-writer".to_owned())
            .spawn(move || serve(&connection, &feed, waiting))
            .map_err(|source| Error::Unavailable {
                reason: format!("cannot start the store's writer thread: {source}"),
            })?;
        Ok(Self {
            requests: Some(requests),
            thread: Some(thread),
        })
    }

    /// Runs an operation in the writer's transaction and answers after the commit.
    ///
    /// A call that is dropped before its turn has come does nothing; after that it takes effect
    /// although nobody hears of it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Batch<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let request = Box::new(Call {
            operation: Some(operation),
            result: None,
            answer,
        });
        let requests = self
            .requests
            .as_ref()
            .expect("the sender is taken on drop only; this is a bug");
        requests.send(request).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.requests.take();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer thread had panicked");
        }
    }
}

fn stopped() -> Error {
    Error::Unavailable {
        reason: "the store's writer thread has stopped; restart the server".to_owned(),
    }
}

/// An operation on its way through the thread.
trait Request: Send {
    /// Whether the caller no longer waits.
    fn is_abandoned(&self) -> bool;

    /// Runs the operation and keeps its result; `Err` says why it is to be undone.
    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), String>;

    /// Tells the caller: its own result, or why the whole batch was lost.
    fn answer(self: Box<Self>, lost: Option<&str>);
}

struct Call<T, F> {
    operation: Option<F>,
    result: Option<Result<T, Error>>,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Request for Call<T, F>
where
    T: Send,
    F: FnOnce(&Batch<'_>) -> Result<T, Error> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), String> {
        let operation = self
            .operation
            .take()
            .expect("a request is applied once; this is a bug");
        let result = operation(batch);
        let failure = result.as_ref().err().map(Error::to_string);
        self.result = Some(result);
        failure.map_or(Ok(()), Err)
    }

    fn answer(self: Box<Self>, lost: Option<&str>) {
        let result = match (self.result, lost) {
            (Some(Err(own)), _) => Err(own),
            (_, Some(reason)) => Err(Error::Unavailable {
                reason: reason.to_owned(),
            }),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => return, // abandoned: nobody listens
        };
        // A caller that has gone meanwhile does not want to know.
        let _ = self.answer.send(result);
    }
}

fn serve(connection: &Connection, feed: &Feed, mut waiting: mpsc::Receiver<Box<dyn Request>>) {
    while let Some(first) = waiting.blocking_recv() {
        let mut requests = vec![first];
        while requests.len() < BATCH_LIMIT
            && let Ok(next) = waiting.try_recv()
        {
            requests.push(next);
        }
        let committed = commit(connection, &mut requests);
        match &committed {
            Ok(events) => feed.publish(events),
            Err(reason) => {
                roll_back(connection);
                tracing::error!(
                    requests = requests.len(),
                    reason,
                    "a batch of writes was lost"
                );
            }
        }
        let lost = committed.err();
        for request in requests {
            request.answer(lost.as_deref());
        }
    }
}

/// Runs requests in one transaction and gives what happened; `Err` says why none of it counts.
fn commit(
    connection: &Connection,
    requests: &mut [Box<dyn Request>],
) -> Result<Vec<Event>, String> {
    execute(connection, "BEGIN IMMEDIATE")?;
    let batch = Batch::new(connection);
    for request in requests
        .iter_mut()
        .filter(|request| !request.is_abandoned())
    {
        execute(connection, "SAVEPOINT request")?;
        batch.mark();
        if let Err(reason) = request.apply(&batch) {
            // SQLite ends the whole transaction by itself after some errors, a full disk for one.
            if connection.is_autocommit() {
                return Err(reason);
            }
            execute(connection, "ROLLBACK TO request")?;
            batch.undo();
        }
        execute(connection, "RELEASE request")?;
    }
    execute(connection, "COMMIT")?;
    Ok(batch.into_events())
}

fn execute(connection: &Connection, statement: &str) -> Result<(), String> {
    connection
        .prepare_cached(statement)
        .and_then(|mut prepared| prepared.execute([]))
        .map(drop)
        .map_err(|error| reason_of(error.into()))
}

fn reason_of(error: Error) -> String {
    match error {
        Error::Unavailable { reason } => reason,
        other => other.to_string(),
    }
}

fn roll_back(connection: &Connection) {
    if !connection.is_autocommit()
        && let Err(reason) = execute(connection, "ROLLBACK")
    {
        tracing::error!(reason, "a failed transaction could not be rolled back");
    }
}
