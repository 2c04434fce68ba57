//! A small pool of read-only connections.
//!
//! Reads run beside the writer: WAL gives each a snapshot. A look-up of a few rows is done at once,
//! on the thread that asks: it takes some ten microseconds, and handing it to another thread and
//! waking up for the answer costs several times that. What walks many rows goes to the runtime's
//! blocking threads.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection;
use crate::Error;

/// Connections. SQLite reads are short and bound by the processor; more would only hold memory.
const READERS: usize = 4;

/// Reads of the second kind at a time, so that a connection is left for the first.
const LONG_READS: usize = READERS - 1;

/// The connections that nobody uses now, and a permit for each.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    long_reads: Arc<Semaphore>,
}

impl Readers {
    /// Opens all connections. The database must exist.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let idle = (0..READERS)
            .map(|_| connection::open_reader(path))
            .collect::<Result<Vec<_>, Error>>()?;
        Ok(Self {
            idle: Mutex::new(idle),
            permits: Arc::new(Semaphore::new(READERS)),
            long_reads: Arc::new(Semaphore::new(LONG_READS)),
        })
    }

    /// Looks up a few rows, on one snapshot, without leaving the thread.
    pub(super) async fn look_up<T>(
        self: &Arc<Self>,
        operation: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let permit = permit(&self.permits).await;
        Reader::take(Arc::clone(self), permit).read(operation)
    }

    /// Runs a read on one snapshot: it sees a commit as a whole or not at all.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        operation: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let long = permit(&self.long_reads).await;
        let permit = permit(&self.permits).await;
        let readers = Arc::clone(self);
        let read = move || {
            let _until_read = long;
            Reader::take(readers, permit).read(operation)
        };
        tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|error| {
                Err(Error::Unavailable {
                    reason: format!("a read was interrupted: {error}"),
                })
            })
    }
}

async fn permit(permits: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(permits)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed; this is a bug")
}

/// A connection on loan; dropping it gives it back, also when the read panicked.
struct Reader {
    connection: Option<Connection>,
    readers: Arc<Readers>,
    // Dropped after the connection is back: the next holder of a permit finds one.
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    fn take(readers: Arc<Readers>, permit: OwnedSemaphorePermit) -> Self {
        let connection = readers.lock().pop();
        Self {
            connection,
            readers,
            _permit: permit,
        }
    }

    fn read<T>(&self, operation: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let connection = self
            .connection
            .as_ref()
            .expect("there are as many connections as permits; this is a bug");
        let snapshot = Snapshot::begin(connection)?;
        operation(snapshot.0)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.readers.lock().extend(self.connection.take());
    }
}

/// A read transaction. Its statements stay prepared, which those of [`Connection`]'s own
/// transactions do not.
struct Snapshot<'a>(&'a Connection);

impl<'a> Snapshot<'a> {
    fn begin(connection: &'a Connection) -> Result<Self, Error> {
        connection.prepare_cached("BEGIN")?.execute(())?;
        Ok(Self(connection))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let ended = self
            .0
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute(()));
        if let Err(error) = ended {
            tracing::error!(error = %error, "a read could not be ended");
        }
    }
}

impl Readers {
    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
