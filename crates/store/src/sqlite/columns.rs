//! Reading a row from its first column to its last.
//!
//! Looking a column up by its name compares it with the names of all others, each time. Rows that
//! are read for every task are read in the order of a list of columns instead, which stands beside
//! the function that reads them.

use std::cell::Cell;

use rusqlite::Row;
use rusqlite::types::{FromSql, Type};
use serde::de::DeserializeOwned;
use tintype_domain::UnixMillis;

/// A row, and how far it has been read.
pub(super) struct Columns<'a> {
    row: &'a Row<'a>,
    next: Cell<usize>,
}

impl<'a> Columns<'a> {
    /// At the first column.
    pub(super) fn of(row: &'a Row<'a>) -> Self {
        Self {
            row,
            next: Cell::new(0),
        }
    }

    /// The next column.
    pub(super) fn next<T: FromSql>(&self) -> rusqlite::Result<T> {
        let index = self.next.get();
        self.next.set(index + 1);
        self.row.get(index)
    }

    /// The next column, a time that may not be set.
    pub(super) fn time(&self) -> rusqlite::Result<Option<UnixMillis>> {
        Ok(self.next::<Option<i64>>()?.map(UnixMillis))
    }

    /// The next column, as `read` makes it of its text.
    pub(super) fn text<T, E: std::fmt::Display>(
        &self,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> rusqlite::Result<T> {
        let index = self.next.get();
        self.next.set(index + 1);
        let text = self.row.get_ref(index)?.as_str()?;
        read(text).map_err(|error| {
            let column = self.row.as_ref().column_name(index).unwrap_or("?");
            let reason = format!("column {column}: {error}");
            rusqlite::Error::FromSqlConversionFailure(index, Type::Text, reason.into())
        })
    }

    /// The next column, JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> rusqlite::Result<T> {
        self.text(|text| serde_json::from_str(text))
    }
}
