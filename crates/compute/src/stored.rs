//! A weight matrix as a file holds it: what a device packs from, without a copy in between.

use std::ops::Range;

use half::bf16;

use crate::{Encoding, Tensor};

/// Values in row-major order, in memory or as a file holds them.
#[derive(Clone, Copy, Debug)]
pub enum StoredValues<'a> {
    /// Of a tensor in memory.
    Values(&'a [f32]),
    /// As they lie in a file.
    Encoded {
        /// In which type.
        encoding: Encoding,
        /// Whole blocks of it, at any address.
        bytes: &'a [u8],
        /// What every value is multiplied by, rounded to f32: eight-bit numbers come with one.
        scale: f32,
    },
}

impl<'a> StoredValues<'a> {
    /// Values without a scale.
    pub fn encoded(encoding: Encoding, bytes: &'a [u8]) -> Self {
        Self::Encoded {
            encoding,
            bytes,
            scale: 1.0,
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Encoded {
                encoding, bytes, ..
            } => bytes.len() / encoding.block_bytes() * encoding.block_values(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values from `start` on, as many as `target` has, as f32.
    fn read(&self, start: usize, target: &mut [f32]) {
        match *self {
            Self::Values(values) => target.copy_from_slice(&values[start..][..target.len()]),
            Self::Encoded {
                encoding,
                bytes,
                scale,
            } => {
                encoding.decode(bytes, start, target);
                if scale != 1.0 {
                    target.iter_mut().for_each(|value| *value *= scale);
                }
            }
        }
    }
}

/// A matrix of one or several stored ones of the same width, one above the other: three projections
/// over one input are packed as one without being joined first.
#[derive(Clone, Debug)]
pub struct StoredMatrix<'a> {
    columns: usize,
    parts: Vec<StoredValues<'a>>,
    rounded: bool,
}

impl<'a> StoredMatrix<'a> {
    /// A matrix of `columns` values a row.
    ///
    /// # Panics
    /// If a part does not consist of whole rows.
    pub fn new(columns: usize, parts: impl IntoIterator<Item = StoredValues<'a>>) -> Self {
        let parts: Vec<_> = parts.into_iter().collect();
        let whole = parts.iter().all(|part| part.len() % columns.max(1) == 0);
        assert!(whole, "stored rows of {columns} values; this is a bug");
        Self {
            columns,
            parts,
            rounded: false,
        }
    }

    /// The matrix `(rows, columns)` of a tensor.
    pub fn of(tensor: &'a Tensor) -> Self {
        Self::new(tensor.width(), [StoredValues::Values(tensor.data())])
    }

    /// What it consists of.
    pub(crate) fn parts(&self) -> &[StoredValues<'a>] {
        &self.parts
    }

    /// Whether some values are stored in two bytes or more.
    pub(crate) fn is_wide(&self) -> bool {
        self.parts.iter().any(|part| match part {
            StoredValues::Values(_) => true,
            StoredValues::Encoded { encoding, .. } => {
                encoding.block_bytes() >= 2 * encoding.block_values()
            }
        })
    }

    /// Whether values are rounded to bf16 as they are read.
    pub(crate) fn is_rounded(&self) -> bool {
        self.rounded
    }

    /// The bytes of the values `columns` of one row, whole blocks.
    ///
    /// # Panics
    /// If there is no such row, or it is not in a file's encoding.
    pub(crate) fn encoded(&self, row: usize, columns: Range<usize>) -> &'a [u8] {
        let mut start = row * self.columns;
        for part in &self.parts {
            if start >= part.len() {
                start -= part.len();
                continue;
            }
            let StoredValues::Encoded {
                encoding, bytes, ..
            } = part
            else {
                break;
            };
            let at = |value| {
                encoding
                    .size_bytes(value)
                    .expect("whole blocks; this is a bug")
            };
            return &bytes[at(start + columns.start)..at(start + columns.end)];
        }
        panic!("row {row} has no bytes; this is a bug");
    }

    /// The same with every value rounded to bf16 as it is read.
    pub fn rounded_to_bf16(self) -> Self {
        Self {
            rounded: true,
            ..self
        }
    }

    /// Rows of all parts: the features of a linear layer's output.
    pub fn rows(&self) -> usize {
        let values: usize = self.parts.iter().map(StoredValues::len).sum();
        values / self.columns.max(1)
    }

    /// Values of a row: the features of a linear layer's input.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The values `columns` of one row, as f32.
    ///
    /// # Panics
    /// If there is no such row, or `target` has another length than `columns`.
    pub fn read(&self, row: usize, columns: Range<usize>, target: &mut [f32]) {
        assert!(columns.end <= self.columns, "this is a bug");
        assert_eq!(columns.len(), target.len(), "this is a bug");
        let mut start = row * self.columns;
        for part in &self.parts {
            if start < part.len() {
                part.read(start + columns.start, target);
                if self.rounded {
                    round_to_bf16(target);
                }
                return;
            }
            start -= part.len();
        }
        panic!("row {row} of {}; this is a bug", self.rows());
    }

    /// Whether bf16 holds every value exactly. Files in f32 and f16 are read for it.
    pub fn fits_bf16(&self) -> bool {
        self.rounded || self.parts.iter().all(fits_bf16)
    }

    /// Whether bf16 holds every value by its type alone. Nothing is read for it.
    pub fn is_bf16(&self) -> bool {
        let is_bf16 = |part: &StoredValues<'_>| match part {
            StoredValues::Encoded {
                encoding, scale, ..
            } => *encoding == Encoding::Bf16 && *scale == 1.0,
            StoredValues::Values(_) => false,
        };
        self.rounded || self.parts.iter().all(is_bf16)
    }

