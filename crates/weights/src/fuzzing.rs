//! What the fuzz targets of the readers call (see `fuzz/`): a file is refused, or everything in it lies
//! where it may and can be read. A test here replays their corpus.

use super::{Kind, Metadata, Value, Weights};

/// Bytes that may be a GGUF file.
///
/// # Panics
/// When that does not hold.
pub fn gguf(data: &[u8]) {
    whole(data.to_vec());
}

/// Bytes of a safetensors file: the length of its header in two bytes instead of eight, so that a change
/// rarely makes it nonsense, the header and the rest.
///
/// # Panics
/// When that does not hold.
pub fn safetensors(data: &[u8]) {
    let Some((length, rest)) = data.split_first_chunk() else {
        return;
    };
    let length = u64::from(u16::from_le_bytes(*length));
    whole([&length.to_le_bytes()[..], rest].concat());
}

fn whole(bytes: Vec<u8>) {
    let size = bytes.len();
    let Ok(mut weights) = Weights::from_owned("fuzzed", bytes) else {
        return;
    };
    for file in weights.files() {
        look_through(&file.metadata, size);
    }
    let stored = weights.stored();
    let mut tensors: Vec<_> = stored
        .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
        .collect();
    tensors.sort_by_key(|(_, tensor)| (tensor.bytes.start, tensor.bytes.end));
    let mut end = 0;
    for (name, tensor) in &tensors {
        assert!(tensor.bytes.end <= size, "{name} ends after the file");
        assert!(
            tensor.bytes.is_empty() || tensor.bytes.start >= end,
            "{name} overlaps"
        );
        end = end.max(tensor.bytes.end);
        let Kind::Encoded(encoding) = tensor.kind else {
            weights.discard_stored(name);
            continue;
        };
        let values = tensor.shape.iter().product();
        assert_eq!(
            encoding.size_bytes(values),
            Some(tensor.bytes.len()),
            "{name}"
        );
        // A tensor has no more sizes than that.
        if tensor.shape.len() > 4 {
            weights.discard_stored(name);
            continue;
        }
        match weights.take(name, &tensor.shape) {
            Ok(values) => assert_eq!(values.shape(), tensor.shape),
            // Rows of blocks that a file's own shape cuts.
            Err(error) => {
                assert!(error.to_string().contains("blocks"), "{error}");
                weights.discard_stored(name);
            }
        }
    }
    weights.finish().expect("all of it was taken");
}

fn look_through(metadata: &Metadata<'_>, size: usize) {
    for key in metadata.keys() {
        let value = metadata.get(key).expect("a key has a value");
        look_at(&value, size);
    }
}

fn look_at(value: &Value<'_>, size: usize) {
    match value {
        Value::Text(text) => assert!(text.len() <= size),
        Value::Array(array) => {
            assert!(array.len() <= size);
            array.iter().for_each(|value| look_at(&value, size));
        }
        _ => {}
    }
}
