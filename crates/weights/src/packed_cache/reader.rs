//! A cache that is there.

use std::{io, sync::Arc};

use tintype_compute::{Device, Linear, MappedFile, PackedPart, Tensor};

use super::{Contents, Entry, MAGIC, Place, TRAILER_BYTES, checksum};

/// A mapped cache file whose list was read and checked.
pub struct Reader {
    file: Arc<MappedFile>,
    contents: Contents,
}

impl Reader {
    /// `None` if there is no such cache.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(place: &Place) -> Result<Option<Self>, String> {
        let file = match MappedFile::open(&place.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let contents = read_contents(&file, &place.identity)?;
        let file = Arc::new(file);
        Ok(Some(Self { file, contents }))
    }

    /// The layer of these tensors.
    pub fn layer(&self, device: &dyn Device, name: &str, bias: Option<&Tensor>) -> Option<Linear> {
        let entry = self.contents.layers.get(name)?;
        let part = PackedPart {
            form: &entry.form,
            file: self.file.clone(),
            bytes: entry.start..entry.start + entry.length,
            in_features: entry.in_features,
            out_features: entry.out_features,
        };
        device.linear_of_image(&part, bias)
    }
}

fn read_contents(file: &[u8], identity: &str) -> Result<Contents, String> {
    let cut_short = || "it was cut short".to_owned();
    let end = file
        .len()
        .checked_sub(TRAILER_BYTES)
        .ok_or_else(cut_short)?;
    let ([length, sum, magic], _) = file[end..].as_chunks::<8>() else {
        return Err(cut_short());
    };
    if magic != MAGIC {
        return Err(cut_short());
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).ok();
    let start = length.and_then(|length| end.checked_sub(length));
    let start = start.ok_or("its list is longer than the file")?;
    let list = &file[start..end];
    if checksum(list) != u64::from_le_bytes(*sum) {
        return Err("its list is damaged".to_owned());
    }
    let contents: Contents = serde_json::from_slice(list).map_err(|error| error.to_string())?;
    if contents.identity != identity {
        return Err("it was made from other weights".to_owned());
    }
    let inside = |entry: &Entry| {
        let end_of_layer = entry.start.checked_add(entry.length);
        end_of_layer.is_some_and(|end| end <= start)
    };
    match contents.layers.values().all(inside) {
        true => Ok(contents),
        false => Err("a layer lies outside of it".to_owned()),
    }
}
