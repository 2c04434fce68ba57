//! A read-only memory-mapped file: how weights of many gigabytes are opened without reading them.
#![expect(
    unsafe_code,
    reason = "mapping a file is unsafe by nature: another process could truncate it"
)]

use std::{
    fs::File,
    io,
    ops::{Deref, Range},
    path::Path,
};

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

    /// Says that these bytes will not be read again soon: their pages stop counting as this process's
    /// memory. Reading them still works, from the file. Only on Unix; a hint, so nothing fails.
    pub fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if !range.is_empty() && range.end <= self.0.len() {
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the mapping is shared and read-only, so pages that are given up come back with
            // the same bytes when somebody reads them.
            let _ = unsafe {
                self.0
                    .unchecked_advise_range(advice, range.start, range.len())
            };
        }
        #[cfg(not(unix))]
        drop(range);
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
