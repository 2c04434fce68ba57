//! Somebody who watches a component load: told of every tensor, and able to stop it there.

use std::{fmt, ops::ControlFlow, sync::Arc};

use super::{Error, Weights};

/// How much of a component has been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenBytes {
    /// Bytes of the tensors that were taken, as they are stored.
    pub taken_bytes: u64,
    /// Bytes of all of them.
    pub total_bytes: u64,
}

/// Is told of every tensor before it is read; [`ControlFlow::Break`] stops the load.
pub type Watch = Arc<dyn Fn(TakenBytes) -> ControlFlow<()> + Send + Sync>;

/// A watch and what it was told last.
pub(super) struct Watched {
    watch: Watch,
    bytes: TakenBytes,
}

impl Watched {
    /// One more tensor is about to be read.
    pub fn tell(&mut self, bytes: usize) -> Result<(), Error> {
        let told = (self.watch)(self.bytes);
        self.bytes.taken_bytes += bytes as u64;
        match told {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Stopped),
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

impl Weights {
    /// Has somebody watch how the tensors are taken; see [`Watch`].
    pub fn watched(mut self, watch: Watch) -> Self {
        let bytes = TakenBytes {
            taken_bytes: 0,
            total_bytes: self.stored_bytes(),
        };
        self.watched = Some(Watched { watch, bytes });
        self
    }

    /// Bytes of the tensors that were not taken yet, as they are stored.
    pub fn stored_bytes(&self) -> u64 {
        let entries = self.tensors.values();
        let bytes = entries.map(|entry| entry.bytes_left() as u64);
        bytes.sum()
    }
}
