//! A read-only memory-mapped file: how weights of many gigabytes are opened without reading them.
#![expect(
    unsafe_code,
    reason = "mapping a file is unsafe by nature: another process could truncate it"
)]

use std::{fs::File, io, ops::Deref, path::Path};

/// The bytes of a file, mapped into memory on demand by the operating system.
///
/// The file must not be truncated or rewritten while it is mapped. Model folders are written once;
/// replace a model by writing a new folder beside the old one, never by writing into its files.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps `path` read-only. Fails as opening the file does.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the mapping is read-only and private to this value. That nobody truncates the file
        // meanwhile is the caller's promise, stated above; no code of this project writes model files
        // in place.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self(map))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
