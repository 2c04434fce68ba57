//! Packed layers kept on disk, so that the second start reads no weights and packs nothing: the layers
//! are mapped and used where they lie.
//!
//! One file for each component, device layout and place of the weights. It holds the layers' images,
//! each on pages of its own, then a list of them with the identity of what they were made from, the
//! length and checksum of that list, and a magic word: a file that was cut short has none. It is written
//! under another name and takes its own when it is complete and on the disk. A cache that is stale is
//! replaced; one that is damaged is a warning and is replaced, too; one that cannot be written is a
//! warning. Never does a model fail to load for its cache.

mod reader;
mod writer;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde::{Deserialize, Serialize};
use tintype_compute::{Device, Linear, Tensor};

use super::{Bytes, File, Weights};
use reader::Reader;
use writer::Writer;

/// The last bytes of every cache file.
const MAGIC: &[u8; 8] = b"tt-pack1";

/// Length and checksum of the list, and the magic word.
const TRAILER_BYTES: usize = 24;

/// What is in a cache file, and of what.
#[derive(Debug, Deserialize, Serialize)]
struct Contents {
    /// The weights' files and how they were packed.
    identity: String,
    /// By the names of the layer's tensors.
    layers: BTreeMap<String, Entry>,
}

/// One layer.
#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    form: String,
    start: usize,
    length: usize,
    in_features: usize,
    out_features: usize,
}

/// A component's cache while its model loads.
pub(super) enum PackedCache {
    /// There is one: layers come from it.
    Reading(Reader),
    /// There is none: layers are added to it.
    Writing(Writer),
}

impl PackedCache {
    /// The layer of these tensors, if it is kept.
    pub fn layer(&self, device: &dyn Device, name: &str, bias: Option<&Tensor>) -> Option<Linear> {
        match self {
            Self::Reading(reader) => reader.layer(device, name, bias),
            Self::Writing(_) => None,
        }
    }

    /// Keeps a layer that was packed.
    pub fn add(&mut self, device: &dyn Device, name: &str, layer: &Linear) {
        if let (Self::Writing(writer), Some(image)) = (self, device.linear_image(layer)) {
            writer.add(name, layer, image);
        }
    }

    /// The model is loaded.
    pub fn finish(self) {
        if let Self::Writing(writer) = self {
            writer.finish();
        }
    }
}

impl Weights {
    /// Keeps packed layers in `folder`, or takes them from there if an earlier start has kept them.
    /// `device` is the one that will pack. Call it last, before a model takes the weights. Weights that
    /// do not come from files, and devices that make no images of layers, are kept nowhere.
    pub fn with_packed_cache(mut self, folder: &Path, device: &dyn Device) -> Self {
        self.cache = device
            .packed_layout()
            .and_then(|layout| Place::of(&self, folder, &layout))
            .and_then(Place::open);
        self
    }
}

/// Where a cache lies, and what must be in it.
struct Place {
    folder: PathBuf,
    /// What the names of all caches of this component and layout begin with.
    prefix: String,
    path: PathBuf,
    identity: String,
}

impl Place {
    /// `None` for weights that do not lie in files.
    fn of(weights: &Weights, folder: &Path, layout: &str) -> Option<Self> {
        let files: Option<Vec<String>> = weights.files.iter().map(identity_of).collect();
        let files = files.filter(|files| !files.is_empty())?;
        let component = fs::canonicalize(weights.place.as_ref()?).ok()?;
        let naming = weights.naming.as_ref().map_or("", |naming| &naming.label);
        let how = format!("{layout}, rounded: {}, {naming}", weights.rounded);
        let place = format!("{how}\n{}", component.display());
        let identity = format!("{how}\n{}", files.join("\n"));
        let name = component.file_name()?.to_string_lossy().into_owned();
        let prefix = format!("{name}-{:016x}-", checksum(place.as_bytes()));
        let file = format!("{prefix}{:016x}.packed", checksum(identity.as_bytes()));
        Some(Self {
            folder: folder.to_owned(),
            path: folder.join(file),
            prefix,
            identity,
        })
    }

    fn open(self) -> Option<PackedCache> {
        match Reader::open(&self) {
            Ok(Some(reader)) => return Some(PackedCache::Reading(reader)),
            Ok(None) => {}
            Err(reason) => tracing::warn!(
                cache.path = %self.path.display(),
                reason,
                "the packed weights cannot be used and are made anew"
            ),
        }
        match Writer::create(self) {
            Ok(writer) => writer.map(PackedCache::Writing),
            Err((path, error)) => {
                warn_unwritten(&path, &error);
                None
            }
        }
    }
}

fn warn_unwritten(path: &Path, error: &io::Error) {
    tracing::warn!(
        cache.path = %path.display(),
        %error,
        "packed weights are not kept; make the folder of compute.packed_cache writable, with room \
         for the model, or take the setting out"
    );
}

/// What tells a file of weights from any other: its place, size and time, and its header.
fn identity_of(file: &File) -> Option<String> {
    let Bytes::Mapped(bytes) = &*file.bytes else {
        return None;
    };
    let path = fs::canonicalize(&file.name).ok()?;
    let metadata = fs::metadata(&path).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let header = checksum(&bytes[..file.header.end]);
    Some(format!(
        "{}, {} bytes, modified {}, header {header:016x}",
        path.display(),
        metadata.len(),
        modified.as_nanos(),
    ))
}

/// FNV-1a with 64 bits: against accidents, not against malice. Whoever may write to the cache's folder
/// may as well write to the model's.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
