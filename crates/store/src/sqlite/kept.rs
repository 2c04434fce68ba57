//! Rows that many tasks of one batch change: read once, written once.
//!
//! The counts of a tool and the account of a project change with every task that is queued or
//! ends. Within a batch they are kept here, and written before its commit.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;

use crate::Error;

/// The rows of one table, as the batch has made them so far.
#[derive(Debug)]
pub(super) struct Kept<K, V>(RefCell<HashMap<K, Row<V>>>);

#[derive(Debug)]
struct Row<V> {
    value: V,
    changed: bool,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: Eq + Hash + Clone, V> Kept<K, V> {
    /// Looks at a row, which is loaded if it was not yet.
    pub(super) fn look<T>(
        &self,
        key: &K,
        load: impl FnOnce() -> Result<V, Error>,
        look: impl FnOnce(&V) -> T,
    ) -> Result<T, Error> {
        self.visit(key, load, |row| look(&row.value))
    }

    /// Changes a row, which is loaded if it was not yet.
    pub(super) fn change<T>(
        &self,
        key: &K,
        load: impl FnOnce() -> Result<V, Error>,
        change: impl FnOnce(&mut V) -> T,
    ) -> Result<T, Error> {
        self.visit(key, load, |row| {
            row.changed = true;
            change(&mut row.value)
        })
    }

    fn visit<T>(
        &self,
        key: &K,
        load: impl FnOnce() -> Result<V, Error>,
        visit: impl FnOnce(&mut Row<V>) -> T,
    ) -> Result<T, Error> {
        let mut rows = self.0.borrow_mut();
        if let Some(row) = rows.get_mut(key) {
            return Ok(visit(row));
        }
        let value = load()?;
        let changed = false;
        let row = rows.entry(key.clone()).or_insert(Row { value, changed });
        Ok(visit(row))
    }

    /// Gives up all rows: the next look loads them again. Those that were changed come back, to be
    /// written or, if what changed them is undone, to be dropped.
    pub(super) fn take_changed(&self) -> Vec<(K, V)> {
        let rows = self.0.take().into_iter();
        rows.filter(|(_, row)| row.changed)
            .map(|(key, row)| (key, row.value))
            .collect()
    }
}
