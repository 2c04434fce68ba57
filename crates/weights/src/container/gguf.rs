//! GGUF files (ggml's `docs/gguf.md`): keys with values, the places of the tensors, then their bytes.

use std::collections::BTreeMap;

use tintype_compute::Encoding;

use super::{
    Format, Header, Kind, StoredTensor,
    metadata::{Entries, Metadata, ValueType},
    reading::Reading,
};

/// Where tensors begin if the file does not say it: on multiples of this.
const DEFAULT_ALIGNMENT: u64 = 32;

/// Sizes of a tensor at most, as in ggml.
const MAX_DIMENSIONS: u32 = 4;

/// Where ComfyUI's converter keeps the shape of a tensor that it had to flatten.
const ORIGINAL_SHAPE: &str = "comfy.gguf.orig_shape.";

pub fn read(bytes: &[u8]) -> Result<Header, String> {
    let mut reading = Reading::new(bytes, 4);
    check_version(reading.u32()?)?;
    let tensor_count = count(&mut reading, "tensors", LEAST_TENSOR_BYTES)?;
    let key_count = count(&mut reading, "keys", LEAST_KEY_BYTES)?;
    let entries = Entries::Typed(read_keys(&mut reading, key_count)?);
    let metadata = Metadata {
        bytes,
        entries: &entries,
    };
    let mut places = Vec::new();
    for _ in 0..tensor_count {
        places.push(read_place(&mut reading, &metadata)?);
    }
    let end = reading.position();
    let alignment = alignment(&metadata)?;
    let data_start = (end as u64).next_multiple_of(alignment);
    check_layout(&mut places, data_start, bytes.len() as u64, alignment)?;
    let mut tensors = BTreeMap::new();
    for place in places {
        let start = data_start + place.offset;
        let tensor = StoredTensor {
            shape: place.shape,
            kind: place.kind,
            // Within the file, so within what memory has addresses for.
            bytes: start as usize..(start + place.size) as usize,
        };
        if tensors.insert(place.name.to_owned(), tensor).is_some() {
            return Err(format!("it has two tensors `{}`", place.name));
        }
    }
    Ok(Header {
        format: Format::Gguf,
        tensors,
        entries,
        end,
    })
}

fn check_version(version: u32) -> Result<(), String> {
    match version {
        2 | 3 => Ok(()),
        1 => Err("it is GGUF of version 1, which nothing writes any more; convert it".to_owned()),
        _ if version.swap_bytes() <= 3 => {
            Err("it is GGUF for big-endian machines; fetch the ordinary one".to_owned())
        }
        _ => Err(format!(
            "it is GGUF of version {version}; 2 and 3 are understood"
        )),
    }
}

/// A key with its shortest value: two lengths of strings or types, and a byte.
const LEAST_KEY_BYTES: u64 = 8 + 4 + 1;

/// A tensor without name and sizes: length, number of sizes, type, offset.
const LEAST_TENSOR_BYTES: u64 = 8 + 4 + 4 + 8;

/// How many there are of something that takes at least so many bytes each.
fn count(reading: &mut Reading<'_>, what: &str, least: u64) -> Result<u64, String> {
    let count = reading.u64()?;
    match count.checked_mul(least) {
        Some(bytes) if bytes <= reading.left() as u64 => Ok(count),
        _ => Err(format!(
            "it claims {count} {what}, more than fit into it; fetch it again if it should be whole"
        )),
    }
}

type Keys = BTreeMap<String, (ValueType, std::ops::Range<usize>)>;

fn read_keys(reading: &mut Reading<'_>, count: u64) -> Result<Keys, String> {
    let mut keys = BTreeMap::new();
    for _ in 0..count {
        let name = reading.name()?;
        let kind = ValueType::read_type(reading)?;
        let start = reading.position();
        kind.skip(reading, 0)?;
        let value = (kind, start..reading.position());
        if keys.insert(name.to_owned(), value).is_some() {
            return Err(format!("it has two keys `{name}`"));
        }
    }
    Ok(keys)
}

/// A tensor as the file describes it.
struct Place<'a> {
    name: &'a str,
    shape: Vec<usize>,
    kind: Kind,
    /// From the beginning of the tensors on.
    offset: u64,
    /// 0 where it is not known.
    size: u64,
}

