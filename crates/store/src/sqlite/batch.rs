//! What the operations of one transaction share: the connection, and what is said after the commit.

use std::cell::{Cell, RefCell};
use std::ops::Deref;

use rusqlite::Connection;
use tintype_domain::Event;

/// A transaction of the writer, as the operations in it see it. It stands for its connection
/// wherever one is asked for.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    connection: &'a Connection,
    events: RefCell<Vec<Event>>,
    savepoint: Cell<usize>,
}

impl<'a> Batch<'a> {
    /// A transaction that has just begun.
    pub(super) fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            events: RefCell::default(),
            savepoint: Cell::new(0),
        }
    }

    /// Keeps an event for those who follow, until the commit.
    pub(super) fn tell(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// From here on, [`Batch::undo`] forgets.
    pub(super) fn mark(&self) {
        self.savepoint.set(self.events.borrow().len());
    }

    /// Forgets what was kept since the last mark: it has not happened.
    pub(super) fn undo(&self) {
        self.events.borrow_mut().truncate(self.savepoint.get());
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
