//! Tests of the store on SQLite: the suite that all stores pass, and what only this one does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use tintype_domain::ProjectId;

use super::SqliteStore;
use crate::Store;
use crate::conformance::{self, Bench};

mod faults;
mod kill;
mod migrating;
mod model;
mod opening;
mod outbox;
mod retention;
mod writing;

/// A folder of a test's own, and the database in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a temporary folder"),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tasks.db")
    }

    fn open(&self) -> Arc<SqliteStore> {
        Arc::new(SqliteStore::open(&self.path()).expect("the store opens"))
    }

    /// The words of the conformance checks, for a store that was here before.
    fn reopen(&self, project: ProjectId) -> Bench {
        Bench {
            store: self.open(),
            project,
        }
    }
}

/// The words of the conformance checks, for a store with no project yet.
async fn bench(store: &Arc<SqliteStore>) -> Bench {
    Bench::new(Arc::clone(store) as Arc<dyn Store>).await
}

/// What a plain connection of another program sees.
fn query(path: &Path, query: &str) -> String {
    let connection = rusqlite::Connection::open(path).expect("the file opens");
    let value: rusqlite::types::Value = connection
        .query_row(query, (), |row| row.get(0))
        .expect("the query runs");
    match value {
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => panic!("{query} gave {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn passes_the_conformance_suite() {
    let folder = TempDir::new().expect("a temporary folder");
    let number = AtomicU32::new(0);
    conformance::run_all(async || {
        let name = format!("{}/tasks.db", number.fetch_add(1, Ordering::Relaxed));
        let store = SqliteStore::open(&folder.path().join(name)).expect("a fresh store");
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}
