//! A cache on its way to the disk.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Seek, Write},
    path::PathBuf,
};

use tintype_compute::{Linear, PackedImage, PackedPart};

use super::{Contents, Entry, MAGIC, Place, checksum, warn_unwritten};

/// A file that is not complete yet.
pub struct Writer {
    place: Place,
    /// What it is called until it is complete.
    unfinished: PathBuf,
    file: File,
    end: usize,
    layers: BTreeMap<String, Entry>,
    /// The first error: nothing is written after it.
    failed: Option<io::Error>,
}

impl Writer {
    /// `None` if another process is writing the same cache.
    ///
    /// # Errors
    /// What cannot be written, and why.
    pub(super) fn create(place: Place) -> Result<Option<Self>, (PathBuf, io::Error)> {
        let unfinished = place.path.with_extension("unfinished");
        let create = || {
            fs::create_dir_all(&place.folder)?;
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&unfinished)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Ok(None),
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
            // Only now: what was there may have been somebody else's.
            file.set_len(0)?;
            Ok(Some(file))
        };
        match create() {
            Ok(file) => Ok(file.map(|file| Self {
                place,
                unfinished,
                file,
                end: 0,
                layers: BTreeMap::new(),
                failed: None,
            })),
            Err(error) => Err((unfinished, error)),
        }
    }

    /// Writes one layer.
    pub fn add(&mut self, name: &str, layer: &Linear, image: PackedImage<'_>) {
        if self.failed.is_some() {
            return;
        }
        let start = self.end.next_multiple_of(PackedPart::ALIGNMENT);
        let write = || {
            (&self.file).seek(io::SeekFrom::Start(start as u64))?;
            (&self.file).write_all(image.bytes)
        };
        self.failed = write().err();
        self.end = start + image.bytes.len();
        let entry = Entry {
            form: image.form.into_owned(),
            start,
            length: image.bytes.len(),
            in_features: layer.in_features(),
            out_features: layer.out_features(),
        };
        self.layers.insert(name.to_owned(), entry);
    }

    /// Writes the list, gives the file its name and removes its predecessors.
    pub fn finish(mut self) {
        let written = match self.failed.take() {
            Some(error) => Err(error),
            None => self.complete(),
        };
        match written {
            Ok(()) => self.remove_stale(),
            Err(error) => warn_unwritten(&self.place.path, &error),
        }
    }

    fn complete(&mut self) -> io::Result<()> {
        let contents = Contents {
            identity: self.place.identity.clone(),
            layers: std::mem::take(&mut self.layers),
        };
        let list = serde_json::to_vec(&contents)?;
        self.file.seek(io::SeekFrom::Start(self.end as u64))?;
        self.file.write_all(&list)?;
        self.file.write_all(&(list.len() as u64).to_le_bytes())?;
        self.file.write_all(&checksum(&list).to_le_bytes())?;
        self.file.write_all(MAGIC)?;
        // On the disk before it has its name: else a power cut could leave a name over zeros.
        self.file.sync_all()?;
        fs::rename(&self.unfinished, &self.place.path)
    }

    /// Caches of the same component from weights that have changed since. Whoever still has one mapped
    /// keeps it until it ends.
    fn remove_stale(&self) {
        let Ok(entries) = fs::read_dir(&self.place.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let predecessor = name.starts_with(&self.place.prefix) && name.ends_with(".packed");
            if predecessor && entry.path() != self.place.path {
                // One that stays only takes room.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Writer {
    /// A model that did not load, or a disk that is full, leaves nothing behind.
    fn drop(&mut self) {
        // Gone already if it was completed.
        let _ = fs::remove_file(&self.unfinished);
    }
}
