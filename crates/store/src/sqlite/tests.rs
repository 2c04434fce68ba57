//! Tests of the store on SQLite: the suite that all stores pass, and what only this one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::SqliteStore;
use crate::Store;
use crate::conformance;

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
