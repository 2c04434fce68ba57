//! What a server knows of its engines, in a small file beside its data: `tintype doctor` shows it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tintype_engine::BreakerObserver;

/// The file in the data folder.
const FILE_NAME: &str = "engines.json";

/// How an engine stood when that changed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineState {
    /// When it changed, in unix seconds.
    pub since: u64,
    /// Until when it is left alone; `None`: it works.
    pub open_until: Option<u64>,
    /// Why it is left alone.
    #[serde(default)]
    pub reason: String,
}

/// States by the names of engines.
pub type EngineStates = BTreeMap<String, EngineState>;

/// The states that the last server wrote; empty if it had nothing to write.
pub fn read(data: &Path) -> EngineStates {
    let text = std::fs::read_to_string(data.join(FILE_NAME)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// Unix seconds.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Writes the file.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
    states: Arc<Mutex<EngineStates>>,
}

impl StateFile {
    /// In a data folder. What an earlier server wrote is forgotten.
    pub fn in_folder(data: &Path) -> Self {
        let path = data.join(FILE_NAME);
        // There may be none.
        drop(std::fs::remove_file(&path));
        Self {
            path,
            states: Arc::default(),
        }
    }

    /// Writes every change of a breaker. Changes are minutes apart when an engine is in trouble, and
    /// the file has a line for each engine, so nobody waits for it.
    pub fn observer(&self) -> BreakerObserver {
        let file = self.clone();
        Box::new(move |change| {
            let since = now();
            let state = EngineState {
                since,
                open_until: change.open.map(|(pause, _)| since + pause.as_secs()),
                reason: change
                    .open
                    .map(|(_, why)| why.message.clone())
                    .unwrap_or_default(),
            };
            file.write(change.name, state);
        })
    }

    fn write(&self, name: &str, state: EngineState) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.insert(name.to_owned(), state);
        let text = serde_json::to_string_pretty(&*states).unwrap_or_default();
        // Beside and over: a reader finds the old file or the new one.
        let new = self.path.with_extension("json.new");
        let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &self.path));
        if let Err(error) = written {
            tracing::debug!(error = %error, "the states of the engines were not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tintype_engine::{Breaker, Reason, Unavailable};

    use super::*;

    #[test]
    fn what_a_breaker_does_is_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = StateFile::in_folder(folder.path());
        assert!(read(folder.path()).is_empty());
        let breaker = Breaker::new("bfl").observed(file.observer());
        let start = Instant::now();
        let why = Unavailable::new(Reason::OutOfCredit, "pay");
        breaker.admit(start).expect("closed").failed(&why, start);
        let state = read(folder.path())["bfl"].clone();
        assert_eq!(
            (state.open_until, state.reason.as_str()),
            (Some(state.since + 60), "pay")
        );
        let later = start + Duration::from_secs(60);
        breaker.admit(later).expect("half open").succeeded();
        assert_eq!(read(folder.path())["bfl"].open_until, None);
        StateFile::in_folder(folder.path());
        assert!(
            read(folder.path()).is_empty(),
            "a new server knows nothing yet"
        );
    }
}
