//! The machine's memory, and what a model wants of it.

use std::path::Path;

/// Folders within a model's folder that are looked into: `transformer/`, `text_encoder_2/`.
const DEPTH: u32 = 1;

/// The machine's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it, in bytes.
    pub total_bytes: u64,
    /// What programs can still have, in bytes.
    pub available_bytes: u64,
}

/// What the system says; `None` where it does not.
pub fn of_this_machine() -> Option<Memory> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kilobytes * 1024)
    };
    Some(Memory {
        total_bytes: bytes("MemTotal:")?,
        available_bytes: bytes("MemAvailable:")?,
    })
}

/// Bytes of the weights in a model's folder: the least memory that they can do with.
pub fn weights_bytes(folder: &Path) -> u64 {
    bytes_within(folder, DEPTH)
}

fn bytes_within(folder: &Path, depth: u32) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| {
        let path = entry.path();
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() && depth > 0 => bytes_within(&path, depth - 1),
            Ok(found) if path.extension().is_some_and(|end| end == "safetensors") => found.len(),
            _ => 0,
        }
    });
    bytes.sum()
}

/// For people.
pub fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_counted_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: usize| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, vec![0; bytes]).expect("a file");
        };
        write("model_index.json", 5);
        write("transformer/a.safetensors", 100);
        write("vae/b.safetensors", 20);
        write("vae/config.json", 7);
        assert_eq!(weights_bytes(folder.path()), 120);
        assert_eq!(weights_bytes(Path::new("/nowhere")), 0);
    }
}
