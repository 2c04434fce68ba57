//! A weight as the kernels read it: panels of columns, in the smallest type that holds it exactly (or
//! the one that was asked for), cut into chunks of the depth.

use std::ops::Range;

use super::{
    WeightFormat,
    aligned::Buffer,
    kernels::{
        Kernels,
        pack::{self, Rows},
    },
};

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
    /// Packs `weight`, `(columns, depth)` row by row as PyTorch keeps it.
    pub fn new(
        kernels: &'static Kernels,
        format: WeightFormat,
        weight: &[f32],
        depth: usize,
    ) -> Self {
        let columns = weight.len() / depth;
        assert_eq!(weight.len(), columns * depth, "this is a bug");
        let size = columns.next_multiple_of(kernels.columns) * depth;
        let halved = match format {
            WeightFormat::Exact => weight.iter().all(|&value| fits_bf16(value)),
            WeightFormat::Bf16 | WeightFormat::Int8 => true,
        };
        let mut panels = Self {
            depth,
            columns,
            kernels,
            stored: if halved {
                Stored::Bf16(Buffer::zeros(size))
            } else {
                Stored::F32(Buffer::zeros(size))
            },
        };
        let mut panel = vec![0.0; kernels.depth * kernels.columns];
        for chunk in panels.chunks() {
            for index in 0..panels.count() {
                let panel = &mut panel[..chunk.len() * kernels.columns];
                let first = index * kernels.columns;
                let rows = Rows {
                    data: &weight[first * depth + chunk.start..],
                    stride: depth,
                    count: kernels.columns.min(columns - first),
                };
                pack::interleave(panel, kernels.columns, rows);
                panels.store(&chunk, index, panel);
            }
        }
        panels
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

    fn store(&mut self, chunk: &Range<usize>, panel: usize, values: &[f32]) {
        let range = self.range(chunk, panel..panel + 1);
        match &mut self.stored {
            Stored::F32(stored) => stored[range].copy_from_slice(values),
            Stored::Bf16(stored) => {
                for (stored, value) in stored[range].iter_mut().zip(values) {
                    *stored = to_bf16(*value);
                }
            }
        }
    }
}

fn fits_bf16(value: f32) -> bool {
    value.to_bits() & 0xffff == 0
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
