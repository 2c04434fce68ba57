//! Tensors on their way from a file to a device: taken by name, looked at where they lie, and given
//! back to the operating system once they are packed.

use std::ops::Range;

use safetensors::Dtype;
use tintype_compute::{StoredMatrix, StoredValues, Tensor};

use super::{Error, Weights};

/// A tensor that was taken and not read yet.
pub(super) enum Taken {
    /// Bytes of a file.
    Stored {
        file: usize,
        bytes: Range<usize>,
        kind: Kind,
    },
    /// Made up by a [`super::generated`] function.
    Made(Tensor),
}

/// A type that files may hold.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    F32,
    F16,
    Bf16,
}

impl Kind {
    fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Bytes that hold values of this type.
    pub fn values(self, bytes: &[u8]) -> StoredValues<'_> {
        match self {
            Self::F32 => StoredValues::F32(bytes),
            Self::F16 => StoredValues::F16(bytes),
            Self::Bf16 => StoredValues::Bf16(bytes),
        }
    }
}

impl Weights {
    /// Takes a tensor, converted to f32. Fails if it is not there, was taken before, or has another
    /// shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, Error> {
        let taken = self.claim(name, shape)?;
        let width = shape.last().copied().unwrap_or(1);
        let values = self.matrix(width, [&taken]).to_tensor().reshape(shape);
        self.release(&taken);
        Ok(values)
    }

    /// Takes a tensor and leaves it where it lies. Fails as [`Weights::take`] does.
    pub(super) fn claim(&mut self, name: &str, shape: &[usize]) -> Result<Taken, Error> {
        if let Some(watched) = &mut self.watched {
            let entry = self.tensors.get(name).map(|entry| entry.info.data_offsets);
            watched.tell(entry.map_or(0, |(start, end)| end - start))?;
        }
        if let Some(generator) = &mut self.generator {
            return Ok(Taken::Made(generator.make(name, shape)));
        }
        let Some(entry) = self.tensors.remove(name) else {
            return Err(Error::Missing {
                component: self.component.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
            });
        };
        let file = &self.files[entry.file];
        if entry.info.shape != shape {
            return Err(Error::Shape {
                file: file.name.clone(),
                name: name.to_owned(),
                expected: shape.to_vec(),
                found: entry.info.shape,
            });
        }
        let kind = Kind::of(entry.info.dtype).ok_or_else(|| Error::Dtype {
            file: file.name.clone(),
            name: name.to_owned(),
            dtype: format!("{:?}", entry.info.dtype),
        })?;
        let (start, end) = entry.info.data_offsets;
        Ok(Taken::Stored {
            file: entry.file,
            bytes: file.data_start + start..file.data_start + end,
            kind,
        })
    }

    /// Taken tensors of `columns` values a row, one above the other.
    pub(super) fn matrix<'a>(
        &'a self,
        columns: usize,
        parts: impl IntoIterator<Item = &'a Taken>,
    ) -> StoredMatrix<'a> {
        let parts = parts.into_iter().map(|taken| self.values(taken));
        let matrix = StoredMatrix::new(columns, parts);
        match self.rounded {
            true => matrix.rounded_to_bf16(),
            false => matrix,
        }
    }

    fn values<'a>(&'a self, taken: &'a Taken) -> StoredValues<'a> {
        match taken {
            Taken::Made(tensor) => StoredValues::Values(tensor.data()),
            Taken::Stored { file, bytes, kind } => {
                kind.values(&self.files[*file].bytes.get()[bytes.clone()])
            }
        }
    }

    /// Says that a tensor will not be read again: its pages of the file leave this process's memory.
    pub(super) fn release(&self, taken: &Taken) {
        if let Taken::Stored { file, bytes, .. } = taken {
            self.files[*file].bytes.release(bytes.clone());
        }
    }
}
