//! What the operations of one transaction share: the connection, the rows that all of them change,
//! and what is said after the commit.

use std::cell::{Cell, RefCell};
use std::ops::Deref;

use rusqlite::Connection;
use tintype_domain::{Event, ProjectId, ToolSlug};

use super::accounts::{self, Standing};
use super::kept::Kept;
use super::tool_stats::{self, Counts};
use crate::Error;

/// A transaction of the writer, as the operations in it see it. It stands for its connection
/// wherever one is asked for.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    connection: &'a Connection,
    events: RefCell<Vec<Event>>,
    savepoint: Cell<usize>,
    pub(super) accounts: Kept<ProjectId, Standing>,
    pub(super) prices: Kept<(ProjectId, ToolSlug), i64>,
    /// The present of the fair queue, for each priority.
    pub(super) virtual_times: Kept<i32, i64>,
    pub(super) tools: Kept<ToolSlug, Counts>,
}

impl<'a> Batch<'a> {
    /// A transaction that has just begun.
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            events: RefCell::default(),
            savepoint: Cell::new(0),
            accounts: Kept::default(),
            prices: Kept::default(),
            virtual_times: Kept::default(),
            tools: Kept::default(),
        }
    }

    /// Keeps an event for those who follow, until the commit.
    pub(super) fn tell(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// Writes the rows that were kept and changed. Must come before the commit, and before an
    /// operation that reads or writes their tables by itself.
    pub(super) fn write_kept(&self) -> Result<(), Error> {
        self.prices.take_changed();
        for (project, standing) in self.accounts.take_changed() {
            accounts::write(self, project, &standing)?;
        }
        for (priority, tag) in self.virtual_times.take_changed() {
            accounts::write_virtual_time(self, priority, tag)?;
        }
        for (tool, counts) in self.tools.take_changed() {
            tool_stats::write(self, &tool, &counts)?;
        }
        Ok(())
    }

    /// From here on, [`Batch::undo`] forgets. Nothing may be kept that is not written.
    pub(super) fn mark(&self) {
        self.savepoint.set(self.events.borrow().len());
    }

    /// Forgets what was kept since the last mark: it has not happened.
    pub(super) fn undo(&self) {
        self.events.borrow_mut().truncate(self.savepoint.get());
        self.prices.take_changed();
        self.accounts.take_changed();
        self.virtual_times.take_changed();
        self.tools.take_changed();
    }

    /// What is to be said after the commit.
    pub(super) fn into_events(self) -> Vec<Event> {
        self.events.into_inner()
    }
}

impl Deref for Batch<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection
    }
}
