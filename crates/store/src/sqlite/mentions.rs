//! What tasks that have not ended name in their parameters: files that they may still read.
//!
//! A file is named by its address, whose directory is unguessable, or by its name. Both are found
//! by looking at every text of the parameters, whatever field it stands in: a word too many keeps
//! a file a little longer, a word too few would take it from under a task.

use std::collections::HashSet;

use rusqlite::Connection;
use serde_json::Value;
use tintype_domain::{FileRecord, OutputFile, safe_name};

use crate::Error;

/// Unfinished tasks after one, through the partial indexes of the queue and of the leases.
pub(super) const UNFINISHED: &str = "SELECT task.parameters \
     FROM job INDEXED BY job_queued \
     JOIN task ON task.id = job.task WHERE job.state = 'queued' AND job.task > ?1 \
     UNION ALL SELECT task.parameters FROM job INDEXED BY job_leased \
     JOIN task ON task.id = job.task WHERE job.lease_until IS NOT NULL AND job.task > ?1";

/// The words of unfinished tasks, up to a task. Parameters never change and numbers grow: what
/// was read once needs to be read again for newer tasks only.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    words: HashSet<String>,
    up_to: i64,
}

impl Mentions {
    /// Adds those of the tasks that came since.
    pub(super) fn catch_up(&mut self, connection: &Connection) -> Result<(), Error> {
        let newest = connection
            .prepare_cached("SELECT coalesce(max(id), 0) FROM task")?
            .query_row((), |row| row.get(0))?;
        let mut statement = connection.prepare_cached(UNFINISHED)?;
        let mut rows = statement.query((self.up_to,))?;
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            let parameters = serde_json::from_str(&text).map_err(|error| Error::Corrupt {
                reason: format!("the parameters of a task: {error}"),
            })?;
            self.add(&parameters);
        }
        self.up_to = newest;
        Ok(())
    }

    pub(super) fn has_output(&self, output: &OutputFile) -> bool {
        self.words.contains(&output.directory)
    }

    pub(super) fn has_file(&self, file: &FileRecord) -> bool {
        self.words.contains(&file.directory) || self.words.contains(&file.name)
    }

    fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                self.words.insert(safe_name(text));
                self.words.extend(text.split('/').map(str::to_owned));
            }
            Value::Array(values) => values.iter().for_each(|value| self.add(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.add(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
