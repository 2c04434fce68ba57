//! A weight as the kernels read it: panels of columns, in the smallest type that holds it exactly (or
//! the one that was asked for), cut into chunks of the depth.

use std::{mem, ops::Range};

use super::{
    CpuDevice, WeightFormat,
    aligned::{Buffer, Plain},
    coded::Coded,
    kernels::{
        self, DEPTH, Kernels,
        pack::{self, Rows},
    },
    quantise,
};
use crate::{PackedImage, PackedPart, StoredMatrix};

/// [`Stored::F32`] in an image.
const F32: &str = "f32";

/// [`Stored::Bf16`] in an image.
const BF16: &str = "bf16";

/// [`Stored::Int8`] in an image.
const INT8: &str = "int8";

/// To be raised whenever images of panels would be read wrongly by an older or newer program.
pub const IMAGE_VERSION: u32 = 3;

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
    /// Integers, pairs of neighbours of the depth side by side, then the scales of the panel's columns
    /// as the bytes of an f32 each: `[chunk][panel]([pairs][kernels.columns][2], [kernels.columns][4])`.
    Int8(Buffer<i8>),
    /// The file's encoding.
    Coded(Coded),
}

/// One chunk of one panel on its way into the store.
struct Piece<'a> {
    /// The columns, each a row.
    rows: Rows<'a>,
    /// The same as the kernels read it.
    panel: &'a [f32],
    width: usize,
}

/// The bytes of a column's integers and scale for a chunk of this length; a last pair is filled up.
fn int8_bytes(length: usize) -> usize {
    length.next_multiple_of(2) + size_of::<f32>()
}

