//! A look at a database file that changes nothing, whoever has it open.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::migrate;
use crate::Error;

/// What is known of a database without opening it as a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// The version of its schema.
    pub version: usize,
    /// The version that this program writes. An older database is brought up to it by `serve`.
    pub current_version: usize,
    /// Bytes of its pages, used or not.
    pub size_bytes: u64,
}

/// Looks at a database.
///
/// # Errors
/// [`Error`] if the file cannot be read, or is no database.
pub fn inspect(path: &Path) -> Result<DatabaseFacts, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    Ok(DatabaseFacts {
        version: migrate::version(&connection)?,
        current_version: migrate::CURRENT_VERSION,
        size_bytes: number("page_count")? * number("page_size")?,
    })
}
