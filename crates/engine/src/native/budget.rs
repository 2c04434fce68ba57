//! The one account of this program's memory: what all that computes may take together, what is set aside
//! for models that do not draw (one that rewrites prompts, one that judges pictures), and what drawing
//! takes of the rest.
//!
//! What is set aside stays set aside while its owner lives, whether it is loaded at the moment or not: so
//! nothing that draws ever has to go for it, and it never waits for a drawing to end.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StartError;
use super::memory::{self, MemoryLimit, MemoryProbe, Room};

/// Who may take how much of the memory.
pub struct Budget {
    limit: MemoryLimit,
    probe: MemoryProbe,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    /// Numbers what is set aside.
    next: u64,
    aside: Vec<Entry>,
    /// What models that draw were last allowed to take, LoRAs and work included.
    drawing_bytes: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    what: String,
    bytes: u64,
    in_memory: bool,
}

impl Account {
    fn aside_bytes(&self) -> u64 {
        self.aside.iter().map(|entry| entry.bytes).sum()
    }

    fn aside_in_memory_bytes(&self) -> u64 {
        let there = self.aside.iter().filter(|entry| entry.in_memory);
        there.map(|entry| entry.bytes).sum()
    }
}

impl Budget {
    /// Nothing is set aside yet.
    pub fn new(limit: MemoryLimit) -> Arc<Self> {
        Self::with_probe(limit, Arc::new(memory::of_this_machine))
    }

    /// The same, asking `probe` for the machine's memory.
    pub fn with_probe(limit: MemoryLimit, probe: MemoryProbe) -> Arc<Self> {
        Arc::new(Self {
            limit,
            probe,
            account: Mutex::default(),
        })
    }

    /// Keeps room for `what`, as long as the result lives.
    ///
    /// # Errors
    /// [`StartError::NoRoomAside`] if it does not fit beside what is there already.
    pub fn set_aside(
        self: &Arc<Self>,
        what: impl Into<String>,
        bytes: u64,
    ) -> Result<SetAside, StartError> {
        let what = what.into();
        let mut account = self.account();
        let room = self.room_beside(&account, account.drawing_bytes);
        let left = room.ever_bytes.saturating_sub(account.drawing_bytes);
        if bytes > left {
            return Err(StartError::NoRoomAside {
                what,
                needed_bytes: bytes,
                room_bytes: left,
            });
        }
        let number = account.next;
        account.next += 1;
        account.aside.push(Entry {
            number,
            what,
            bytes,
            in_memory: false,
        });
        Ok(SetAside {
            budget: self.clone(),
            number,
        })
    }

    /// What is set aside: for what, and how many bytes.
    pub fn aside(&self) -> Vec<(String, u64)> {
        let account = self.account();
        let aside = account.aside.iter();
        aside
            .map(|entry| (entry.what.clone(), entry.bytes))
            .collect()
    }

    /// All that may be taken at the moment: what is set aside, and what drawing was last allowed.
    pub fn claimed_bytes(&self) -> u64 {
        let account = self.account();
        account.aside_bytes() + account.drawing_bytes
    }

    /// What there is room for, while models that draw hold `held_bytes`.
    pub(super) fn room(&self, held_bytes: u64) -> Room {
        self.room_beside(&self.account(), held_bytes)
    }

    /// Allows models that draw, which hold `held_bytes` now, to take `needed_bytes` from now on.
    ///
    /// # Errors
    /// What there is room for, if that is less.
    pub(super) fn draw_with(&self, needed_bytes: u64, held_bytes: u64) -> Result<(), Room> {
        let mut account = self.account();
        let room = self.room_beside(&account, held_bytes);
        if needed_bytes > room.now_bytes {
            return Err(room);
        }
        account.drawing_bytes = needed_bytes;
        Ok(())
    }

    fn room_beside(&self, account: &Account, held_bytes: u64) -> Room {
        let held = held_bytes + account.aside_in_memory_bytes();
        let room = self.limit.room(held, &self.probe);
        let less_aside = |bytes: u64| bytes.saturating_sub(account.aside_bytes());
        Room {
            ever_bytes: less_aside(room.ever_bytes),
            now_bytes: less_aside(room.now_bytes),
        }
    }

    /// Every change is one assignment: a panic leaves nothing half done.
    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, account) = (self.limit, self.account());
        write!(f, "Budget({limit:?}, {account:?})")
    }
}

/// Memory that is kept for one thing; given back when it is dropped.
#[derive(Debug)]
pub struct SetAside {
    budget: Arc<Budget>,
    number: u64,
}

impl SetAside {
    /// Says whether the thing is in memory at the moment: what the machine has free then does not count it
    /// twice.
    pub fn is_in_memory(&self, in_memory: bool) {
        let mut account = self.budget.account();
        let own = |entry: &&mut Entry| entry.number == self.number;
        if let Some(entry) = account.aside.iter_mut().find(own) {
            entry.in_memory = in_memory;
        }
    }
}

impl Drop for SetAside {
    fn drop(&mut self) {
        let mut account = self.budget.account();
        account.aside.retain(|entry| entry.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::Memory;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_is_set_aside_is_not_there_for_drawing_until_it_is_given_back() {
        let budget = Budget::new(MemoryLimit::Bytes(9 * GIB));
        assert_eq!(budget.room(0).now_bytes, 8 * GIB, "less the reserve");
        let language = budget.set_aside("a language model", 2 * GIB).expect("fits");
        let room = budget.room(0);
        assert_eq!((room.ever_bytes, room.now_bytes), (6 * GIB, 6 * GIB));
        assert_eq!(budget.draw_with(7 * GIB, 0), Err(room));
        assert_eq!(budget.draw_with(6 * GIB, 0), Ok(()));
        assert_eq!(budget.claimed_bytes(), 8 * GIB);
        let refused = budget.set_aside("a classifier", 1).map(drop);
        let refused = refused.expect_err("drawing has it").to_string();
        assert!(refused.contains("a classifier"), "{refused}");
        assert!(refused.contains("memory_gb"), "{refused}");
        drop(language);
        assert!(budget.set_aside("a classifier", GIB).is_ok());
        assert!(budget.aside().is_empty(), "it was given back at once");
    }

    #[test]
    fn what_is_loaded_already_is_not_missing_twice() {
        let probe: MemoryProbe = Arc::new(|| {
            Some(Memory {
                total_bytes: 25 * GIB,
                available_bytes: 9 * GIB,
            })
        });
        let budget = Budget::with_probe(MemoryLimit::Machine, probe);
        let aside = budget.set_aside("a language model", 2 * GIB).expect("fits");
        assert_eq!(budget.room(0).now_bytes, 6 * GIB, "it will come");
        aside.is_in_memory(true);
        assert_eq!(budget.room(0).now_bytes, 8 * GIB, "it has come");
        assert_eq!(budget.room(0).ever_bytes, 22 * GIB);
    }
}
