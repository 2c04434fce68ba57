//! Records of the pictures of finished tasks.

use rusqlite::{Connection, OptionalExtension};
use tintype_domain::{OutputFile, ProjectId, TaskId, TaskRef};

use super::columns::Columns;
use super::job::Job;
use super::rows::OUTPUT_COLUMNS;
use super::{rows, tasks};
use crate::{Deletion, Error};

/// Records the outputs of a task, in their order.
pub(super) fn insert(
    connection: &Connection,
    task: TaskId,
    outputs: &[OutputFile],
) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO output (id, task, name, content_type, parent_id, size_bytes, added_at, \
         modified_at, access_key, directory, blob_key) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for output in outputs {
        statement.execute((
            output.id.as_str(),
            task.0,
            &output.name,
            &output.content_type,
            output.parent_id.as_str(),
            output.size_bytes,
            output.added_at.0,
            output.modified_at.0,
            output.access_key.as_str(),
            &output.directory,
            &output.blob_key,
        ))?;
    }
    Ok(())
}

/// The outputs of a task, in their order.
pub(super) fn of_task(connection: &Connection, task: TaskId) -> Result<Vec<OutputFile>, Error> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {OUTPUT_COLUMNS} FROM output WHERE task = ?1 ORDER BY rowid"
    ))?;
    let outputs = statement.query_map((task.0,), |row| rows::output(&Columns::of(row)))?;
    Ok(outputs.collect::<rusqlite::Result<_>>()?)
}

/// The output with this public address.
pub(super) fn at(
    connection: &Connection,
    directory: &str,
    name: &str,
) -> Result<Option<OutputFile>, Error> {
    let output = connection
        .prepare_cached(&format!(
            "SELECT {OUTPUT_COLUMNS} FROM output WHERE directory = ?1 AND name = ?2"
        ))?
        .query_row((directory, name), |row| rows::output(&Columns::of(row)))
        .optional()?;
    Ok(output)
}

/// Forgets the outputs of a task that has ended.
pub(super) fn delete(
    connection: &Connection,
    task: &TaskRef,
    project: ProjectId,
) -> Result<Deletion, Error> {
    let Some(task) = tasks::find(connection, task, Some(project))? else {
        return Ok(Deletion::Unknown);
    };
    if !Job::expect(connection, task)?.state.is_final() {
        return Ok(Deletion::Unfinished);
    }
    let forgotten = of_task(connection, task)?.into_iter();
    let blob_keys = forgotten.map(|output| output.blob_key).collect();
    connection
        .prepare_cached("DELETE FROM output WHERE task = ?1")?
        .execute((task.0,))?;
    Ok(Deletion::Deleted { task, blob_keys })
}
