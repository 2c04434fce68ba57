//! The one thread that writes.
//!
//! It takes all requests that wait (up to a bound), runs them in one `BEGIN IMMEDIATE`, commits, and
//! only then tells the followers and answers: while the disk is busy with one commit the next batch
//! gathers. A request that fails is undone alone: the batch is rolled back and run again with a
//! savepoint for each request, which costs too much to do it always. Some requests can run only
//! once; a batch with one of them has the savepoints at once. When the transaction as a whole
//! fails (a full disk, say), every request of the batch is told so, nothing is left half-written,
//! and the thread goes on with the next batch.

use std::thread::JoinHandle;

use rusqlite::Connection;
use tintype_domain::Event;
use tokio::sync::{mpsc, oneshot};

use super::batch::Batch;
use crate::follow::Feed;
use crate::{Error, moments};

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

    /// Runs an operation in the writer's transaction and answers after the commit. It may read and
    /// write any table.
    ///
    /// A call that is dropped before its turn has come does nothing; after that it takes effect
    /// although nobody hears of it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Batch<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut operation = Some(operation);
        let once = move |batch: &Batch<'_>| {
            let operation = operation.take();
            operation.expect("a request of this kind is applied once; this is a bug")(batch)
        };
        self.send(once, false).await
    }

    /// As [`Writer::run`], and cheaper, for what every task does. If the operation fails, or one
    /// of those beside it, it is undone and run again. It leaves the tables whose rows the batch
    /// keeps to the batch.
    pub(super) async fn run_often<T: Send + 'static>(
        &self,
        operation: impl FnMut(&Batch<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.send(operation, true).await
    }

    async fn send<T: Send + 'static>(
        &self,
        operation: impl FnMut(&Batch<'_>) -> Result<T, Error> + Send + 'static,
        repeatable: bool,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let request = Box::new(Call {
            operation,
            repeatable,
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

    /// Whether it may be applied again after it was undone.
    fn is_repeatable(&self) -> bool;

    /// Runs the operation and keeps its result; `Err` says why it is to be undone.
    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), String>;

    /// Tells the caller: its own result, or why the whole batch was lost.
    fn answer(self: Box<Self>, lost: Option<&str>);
}

struct Call<T, F> {
    operation: F,
    repeatable: bool,
    result: Option<Result<T, Error>>,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Request for Call<T, F>
where
    T: Send,
    F: FnMut(&Batch<'_>) -> Result<T, Error> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    fn apply(&mut self, batch: &Batch<'_>) -> Result<(), String> {
        let result = (self.operation)(batch);
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
        // Those who were just answered are about to ask again: this gives them their turn.
        std::thread::yield_now();
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
    if requests.iter().all(|request| request.is_repeatable()) {
        execute(connection, "BEGIN IMMEDIATE")?;
        let batch = Batch::new(connection);
        if apply_all(&batch, requests).is_ok() {
            execute(connection, "COMMIT")?;
            return Ok(batch.into_events());
        }
        roll_back(connection);
    }
    execute(connection, "BEGIN IMMEDIATE")?;
    let batch = Batch::new(connection);
    for request in wanted(requests) {
        apply_alone(&batch, request)?;
    }
    execute(connection, "COMMIT")?;
    moments::reached("committed");
    Ok(batch.into_events())
}

/// Those whose callers still wait.
fn wanted(requests: &mut [Box<dyn Request>]) -> impl Iterator<Item = &mut Box<dyn Request>> {
    let all = requests.iter_mut();
    all.filter(|request| !request.is_abandoned())
}

/// Applies requests until one fails.
fn apply_all(batch: &Batch<'_>, requests: &mut [Box<dyn Request>]) -> Result<(), String> {
    for request in wanted(requests) {
        request.apply(batch)?;
    }
    batch.write_kept().map_err(reason_of)
}

/// Applies a request so that its failure leaves the others alone; `Err` when it does not.
fn apply_alone(batch: &Batch<'_>, request: &mut Box<dyn Request>) -> Result<(), String> {
    execute(batch, "SAVEPOINT request")?;
    batch.mark();
    if let Err(reason) = request.apply(batch) {
        // SQLite ends the whole transaction by itself after some errors, a full disk for one.
        if batch.is_autocommit() {
            return Err(reason);
        }
        execute(batch, "ROLLBACK TO request")?;
        batch.undo();
    }
    batch.write_kept().map_err(reason_of)?;
    execute(batch, "RELEASE request")
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
