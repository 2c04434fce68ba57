//! What an engine remembers of a job that it gave to somebody else.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What somebody else gave out for a job, so that a further try of the same job asks for that
/// instead of ordering, and paying, again. All clones are one. It lives as long as the process: it
/// may open what it stands for, so it is neither kept nor shown.
#[derive(Clone, Default)]
pub struct Receipt(Arc<Mutex<Option<String>>>);

impl Receipt {
    /// What was kept last.
    pub fn get(&self) -> Option<String> {
        self.kept().clone()
    }

    /// Keeps what was given out.
    pub fn keep(&self, text: String) {
        *self.kept() = Some(text);
    }

    /// Forgets it: nothing is to be had for it any more.
    pub fn forget(&self) {
        *self.kept() = None;
    }

    /// A text has no invariants that a panic could break.
    fn kept(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = if self.kept().is_some() {
            "kept"
        } else {
            "none"
        };
        write!(f, "Receipt({kept})")
    }
}
