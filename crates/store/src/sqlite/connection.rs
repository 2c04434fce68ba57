//! How connections are opened, and with which settings.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::Error;

/// How long a connection waits for one of another process: that process may be flushing.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The write-ahead log is cut back to this when it is emptied; it only grows beyond it while a
/// long read holds it.
const WAL_SIZE_LIMIT_BYTES: i64 = 64 << 20;

/// Memory for the writer's pages: the parts of the indexes that new tasks touch, so that a write
/// reads nothing. (SQLite takes a negative number as KiB.)
const WRITER_CACHE_KIB: i64 = 16 << 10;

/// Pages in the write-ahead log that set off a checkpoint, 16 MiB. The pages that every batch
/// touches are then copied to the database once for many commits.
const CHECKPOINT_PAGES: i64 = 4_000;

/// Statements kept prepared on a connection: more than this crate has.
const STATEMENT_CACHE: usize = 128;

/// Opens the database for writing, and makes it if there is none.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Error> {
    create_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    // For a new file, before anything else is written to it: free pages can be given back then.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", WAL_SIZE_LIMIT_BYTES)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    // The undo journals of savepoints: not worth a file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// Opens the database for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    prepare(&connection)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<(), Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Without this SQLite compares bound values with the conditions of partial indexes, and
    // compiles such a statement anew whenever a value is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(())
}

/// Makes an empty file that only its owner may read: it will hold task tokens, which are
/// capabilities, and sealed secrets. SQLite gives its side files the same mode.
fn create_private(path: &Path) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let created = options.open(path).and_then(|_| flush_folder_of(path));
    match created {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::Unavailable {
                reason: format!("cannot create {}: {error}", path.display()),
            })
        }
        _ => Ok(()),
    }
}

/// Makes a new file's name survive a power failure.
fn flush_folder_of(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) && !folder.as_os_str().is_empty() => {
            File::open(folder)?.sync_all()
        }
        _ => Ok(()),
    }
}
