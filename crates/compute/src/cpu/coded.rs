//! Weights that stay in their file's encoding: panels as the kernels walk through them, of the bytes that
//! the file has (a few more for the K formats), made f32 chunk by chunk in the first-level cache.
//!
//! Nothing is lost: the values are those of [`StoredMatrix::read`], to the bit. Tiles of AMX round to
//! bf16, and so have no such weights: they are multiplied by the AVX-512 kernels, from half the memory
//! or less.

mod layout;
mod thin;
mod widen;

use std::{mem, ops::Range};

pub use layout::{Groups, planes};

use super::{
    CpuDevice,
    aligned::Buffer,
    kernels::{self, DEPTH, Kernels},
};
use crate::{Encoding, PackedPart, StoredMatrix, StoredValues};

/// How many panels are made f32 for a product of few rows: so many sums keep the multipliers busy.
pub const THIN_PANELS: usize = 4;

/// What an image's form begins with.
const FORM: &str = "coded";

/// The weight's bytes, by segments as `[chunk][panel]`, a panel's chunk as [`layout`] has it.
#[derive(Debug)]
pub struct Coded {
    bytes: Buffer<u8>,
    plan: Plan,
}

/// What lies where.
#[derive(Debug, PartialEq)]
struct Plan {
    depth: usize,
    columns: usize,
    /// Columns of a panel.
    width: usize,
    /// Whether values are rounded to bf16 when they are read.
    rounded: bool,
    segments: Vec<Segment>,
}

/// Neighbouring panels of one encoding.
#[derive(Clone, Debug, PartialEq)]
struct Segment {
    panels: Range<usize>,
    encoding: Encoding,
    /// What every value is multiplied by.
    scale: f32,
    /// The first byte.
    start: usize,
}

impl Coded {
    /// Packs `weight` on all threads of the device. `None` if it is nothing to be kept this way: numbers
    /// that are stored wider, parts of several encodings that end within a panel, rows that are no whole
    /// blocks.
    pub fn new(device: &CpuDevice, weight: &StoredMatrix<'_>) -> Option<Self> {
        let plan = Plan::of(weight, device.kernels.columns, |weight| weight.fits_bf16())?;
        let mut bytes = Buffer::zeros(plan.size());
        let tasks = plan.cut(&mut bytes);
        device.for_each(tasks, Vec::new, |rows, (panel, encoding, parts)| {
            let first = panel * plan.width;
            for (chunk, part) in plan.chunks().zip(parts) {
                rows.clear();
                let columns = first..plan.columns.min(first + plan.width);
                rows.extend(columns.map(|column| weight.encoded(column, chunk.clone())));
                layout::pack(encoding, rows, plan.width, part);
            }
        });
        Some(Self { bytes, plan })
    }

    /// Bytes that [`Coded::new`] would take, found out without reading a value: where they decide, the
    /// larger number.
    pub fn bytes(device: &CpuDevice, weight: &StoredMatrix<'_>) -> Option<usize> {
        let plan = Plan::of(weight, device.kernels.columns, |_| false)?;
        Some(plan.size())
    }

    /// Makes one chunk of a panel f32, `[chunk][width]`.
    pub fn widen(&self, kernels: &Kernels, chunk: &Range<usize>, panel: usize, target: &mut [f32]) {
        let segment = self.plan.segment(panel);
        let bytes = self.plan.range(segment, chunk, panel);
        let values = widen::Values {
            encoding: segment.encoding,
            bytes: &self.bytes[bytes],
            scale: segment.scale,
            rounded: self.plan.rounded,
        };
        widen::widen(kernels, values, target);
    }

    /// What [`Coded::of_image`] must know beside the bytes.
    pub fn form(&self) -> String {
        let rounded = if self.plan.rounded { " rounded" } else { "" };
        let segments = self.plan.segments.iter().map(|segment| {
            let (columns, encoding) = (segment.panels.len(), segment.encoding);
            format!("; {columns} {encoding} {:08x}", segment.scale.to_bits())
        });
        format!("{FORM}{rounded}{}", segments.collect::<String>())
    }

    /// All of it, as it lies in memory.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }

    /// A weight out of a file that holds what it was; `None` if it cannot be that.
    pub fn of_image(part: &PackedPart<'_>, width: usize) -> Option<Self> {
        let mut words = part.form.split("; ");
        let rounded = match words.next()?.strip_prefix(FORM)? {
            "" => false,
            " rounded" => true,
            _ => return None,
        };
        let segments: Option<Vec<_>> = words.map(segment_of).collect();
        let (depth, columns) = (part.in_features, part.out_features);
        let plan = Plan::new(segments?, [depth, columns], width, rounded)?;
        let bytes = Buffer::of_file(part.file.clone(), part.bytes.clone())?;
        (bytes.len() == plan.size()).then_some(Self { bytes, plan })
    }
}

/// How many panels, of which encoding and scale.
type Run = (usize, Encoding, f32);

