//! The schema and its history: numbered steps that only go forward.
//!
//! A step that has been released is never edited; a change is a new file at the end of
//! [`MIGRATIONS`]. The number of steps taken is kept in SQLite's `user_version`.

use rusqlite::{Connection, TransactionBehavior};

use crate::{Error, moments};

/// All steps, in order: step `n` takes a database from version `n` to `n + 1`.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_tool_stat.sql"),
    include_str!("migrations/0003_folder.sql"),
    include_str!("migrations/0004_webhook.sql"),
    include_str!("migrations/0005_history.sql"),
    include_str!("migrations/0006_limits.sql"),
    include_str!("migrations/0007_output_ids.sql"),
    include_str!("migrations/0008_maker.sql"),
    include_str!("migrations/0009_upsampled_prompt.sql"),
];

/// The version that this program writes.
pub(super) const CURRENT_VERSION: usize = MIGRATIONS.len();

/// Brings a database up to [`CURRENT_VERSION`], each step in a transaction of its own.
///
/// # Errors
/// [`Error::Corrupt`] for a database of a later program, which is left as it is.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), Error> {
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version = version(&transaction)?;
        let Some(step) = MIGRATIONS.get(version) else {
            return refuse_other_version(&transaction);
        };
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version + 1)?;
        moments::reached("migrating");
        transaction.commit()?;
        moments::reached("migrated");
    }
}

/// Fails unless the database has exactly [`CURRENT_VERSION`].
pub(super) fn refuse_other_version(connection: &Connection) -> Result<(), Error> {
    let found = version(connection)?;
    let advice = match found.cmp(&CURRENT_VERSION) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Less => "stop the server that has it open, then try again",
        std::cmp::Ordering::Greater => {
            "it was written by a later program: use that one, or restore a backup"
        }
    };
    Err(Error::Corrupt {
        reason: format!(
            "the database has schema version {found}, this program uses {CURRENT_VERSION}; {advice}"
        ),
    })
}

pub(super) fn version(connection: &Connection) -> Result<usize, Error> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}
