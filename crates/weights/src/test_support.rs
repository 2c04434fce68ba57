//! For tests of this crate and of those above: GGUF files written on the fly.

use tintype_compute::Encoding;

/// A value of a key.
#[derive(Clone, Debug)]
pub enum GgufValue {
    /// `UINT32`
    U32(u32),
    /// `FLOAT32`
    F32(f32),
    /// `BOOL`
    Bool(bool),
    /// `STRING`
    Text(String),
    /// `ARRAY` of `STRING`
    Texts(Vec<String>),
    /// `ARRAY` of `INT32`
    I32s(Vec<i32>),
    /// `ARRAY` of `FLOAT32`
    F32s(Vec<f32>),
}

/// A tensor of a file: its name, its shape as PyTorch has it, its type and its bytes.
pub type GgufTensor<'a> = (&'a str, &'a [usize], Encoding, &'a [u8]);

/// The same without its bytes: how many there are.
pub type GgufShape<'a> = (&'a str, &'a [usize], Encoding, usize);

/// A GGUF file of version 3, aligned to 32 bytes.
pub fn gguf(keys: &[(&str, GgufValue)], tensors: &[GgufTensor<'_>]) -> Vec<u8> {
    let shapes: Vec<GgufShape<'_>> = tensors
        .iter()
        .map(|(name, shape, encoding, bytes)| (*name, *shape, *encoding, bytes.len()))
        .collect();
    let mut file = gguf_header(keys, &shapes);
    for (_, _, _, bytes) in tensors {
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend_from_slice(bytes);
    }
    file
}

/// All of such a file before its first tensor's bytes; each tensor begins at a multiple of 32 bytes.
pub fn gguf_header(keys: &[(&str, GgufValue)], tensors: &[GgufShape<'_>]) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        put_text(&mut file, key);
        put_value(&mut file, value);
    }
    let mut offset = 0_u64;
    for (name, shape, encoding, size_bytes) in tensors {
        put_text(&mut file, name);
        file.extend((shape.len() as u32).to_le_bytes());
        let sizes = shape.iter().rev().map(|&size| size as u64);
        file.extend(sizes.flat_map(u64::to_le_bytes));
        file.extend(number(*encoding).to_le_bytes());
        file.extend(offset.to_le_bytes());
        offset = (offset + *size_bytes as u64).next_multiple_of(32);
    }
    if !tensors.is_empty() {
        file.resize(file.len().next_multiple_of(32), 0);
    }
    file
}

fn put_text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend_from_slice(text.as_bytes());
}

fn put_value(file: &mut Vec<u8>, value: &GgufValue) {
    let mut array = |element: u32, length: usize| {
        file.extend([9_u32, element].map(u32::to_le_bytes).as_flattened());
        file.extend((length as u64).to_le_bytes());
    };
    match value {
        GgufValue::U32(value) => file.extend([4, *value].map(u32::to_le_bytes).as_flattened()),
        GgufValue::F32(value) => {
            let numbers = [6, value.to_bits()];
            file.extend(numbers.map(u32::to_le_bytes).as_flattened());
        }
        GgufValue::Bool(value) => {
            file.extend(7_u32.to_le_bytes());
            file.push(u8::from(*value));
        }
        GgufValue::Text(text) => {
            file.extend(8_u32.to_le_bytes());
            put_text(file, text);
        }
        GgufValue::Texts(texts) => {
            array(8, texts.len());
            texts.iter().for_each(|text| put_text(file, text));
        }
        GgufValue::I32s(values) => {
            array(5, values.len());
            file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        GgufValue::F32s(values) => {
            array(6, values.len());
            file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
}

/// ggml's number of a type.
fn number(encoding: Encoding) -> u32 {
    match encoding {
        Encoding::F32 => 0,
        Encoding::F16 => 1,
        Encoding::Q4_0 => 2,
        Encoding::Q4_1 => 3,
        Encoding::Q5_0 => 6,
        Encoding::Q5_1 => 7,
        Encoding::Q8_0 => 8,
        Encoding::Q2K => 10,
        Encoding::Q3K => 11,
        Encoding::Q4K => 12,
        Encoding::Q5K => 13,
        Encoding::Q6K => 14,
        Encoding::Bf16 => 30,
        Encoding::F8E4m3 | Encoding::F8E5m2 => panic!("GGUF has no {encoding}"),
    }
}