fn segment_of(words: &str) -> Option<Run> {
    let mut words = words.split(' ');
    let panels = words.next()?.parse().ok()?;
    let name = words.next()?;
    let encoding = Encoding::ALL.into_iter().find(|e| e.name() == name)?;
    let bits = u32::from_str_radix(words.next()?, 16).ok()?;
    Some((panels, encoding, f32::from_bits(bits)))
}

impl Plan {
    /// `fits_bf16` is asked where every part is stored in two bytes or more.
    fn of(
        weight: &StoredMatrix<'_>,
        width: usize,
        fits_bf16: impl FnOnce(&StoredMatrix<'_>) -> bool,
    ) -> Option<Self> {
        let (depth, columns) = (weight.columns(), weight.rows());
        let mut runs: Vec<Run> = Vec::new();
        // Columns so far: a run begins where a panel does.
        let mut column = 0;
        for part in weight.parts() {
            let StoredValues::Encoded {
                encoding, scale, ..
            } = *part
            else {
                return None;
            };
            let rows = part.len() / depth.max(1);
            let end = (column + rows).div_ceil(width);
            match runs.last_mut() {
                Some((panels, last, factor)) if (*last, *factor) == (encoding, scale) => {
                    *panels += end - column.div_ceil(width);
                }
                _ if !column.is_multiple_of(width) => return None,
                _ => runs.push((end - column / width, encoding, scale)),
            }
            column += rows;
        }
        let wide = |encoding| matches!(encoding, Encoding::F32 | Encoding::Bf16);
        if runs.iter().all(|(_, encoding, _)| wide(*encoding)) {
            return None;
        }
        // What is rounded to bf16 and as wide as it is bf16 at once.
        let halves = |(_, encoding, _): &Run| wide(*encoding) || *encoding == Encoding::F16;
        if runs.iter().all(halves) && (weight.is_rounded() || fits_bf16(weight)) {
            return None;
        }
        Self::new(runs, [depth, columns], width, weight.is_rounded())
    }

    fn new(
        runs: Vec<Run>,
        [depth, columns]: [usize; 2],
        width: usize,
        rounded: bool,
    ) -> Option<Self> {
        let mut plan = Self {
            depth,
            columns,
            width,
            rounded,
            segments: Vec::new(),
        };
        let (mut panel, mut start) = (0_usize, 0_usize);
        for (panels, encoding, scale) in runs {
            if !depth.is_multiple_of(encoding.block_values()) {
                return None;
            }
            let end = panel.checked_add(panels)?;
            plan.segments.push(Segment {
                panels: panel..end,
                encoding,
                scale,
                start,
            });
            let bytes: usize = plan
                .chunks()
                .map(|chunk| plan.bytes(encoding, &chunk))
                .sum();
            start = start.checked_add(panels.checked_mul(bytes)?)?;
            panel = end;
        }
        (panel == columns.div_ceil(width)).then_some(plan)
    }

    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        kernels::chunks(self.depth)
    }

    /// Bytes of a chunk of a panel.
    fn bytes(&self, encoding: Encoding, chunk: &Range<usize>) -> usize {
        layout::column_bytes(encoding, chunk.len()) * self.width
    }

    fn size(&self) -> usize {
        let sizes = self.segments.iter().map(|segment| {
            let chunks = self
                .chunks()
                .map(|chunk| self.bytes(segment.encoding, &chunk));
            chunks.sum::<usize>() * segment.panels.len()
        });
        sizes.sum()
    }

    fn segment(&self, panel: usize) -> &Segment {
        let mut segments = self.segments.iter();
        let found = segments.find(|segment| segment.panels.contains(&panel));
        found.expect("every panel is in one; this is a bug")
    }

    /// Where a chunk of a panel lies.
    fn range(&self, segment: &Segment, chunk: &Range<usize>, panel: usize) -> Range<usize> {
        let before = chunk.start / DEPTH * self.bytes(segment.encoding, &(0..DEPTH));
        let size = self.bytes(segment.encoding, chunk);
        let panels = &segment.panels;
        let start = segment.start + before * panels.len() + size * (panel - panels.start);
        start..start + size
    }

    /// `bytes` cut into panels: the number of each, its encoding, and its part of every chunk.
    fn cut<'a>(&self, mut bytes: &'a mut [u8]) -> Vec<(usize, Encoding, Vec<&'a mut [u8]>)> {
        let mut cut = Vec::new();
        for segment in &self.segments {
            let first = cut.len();
            let panels = segment.panels.clone();
            cut.extend(panels.map(|panel| (panel, segment.encoding, Vec::new())));
            for chunk in self.chunks() {
                let size = self.bytes(segment.encoding, &chunk);
                for (_, _, parts) in &mut cut[first..] {
                    let (part, rest) = mem::take(&mut bytes).split_at_mut(size);
                    parts.push(part);
                    bytes = rest;
                }
            }
        }
        cut
    }
}

#[cfg(test)]
mod tests;
