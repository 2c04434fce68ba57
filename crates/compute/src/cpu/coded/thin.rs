//! Panels on their way into a thin product: what the kernels want beside the bytes, and whether their
//! short way is theirs to go.

use std::ops::Range;

use super::{
    Coded, Segment, THIN_PANELS,
    layout::{Groups, block_bytes},
};
use crate::{
    Encoding,
    cpu::{
        kernels::{Kernels, Number, NumberPanels, QuantPanels},
        simd::{Simd, vectorised},
    },
    encoding::Shape,
};

/// Neighbouring panels of a chunk as the kernels take them.
#[derive(Clone, Copy, Debug)]
pub enum Thin<'a> {
    Quants(QuantPanels<'a>),
    Numbers(NumberPanels<'a>),
}

impl Thin<'_> {
    /// `target`, `[rows][panels * kernels.columns]`, becomes the product of the chunk and as many rows.
    /// `false`: it cannot be had this way, the panels must be widened.
    #[must_use]
    pub fn product(self, kernels: &Kernels, rows: usize, a: &[f32], target: &mut [f32]) -> bool {
        match self {
            Self::Quants(panels) => kernels.thin_quants(rows, a, panels, target),
            Self::Numbers(panels) => {
                kernels.thin_numbers(rows, a, panels, target);
                true
            }
        }
    }
}

impl Coded {
    /// The first of `panels` that a thin product takes at once.
    pub fn few(&self, panels: Range<usize>) -> Range<usize> {
        let segment = &self.plan.segment(panels.start).panels;
        let end = panels.end.min(segment.end);
        panels.start..end.min(panels.start + THIN_PANELS)
    }

    /// A chunk of a [few](Self::few) panels as it is stored. `None` if it must be widened: its values are
    /// rounded, or scaled with their blocks, or some are NaN.
    pub fn thin(
        &self,
        kernels: &Kernels,
        chunk: &Range<usize>,
        panels: Range<usize>,
    ) -> Option<Thin<'_>> {
        if self.plan.rounded {
            return None;
        }
        let segment = self.plan.segment(panels.start);
        let first = self.plan.range(segment, chunk, panels.start).start;
        let last = self.plan.range(segment, chunk, panels.end - 1).end;
        let bytes = &self.bytes[first..last];
        let number = match segment.encoding {
            Encoding::F32 | Encoding::Bf16 => return None,
            Encoding::F16 => Some(Number::Half),
            Encoding::F8E4m3 => Some(Number::E4m3),
            Encoding::F8E5m2 => Some(Number::E5m2),
            _ => None,
        };
        match number {
            Some(number) => numbers(kernels, segment, number, bytes, panels.len()),
            None => quants(kernels, segment, bytes, panels.len()),
        }
    }
}

fn numbers<'a>(
    kernels: &Kernels,
    segment: &Segment,
    number: Number,
    bytes: &'a [u8],
    count: usize,
) -> Option<Thin<'a>> {
    number.thin_scale(segment.scale)?;
    if number == Number::E4m3 && greatest_magnitude(Simd::of(kernels), bytes) == 0x7f {
        return None;
    }
    Some(Thin::Numbers(NumberPanels {
        count,
        number,
        bytes,
        scale: segment.scale,
    }))
}

fn quants<'a>(
    kernels: &Kernels,
    segment: &Segment,
    bytes: &'a [u8],
    count: usize,
) -> Option<Thin<'a>> {
    if segment.scale != 1.0 {
        return None;
    }
    let encoding = segment.encoding;
    let shape = Shape::of(encoding);
    Some(Thin::Quants(QuantPanels {
        count,
        bits: shape.bits,
        offset: shape.offset,
        has_min: shape.has_min,
        blocks: bytes.len() / (count * block_bytes(encoding) * kernels.columns),
        groups: encoding.block_values() / shape.group,
        of_groups: Groups::of(encoding),
        group_values: shape.group,
        bytes,
    }))
}

vectorised! {
    /// The greatest byte but for its highest bit.
    pub fn greatest_magnitude(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |greatest, byte| greatest.max(byte & 0x7f))
    }
}