    /// All values as f32, `(rows, columns)`.
    pub fn to_tensor(&self) -> Tensor {
        let mut values = vec![0.0; self.rows() * self.columns];
        let mut rest = &mut values[..];
        for part in &self.parts {
            let (target, after) = rest.split_at_mut(part.len());
            part.read(0, target);
            rest = after;
        }
        if self.rounded {
            round_to_bf16(&mut values);
        }
        Tensor::from_vec([self.rows(), self.columns], values)
    }
}

fn round_to_bf16(values: &mut [f32]) {
    for value in values {
        *value = bf16::from_f32(*value).to_f32();
    }
}

fn fits_bf16(part: &StoredValues<'_>) -> bool {
    /// Values that are looked at together.
    const BLOCK: usize = 4096;
    if let StoredValues::Encoded {
        encoding, scale, ..
    } = part
        && *scale == 1.0
        && matches!(
            encoding,
            Encoding::Bf16 | Encoding::F8E4m3 | Encoding::F8E5m2
        )
    {
        return true;
    }
    let mut block = [0.0_f32; BLOCK];
    (0..part.len()).step_by(BLOCK).all(|start| {
        let block = &mut block[..BLOCK.min(part.len() - start)];
        part.read(start, block);
        block.iter().all(|value| value.to_bits() & 0xffff == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::{StoredMatrix, StoredValues};
    use crate::Encoding;

    #[test]
    fn parts_of_every_type_are_one_matrix() {
        // 1, -2 above 1, -2 above 0.1, -2.
        let half = [0x00, 0x3c, 0x00, 0xc0];
        let brain = [0x80, 0x3f, 0x00, 0xc0];
        let full: Vec<u8> = [0.1_f32, -2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let parts = [
            StoredValues::encoded(Encoding::F16, &half),
            StoredValues::encoded(Encoding::Bf16, &brain),
            StoredValues::encoded(Encoding::F32, &full),
            StoredValues::Values(&[3.0, 4.0, 5.0, 6.0]),
        ];
        let matrix = StoredMatrix::new(2, parts);
        let expected = [1.0, -2.0, 1.0, -2.0, 0.1, -2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!((matrix.rows(), matrix.columns()), (5, 2));
        assert_eq!(matrix.to_tensor().data(), expected);
        for (row, expected) in expected.chunks(2).enumerate() {
            let mut found = [f32::NAN; 2];
            matrix.read(row, 0..2, &mut found);
            assert_eq!(found, expected);
            matrix.read(row, 1..2, &mut found[..1]);
            assert_eq!(found[0], expected[1]);
        }
        assert!(StoredMatrix::new(2, parts[..2].to_vec()).fits_bf16());
        assert!(!matrix.fits_bf16(), "0.1 does not");
        let rounded = matrix.rounded_to_bf16();
        assert!(rounded.fits_bf16());
        assert_eq!(rounded.to_tensor().data()[4], 0.100_097_656);
        let mut found = [0.0];
        rounded.read(2, 0..1, &mut found);
        assert_eq!(found, [0.100_097_656]);
    }

    #[test]
    #[should_panic(expected = "this is a bug")]
    fn half_a_row_is_refused() {
        StoredMatrix::new(2, [StoredValues::Values(&[1.0; 3])]);
    }
}
