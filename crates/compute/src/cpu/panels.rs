//! A weight as the kernels read it: panels of columns, in the smallest type that holds it exactly (or
//! the one that was asked for), cut into chunks of the depth.

use std::{mem, ops::Range};

use super::{
    CpuDevice, WeightFormat,
    aligned::Buffer,
    kernels::{
        Kernels,
        pack::{self, Rows},
    },
};
use crate::{PackedImage, PackedPart, StoredMatrix};

/// [`Stored::F32`] in an image.
const F32: &str = "f32";

/// [`Stored::Bf16`] in an image.
const BF16: &str = "bf16";

/// To be raised whenever images of panels would be read wrongly by an older or newer program.
pub const IMAGE_VERSION: u32 = 1;

/// `(depth, columns)`, laid out as `[chunk][panel][depth in the chunk][kernels.columns]`: a walk over
/// the panels of one chunk, as the products do it, reads memory from its beginning to its end.
#[derive(Debug)]
pub struct Panels {
    /// Rows of B: the features of the input.
    pub depth: usize,
    /// Columns of B: the features of the output. The last panel is filled up with zeros.
    pub columns: usize,
    kernels: &'static Kernels,
    stored: Stored,
}

/// In which type.
#[derive(Debug)]
pub enum Stored {
    /// f32
    F32(Buffer<f32>),
    /// bf16: the upper half of an f32.
    Bf16(Buffer<u16>),
}

impl Panels {
    /// Packs `weight`, `(columns, depth)` as PyTorch keeps it, on all threads of the device: each panel
    /// is read from where it is stored, so that no more memory is needed than the panels take.
    pub fn new(device: &CpuDevice, weight: &StoredMatrix<'_>) -> Self {
        let mut panels = Self {
            depth: weight.columns(),
            columns: weight.rows(),
            kernels: device.kernels,
            stored: Stored::F32(Buffer::zeros(0)),
        };
        let size = panels.count() * panels.kernels.columns * panels.depth;
        let halved = match device.weights {
            WeightFormat::Exact => weight.fits_bf16(),
            WeightFormat::Bf16 | WeightFormat::Int8 => true,
        };
        panels.stored = if halved {
            let mut values = Buffer::zeros(size);
            panels.fill(device, weight, &mut values, to_bf16);
            Stored::Bf16(values)
        } else {
            let mut values = Buffer::zeros(size);
            panels.fill(device, weight, &mut values, |value| value);
            Stored::F32(values)
        };
        panels
    }

    fn fill<T: Send>(
        &self,
        device: &CpuDevice,
        weight: &StoredMatrix<'_>,
        values: &mut [T],
        store: impl Fn(f32) -> T + Sync,
    ) {
        let width = self.kernels.columns;
        let scratch = || [(); 2].map(|()| device.scratch(self.kernels.depth * width));
        device.for_each(
            self.cut(values),
            scratch,
            |[rows, panel], (index, parts)| {
                let first = index * width;
                let count = width.min(self.columns - first);
                for (chunk, target) in self.chunks().zip(parts) {
                    for (row, values) in rows.chunks_exact_mut(chunk.len()).take(count).enumerate()
                    {
                        weight.read(first + row, chunk.clone(), values);
                    }
                    let rows = Rows {
                        data: rows,
                        stride: chunk.len(),
                        count,
                    };
                    let panel = &mut panel[..target.len()];
                    pack::interleave(panel, width, rows);
                    for (target, value) in target.iter_mut().zip(panel) {
                        *target = store(*value);
                    }
                }
            },
        );
    }

    /// The store cut into panels: the number of each, and its part of every chunk.
    fn cut<'a, T>(&self, mut values: &'a mut [T]) -> Vec<(usize, Vec<&'a mut [T]>)> {
        let mut panels: Vec<_> = (0..self.count()).map(|index| (index, Vec::new())).collect();
        for chunk in self.chunks() {
            for (_, parts) in &mut panels {
                let size = chunk.len() * self.kernels.columns;
                let (part, rest) = mem::take(&mut values).split_at_mut(size);
                parts.push(part);
                values = rest;
            }
        }
        panels
    }

    /// Panels out of a file that holds what [`Panels::image`] gave; `None` if it cannot be that.
    pub fn of_image(device: &CpuDevice, part: &PackedPart<'_>) -> Option<Self> {
        let (file, bytes) = (part.file.clone(), part.bytes.clone());
        let panels = Self {
            depth: part.in_features,
            columns: part.out_features,
            kernels: device.kernels,
            stored: match part.form {
                F32 => Stored::F32(Buffer::of_file(file, bytes)?),
                BF16 => Stored::Bf16(Buffer::of_file(file, bytes)?),
                _ => return None,
            },
        };
        let found = match &panels.stored {
            Stored::F32(values) => values.len(),
            Stored::Bf16(values) => values.len(),
        };
        (found == panels.count() * panels.kernels.columns * panels.depth).then_some(panels)
    }

    /// The panels as they lie in memory.
    pub fn image(&self) -> PackedImage<'_> {
        let (form, bytes) = match &self.stored {
            Stored::F32(values) => (F32, values.as_bytes()),
            Stored::Bf16(values) => (BF16, values.as_bytes()),
        };
        PackedImage { form, bytes }
    }

    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(self.kernels.columns)
    }

    /// The chunks of the depth, in their order.
    pub fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (depth, step) = (self.depth, self.kernels.depth);
        (0..depth)
            .step_by(step)
            .map(move |start| start..depth.min(start + step))
    }

    /// The type that they are stored in.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Where the panels `panels` of a chunk lie in the store.
    pub fn range(&self, chunk: &Range<usize>, panels: Range<usize>) -> Range<usize> {
        let width = self.kernels.columns;
        let chunk_start = chunk.start * self.count() * width;
        let panel = chunk.len() * width;
        chunk_start + panels.start * panel..chunk_start + panels.end * panel
    }

    /// One panel of a chunk in f32; `scratch` is used if it is stored as something else.
    pub fn decoded<'a>(
        &'a self,
        chunk: &Range<usize>,
        panel: usize,
        scratch: &'a mut [f32],
    ) -> &'a [f32] {
        let range = self.range(chunk, panel..panel + 1);
        match &self.stored {
            Stored::F32(values) => &values[range],
            Stored::Bf16(values) => {
                let scratch = &mut scratch[..range.len()];
                self.kernels.widen(&values[range], scratch);
                scratch
            }
        }
    }
}

/// To the nearest bf16, ties to the even one, as PyTorch rounds; NaN stays NaN.
pub fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        // Quiet, so that cutting the lower half off cannot leave an infinity.
        return (bits >> 16) as u16 | 0x40;
    }
    let even = (bits >> 16) & 1;
    ((bits + 0x7fff + even) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::to_bf16;

    #[test]
    fn bf16_is_the_nearest_ties_to_even() {
        let cases = [
            (1.0, 0x3f80),
            (-2.5, 0xc020),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
        ];
        for (value, expected) in cases {
            assert_eq!(to_bf16(value), expected, "{value}");
        }
        let nan = f32::from_bits(0x7f80_0001);
        assert!(f32::from_bits(u32::from(to_bf16(nan)) << 16).is_nan());
    }
}
