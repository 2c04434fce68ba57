//! Files of full size that take no room. Their headers are true; their values are holes, which read as
//! zeros, but for the first value of some rows, by which it is seen what lands where.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Map, Value, json};
use tintype_compute::Encoding;
use tintype_flux::weights::test_support::{GgufShape, GgufValue, gguf_header};

/// Every so many rows there is a value: one of those that are read from layers of several tensors, too,
/// whose rows are multiples of it.
pub const ROWS_APART: usize = 256;

/// What the value of a row can be: 1/8 to 7/8 and their negatives, which every encoding holds exactly.
const MARKS: u64 = 14;

/// A tensor to be written.
#[derive(Clone)]
pub enum Tensor {
    /// Marks of all rows, each the number of a value, or 0.
    Marked {
        shape: Vec<usize>,
        marks: Vec<u8>,
        encoding: Encoding,
        /// What its values are multiplied by when they are read.
        scale: f32,
    },
    /// Bytes as they are.
    Raw {
        shape: Vec<usize>,
        dtype: &'static str,
        bytes: Vec<u8>,
    },
}

/// The tensors of a file.
pub type Tensors = BTreeMap<String, Tensor>;

/// The marks of a tensor's rows: its name decides.
pub fn marks(name: &str, rows: usize) -> Vec<u8> {
    let mark = |row: usize| match row.is_multiple_of(ROWS_APART) {
        true => 1 + (hash(format!("{name} {row}").as_bytes()) % MARKS) as u8,
        false => 0,
    };
    (0..rows).map(mark).collect()
}

/// FNV-1a.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn value(mark: u8) -> f32 {
    let eighths = f32::from((mark - 1) % 7 + 1);
    let sign = if mark > 7 { -1.0 } else { 1.0 };
    sign * eighths / 8.0
}

impl Tensor {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Marked { shape, .. } | Self::Raw { shape, .. } => shape,
        }
    }

    fn dtype(&self) -> &'static str {
        match self {
            Self::Marked { encoding, .. } => encoding.name(),
            Self::Raw { dtype, .. } => dtype,
        }
    }

    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Marked {
                shape, encoding, ..
            } => {
                let values = shape.iter().product();
                encoding.size_bytes(values).expect("whole blocks")
            }
            Self::Raw { bytes, .. } => bytes.len(),
        }
    }

    fn write(&self, file: &File, start: usize) {
        let write = |bytes: &[u8], at: usize| {
            let written = file.write_all_at(bytes, (start + at) as u64);
            written.expect("room for some pages");
        };
        match self {
            Self::Raw { bytes, .. } => write(bytes, 0),
            Self::Marked {
                marks,
                encoding,
                scale,
                ..
            } => {
                let row_bytes = self.size_bytes() / marks.len();
                for (row, mark) in marks.iter().enumerate().filter(|(_, mark)| **mark > 0) {
                    let block = encoded(*encoding, value(*mark) / scale);
                    write(&block, row * row_bytes);
                }
            }
        }
    }
}

/// The value, and zeros after it where the encoding has blocks.
fn encoded(encoding: Encoding, value: f32) -> Vec<u8> {
    let half = |value: f32| half::f16::from_f32(value).to_le_bytes();
    let eighths = value * 8.0;
    let scale = half(0.125_f32.copysign(value));
    let padded = |start: &[u8]| {
        let mut block = start.to_vec();
        block.resize(encoding.block_bytes(), 0);
        block
    };
    match encoding {
        Encoding::F32 => value.to_le_bytes().to_vec(),
        Encoding::F16 => half(value).to_vec(),
        Encoding::Bf16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
        Encoding::F8E4m3 => vec![e4m3(value)],
        Encoding::Q8_0 => padded(&[scale[0], scale[1], eighths.abs() as u8]),
        // A scale of 1 for the first 32 values, no minimum; the others' scales are 0.
        Encoding::Q4K => {
            let mut block = padded(&[scale[0], scale[1], 0, 0, 1]);
            block[16] = eighths.abs() as u8;
            block
        }
        other => panic!("{other}"),
    }
}

/// A number of at most four significant bits.
fn e4m3(value: f32) -> u8 {
    let exponent = value.abs().log2().floor();
    let fraction = (value.abs() / exponent.exp2() - 1.0) * 8.0;
    let sign = if value < 0.0 { 0x80 } else { 0 };
    sign | ((exponent + 7.0) as u8) << 3 | fraction as u8
}

/// Writes a safetensors file.
pub fn safetensors(path: &Path, tensors: &Tensors, metadata: &[(&str, &str)]) {
    let mut header = Map::new();
    if !metadata.is_empty() {
        let said: Map<_, _> = metadata
            .iter()
            .map(|(key, text)| ((*key).to_owned(), json!(text)))
            .collect();
        header.insert("__metadata__".to_owned(), said.into());
    }
    let mut end = 0;
    for (name, tensor) in tensors {
        let start = end;
        end += tensor.size_bytes();
        let said = json!({
            "dtype": tensor.dtype(), "shape": tensor.shape(), "data_offsets": [start, end],
        });
        header.insert(name.clone(), said);
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let length = (text.len() as u64).to_le_bytes();
    write(path, &[&length[..], &text].concat(), tensors.values(), 1);
}

/// Writes a GGUF file.
pub fn gguf(path: &Path, tensors: &Tensors, architecture: &str) {
    let architecture = GgufValue::Text(architecture.to_owned());
    let shapes: Vec<GgufShape<'_>> = tensors
        .iter()
        .map(|(name, tensor)| match tensor {
            Tensor::Marked {
                shape, encoding, ..
            } => (&name[..], &shape[..], *encoding, tensor.size_bytes()),
            Tensor::Raw { .. } => panic!("{name} has no encoding"),
        })
        .collect();
    let header = gguf_header(&[("general.architecture", architecture)], &shapes);
    write(path, &header, tensors.values(), 32);
}

fn write<'a>(
    path: &Path,
    header: &[u8],
    tensors: impl Iterator<Item = &'a Tensor>,
    alignment: usize,
) {
    // A file that is written over is brought to the disk by some file systems: it may take a minute.
    let _ = std::fs::remove_file(path);
    let mut file = File::create(path).expect("a writable folder");
    file.write_all(header).expect("room for a header");
    let mut end = header.len();
    for tensor in tensors {
        let start = end.next_multiple_of(alignment);
        tensor.write(&file, start);
        end = start + tensor.size_bytes();
    }
    file.set_len(end as u64).expect("files may have holes");
}