fn read_place<'a>(reading: &mut Reading<'a>, metadata: &Metadata<'_>) -> Result<Place<'a>, String> {
    let name = reading.name()?;
    let dimensions = reading.u32()?;
    if dimensions > MAX_DIMENSIONS {
        return Err(format!(
            "tensor `{name}` has {dimensions} sizes; GGUF allows {MAX_DIMENSIONS}"
        ));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = reading.u64()?;
        let size = usize::try_from(size).map_err(|_| too_large(name))?;
        // The first size varies fastest there.
        shape.insert(0, size);
    }
    let number = reading.u32()?;
    let kind = kind(number);
    let offset = reading.u64()?;
    let values = shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size));
    let values = values.ok_or_else(|| too_large(name))?;
    let size = match &kind {
        Kind::Other(_) => Some(0),
        Kind::Encoded(encoding) => {
            let row = shape.last().copied().unwrap_or(1);
            if row % encoding.block_values() != 0 {
                return Err(format!(
                    "tensor `{name}` has rows of {row} values, but {encoding} stores {} at a time",
                    encoding.block_values()
                ));
            }
            encoding.size_bytes(values)
        }
    };
    let size = size.ok_or_else(|| too_large(name))?;
    if let Some(original) = original_shape(metadata, name, values) {
        shape = original;
    }
    Ok(Place {
        name,
        shape,
        kind,
        offset,
        size: size as u64,
    })
}

fn too_large(name: &str) -> String {
    format!("tensor `{name}` claims to be larger than any memory")
}

fn original_shape(metadata: &Metadata<'_>, name: &str, values: usize) -> Option<Vec<usize>> {
    let sizes = metadata.array(&format!("{ORIGINAL_SHAPE}{name}"))?;
    let sizes = sizes.iter().map(|size| {
        let size = size.as_unsigned()?;
        usize::try_from(size).ok()
    });
    let shape: Vec<usize> = sizes.collect::<Option<_>>()?;
    let product = shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size));
    (product == Some(values)).then_some(shape)
}

fn alignment(metadata: &Metadata<'_>) -> Result<u64, String> {
    /// More would be no alignment but a hole.
    const MAX_ALIGNMENT: u64 = 1 << 20;
    let key = "general.alignment";
    let alignment = match metadata.get(key) {
        None => DEFAULT_ALIGNMENT,
        Some(value) => value.as_unsigned().unwrap_or(0),
    };
    match alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT {
        true => Ok(alignment),
        false => Err(format!(
            "its `{key}` is no power of two up to {MAX_ALIGNMENT}"
        )),
    }
}

/// Every tensor starts where it may, ends in the file, and overlaps no other.
fn check_layout(
    places: &mut [Place<'_>],
    data_start: u64,
    file_bytes: u64,
    alignment: u64,
) -> Result<(), String> {
    places.sort_by_key(|place| (place.offset, place.size));
    let mut before: Option<&Place<'_>> = None;
    for place in places.iter() {
        let name = place.name;
        if place.offset % alignment != 0 {
            return Err(format!(
                "tensor `{name}` does not start on a multiple of {alignment} bytes"
            ));
        }
        let end = data_start
            .checked_add(place.offset)
            .and_then(|start| start.checked_add(place.size));
        if end.is_none_or(|end| end > file_bytes) {
            return Err(format!(
                "tensor `{name}` ends after the file; it was cut short, fetch it again"
            ));
        }
        if let Some(before) = before.filter(|before| before.offset + before.size > place.offset) {
            return Err(format!("tensors `{}` and `{name}` overlap", before.name));
        }
        if place.size > 0 {
            before = Some(place);
        }
    }
    Ok(())
}

/// ggml's types by their numbers.
fn kind(number: u32) -> Kind {
    Kind::Encoded(match number {
        0 => Encoding::F32,
        1 => Encoding::F16,
        2 => Encoding::Q4_0,
        3 => Encoding::Q4_1,
        6 => Encoding::Q5_0,
        7 => Encoding::Q5_1,
        8 => Encoding::Q8_0,
        10 => Encoding::Q2K,
        11 => Encoding::Q3K,
        12 => Encoding::Q4K,
        13 => Encoding::Q5K,
        14 => Encoding::Q6K,
        30 => Encoding::Bf16,
        _ => return Kind::Other(other_name(number)),
    })
}

/// What is not read still has a name for the message.
fn other_name(number: u32) -> String {
    let name = match number {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        40 => "NVFP4",
        _ => return format!("ggml's type {number}"),
    };
    name.to_owned()
}