fn quantise(piece: Piece<'_>, target: &mut [i8]) {
    let Piece { rows, width, .. } = piece;
    let integers = rows.stride.next_multiple_of(2) * width;
    let (integers, scales) = target.split_at_mut(integers);
    let mut quantised = vec![0; rows.stride];
    let columns = rows.data.chunks_exact(rows.stride).take(rows.count);
    for (column, values) in columns.enumerate() {
        let scale = quantise::weights(values, &mut quantised);
        let bytes = scale.to_ne_bytes().map(u8::cast_signed);
        scales[column * bytes.len()..][..bytes.len()].copy_from_slice(&bytes);
        for (k, value) in quantised.iter().enumerate() {
            integers[(k / 2 * width + column) * 2 + k % 2] = *value;
        }
    }
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
        if device.weights == WeightFormat::Exact
            && let Some(coded) = Coded::new(device, weight)
        {
            panels.stored = Stored::Coded(coded);
            return panels;
        }
        panels.stored = match device.weights {
            WeightFormat::Int8 => Stored::Int8(panels.packed(device, weight, int8_bytes, quantise)),
            WeightFormat::Exact if !weight.fits_bf16() => {
                let copy = |piece: Piece<'_>, target: &mut [f32]| {
                    target.copy_from_slice(piece.panel);
                };
                Stored::F32(panels.packed(device, weight, |length| length, copy))
            }
            WeightFormat::Exact | WeightFormat::Bf16 => {
                let round = |piece: Piece<'_>, target: &mut [u16]| {
                    for (target, value) in target.iter_mut().zip(piece.panel) {
                        *target = to_bf16(*value);
                    }
                };
                Stored::Bf16(panels.packed(device, weight, |length| length, round))
            }
        };
        panels
    }

    /// Bytes that [`Self::new`] would take, found out without reading a value.
    pub fn bytes(device: &CpuDevice, weight: &StoredMatrix<'_>) -> usize {
        if device.weights == WeightFormat::Exact
            && let Some(bytes) = Coded::bytes(device, weight)
        {
            return bytes;
        }
        let panels = Self {
            depth: weight.columns(),
            columns: weight.rows(),
            kernels: device.kernels,
            stored: Stored::F32(Buffer::zeros(0)),
        };
        let numbers = panels.numbers(|length| length);
        match device.weights {
            WeightFormat::Int8 => panels.numbers(int8_bytes),
            WeightFormat::Exact if !weight.is_bf16() => numbers * size_of::<f32>(),
            WeightFormat::Exact | WeightFormat::Bf16 => numbers * size_of::<u16>(),
        }
    }

    /// A store of which each column takes `size(length of the chunk)` numbers of each chunk, filled by
    /// `store`.
    fn packed<T: Plain + Send>(
        &self,
        device: &CpuDevice,
        weight: &StoredMatrix<'_>,
        size: fn(usize) -> usize,
        store: impl Fn(Piece<'_>, &mut [T]) + Sync,
    ) -> Buffer<T> {
        let width = self.kernels.columns;
        let mut values = Buffer::zeros(self.numbers(size));
        let scratch = || [(); 2].map(|()| device.scratch(DEPTH * width));
        device.for_each(
            self.cut(&mut values, size),
            scratch,
            |[rows, panel], (index, parts)| {
                let first = index * width;
                let count = width.min(self.columns - first);
                for (chunk, target) in self.chunks().zip(parts) {
                    let stride = chunk.len();
                    for (row, values) in rows.chunks_exact_mut(stride).take(count).enumerate() {
                        weight.read(first + row, chunk.clone(), values);
                    }
                    let rows = Rows {
                        data: rows,
                        stride,
                        count,
                    };
                    let panel = &mut panel[..stride * width];
                    pack::interleave(panel, width, rows);
                    store(Piece { rows, panel, width }, target);
                }
            },
        );
        values
    }

    /// How many numbers a store has of which each column takes `size(length)` of each chunk.
    fn numbers(&self, size: fn(usize) -> usize) -> usize {
        let column: usize = self.chunks().map(|chunk| size(chunk.len())).sum();
        self.count() * self.kernels.columns * column
    }

    /// The store cut into panels: the number of each, and its part of every chunk.
    fn cut<'a, T>(
        &self,
        mut values: &'a mut [T],
        size: fn(usize) -> usize,
    ) -> Vec<(usize, Vec<&'a mut [T]>)> {
        let mut panels: Vec<_> = (0..self.count()).map(|index| (index, Vec::new())).collect();
        for chunk in self.chunks() {
            for (_, parts) in &mut panels {
                let part = size(chunk.len()) * self.kernels.columns;
                let (part, rest) = mem::take(&mut values).split_at_mut(part);
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
                // Products of integers need scratch that other devices do not have.
                INT8 if device.weights == WeightFormat::Int8 => {
                    Stored::Int8(Buffer::of_file(file, bytes)?)
                }
                _ => Stored::Coded(Coded::of_image(part, device.kernels.columns)?),
            },
        };
        let fits = match &panels.stored {
            Stored::F32(values) => values.len() == panels.numbers(|length| length),
            Stored::Bf16(values) => values.len() == panels.numbers(|length| length),
            Stored::Int8(values) => values.len() == panels.numbers(int8_bytes),
            Stored::Coded(_) => true,
        };
        fits.then_some(panels)
    }

    /// The panels as they lie in memory.
    pub fn image(&self) -> PackedImage<'_> {
        let (form, bytes) = match &self.stored {
            Stored::F32(values) => (F32.into(), values.as_bytes()),
            Stored::Bf16(values) => (BF16.into(), values.as_bytes()),
            Stored::Int8(values) => (INT8.into(), values.as_bytes()),
            Stored::Coded(coded) => (coded.form().into(), coded.as_bytes()),
        };
        PackedImage { form, bytes }
    }

    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(self.kernels.columns)
    }

    /// The chunks of the depth, in their order.
    pub fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        kernels::chunks(self.depth)
    }

    /// The type that they are stored in.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Where the panels `panels` of a chunk lie in the store, unless it is coded.
    pub fn range(&self, chunk: &Range<usize>, panels: Range<usize>) -> Range<usize> {
        let size: fn(usize) -> usize = match self.stored {
            Stored::Int8(_) => int8_bytes,
            _ => |length| length,
        };
        let width = self.kernels.columns;
        let before = chunk.start / DEPTH * size(DEPTH);
        let (start, panel) = (before * self.count() * width, size(chunk.len()) * width);
        start + panels.start * panel..start + panels.end * panel
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
