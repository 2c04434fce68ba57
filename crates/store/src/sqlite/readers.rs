//! A small pool of read-only connections.
//!
//! Reads run beside the writer (WAL gives each a snapshot) on the runtime's blocking threads.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection;
use crate::Error;

/// Connections. SQLite reads are short and bound by the processor; more would only hold memory.
const READERS: usize = 4;

/// The connections that nobody uses now, and a permit for each.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
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
        })
    }

    /// Runs a read on one snapshot: it sees a commit as a whole or not at all.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        operation: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed; this is a bug");
        let readers = Arc::clone(self);
        let read = move || {
            let reader = Reader::take(readers, permit);
            let snapshot = reader.connection().unchecked_transaction()?;
            operation(&snapshot)
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

    fn connection(&self) -> &Connection {
        self.connection
            .as_ref()
            .expect("there are as many connections as permits; this is a bug")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.readers.lock().extend(self.connection.take());
    }
}

impl Readers {
    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
