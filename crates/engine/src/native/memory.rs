//! How much memory models may take: what the operator says, or what the machine has.

use std::path::Path;
use std::sync::Arc;

/// What is kept free of the memory that models may take: the program itself, pages on their way into packed
/// weights, prompts and pictures. An eighth of the limit, and this much at most.
const RESERVE_BYTES: u64 = 1 << 30;

/// A machine's memory, or that of the group of processes that this one is confined to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it, in bytes.
    pub total_bytes: u64,
    /// What programs can still have, in bytes.
    pub available_bytes: u64,
}

/// Says how much there is at the moment; `None` where nobody knows.
pub type MemoryProbe = Arc<dyn Fn() -> Option<Memory> + Send + Sync>;

/// How much memory all models and what they draw may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryLimit {
    /// What is free when a model is to be loaded.
    #[default]
    Machine,
    /// This many bytes, whatever else runs on the machine.
    Bytes(u64),
}

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes when nothing else took any.
    pub ever_bytes: u64,
    /// Bytes now, those included that models hold already.
    pub now_bytes: u64,
}

impl MemoryLimit {
    /// What there is room for, while models hold `held_bytes`.
    pub fn room(self, held_bytes: u64, probe: &MemoryProbe) -> Room {
        let memory = match self {
            Self::Bytes(bytes) => {
                let bytes = less_reserve(bytes);
                return Room {
                    ever_bytes: bytes,
                    now_bytes: bytes,
                };
            }
            Self::Machine => probe(),
        };
        let Some(memory) = memory else {
            return Room {
                ever_bytes: u64::MAX,
                now_bytes: u64::MAX,
            };
        };
        let now = memory.total_bytes.min(memory.available_bytes + held_bytes);
        Room {
            ever_bytes: less_reserve(memory.total_bytes),
            now_bytes: less_reserve(now),
        }
    }
}

fn less_reserve(bytes: u64) -> u64 {
    bytes - (bytes / 8).min(RESERVE_BYTES)
}

/// What the system says: of the machine, or of the control groups of this process where they are tighter.
/// `None` where it says nothing.
pub fn of_this_machine() -> Option<Memory> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    };
    let machine = Memory {
        total_bytes: bytes("MemTotal:")?,
        available_bytes: bytes("MemAvailable:")?,
    };
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    Some(within_groups(
        machine,
        Path::new("/sys/fs/cgroup"),
        own.unwrap_or_default(),
    ))
}

/// The tightest of the machine and the control groups (version 2) from `group` up to `root`.
fn within_groups(machine: Memory, root: &Path, group: &str) -> Memory {
    let groups = Path::new(group).ancestors().map(|group| root.join(group));
    groups.fold(machine, |memory, group| match memory_of(&group) {
        Some(bound) => Memory {
            total_bytes: memory.total_bytes.min(bound.total_bytes),
            available_bytes: memory.available_bytes.min(bound.available_bytes),
        },
        None => memory,
    })
}

/// A group's own bound; `None` if it has none.
fn memory_of(group: &Path) -> Option<Memory> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    let total_bytes: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    // Pages of files count as used, and go as soon as memory is asked for.
    let statistics = read("memory.stat").unwrap_or_default();
    let files = statistics
        .lines()
        .find_map(|line| line.strip_prefix("inactive_file "));
    let files: u64 = files.and_then(|text| text.parse().ok()).unwrap_or_default();
    Some(Memory {
        total_bytes,
        available_bytes: total_bytes.saturating_sub(used.saturating_sub(files)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn what_models_hold_counts_as_theirs_and_a_reserve_stays() {
        let probe: MemoryProbe = Arc::new(|| {
            Some(Memory {
                total_bytes: 24 * GIB,
                available_bytes: 6 * GIB,
            })
        });
        let room = |limit: MemoryLimit| {
            let room = limit.room(10 * GIB, &probe);
            (room.ever_bytes / GIB, room.now_bytes / GIB)
        };
        assert_eq!(room(MemoryLimit::Machine), (23, 15));
        assert_eq!(room(MemoryLimit::Bytes(12 * GIB)), (11, 11));
        assert_eq!(room(MemoryLimit::Bytes(GIB)), (0, 0), "7/8 of it");
        assert_eq!(less_reserve(GIB), GIB / 8 * 7);
        let unknown: MemoryProbe = Arc::new(|| None);
        assert_eq!(MemoryLimit::Machine.room(0, &unknown).now_bytes, u64::MAX);
    }

    #[test]
    fn a_group_of_processes_may_have_less_than_the_machine() {
        let root = tempfile::tempdir().expect("a folder");
        let group = root.path().join("system.slice/tintype.service");
        std::fs::create_dir_all(&group).expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(group.join(name), text).expect("a file");
        };
        let machine = Memory {
            total_bytes: 64 * GIB,
            available_bytes: 60 * GIB,
        };
        let found = || within_groups(machine, root.path(), "system.slice/tintype.service");
        assert_eq!(found(), machine);
        write("memory.max", "max\n");
        write("memory.current", "3000000000\n");
        assert_eq!(found(), machine);
        write("memory.max", "17179869184\n");
        write("memory.current", "5368709120\n");
        write("memory.stat", "anon 1\ninactive_file 1073741824\n");
        let bound = Memory {
            total_bytes: 16 * GIB,
            available_bytes: 12 * GIB,
        };
        assert_eq!(found(), bound);
    }
}
