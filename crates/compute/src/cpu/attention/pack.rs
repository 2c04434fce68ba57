//! From tokens to the panels of the kernels: RMS norm, rotation and scale on the way.

use std::ops::Range;

use super::Sizes;
use crate::{
    Attention, QkNorm, RopeTable, Segment, Tensor,
    cpu::simd::{Simd, math::multiply_add, rms_factor_short, vectorised},
};

/// One head of one sample.
pub(super) struct Source<'a> {
    pub attention: &'a Attention<'a>,
    pub sizes: Sizes,
    pub simd: Simd,
    pub head: usize,
    pub sample: usize,
}

/// What a token's row holds, in its order.
#[derive(Clone, Copy, Debug)]
enum Part {
    Query,
    Key,
    Value,
}

impl<'a> Source<'a> {
    /// The head's part of one token of a segment.
    fn part(&self, segment: &Segment<'a>, row: usize, part: Part) -> &'a [f32] {
        let inner = self.sizes.heads * self.sizes.head_dim;
        let token = &segment.qkv.sample(self.sample)[row * 3 * inner..][..3 * inner];
        &token[part as usize * inner + self.head * self.sizes.head_dim..][..self.sizes.head_dim]
    }

    /// The segment that a token of the joined sequence is of, and its row there.
    fn locate(&self, position: usize) -> (&'a Segment<'a>, usize) {
        let mut row = position;
        for segment in self.attention.segments {
            let length = segment.qkv.dim(1);
            if row < length {
                return (segment, row);
            }
            row -= length;
        }
        panic!("a position beyond the sequence; this is a bug")
    }

    /// The rotation of one token of the joined sequence.
    fn rotation(&self, position: usize) -> Option<Rotation<'a>> {
        let RopeTable { cos, sin } = self.attention.rope?;
        let half = self.sizes.head_dim / 2;
        Some(Rotation {
            cos: &cos.data()[position * half..][..half],
            sin: &sin.data()[position * half..][..half],
        })
    }
}

/// Packs the keys and values of `positions` into one block (see [`Sizes::packed_block`]); `rows` is room
/// for a panel of rows.
pub(super) fn keys_and_values(
    source: &Source<'_>,
    positions: Range<usize>,
    packed: &mut [f32],
    rows: &mut [f32],
) {
    let Sizes {
        head_dim,
        rows: width,
        ..
    } = source.sizes;
    let (keys, values) = packed.split_at_mut(source.sizes.packed_keys());
    for (panel, first) in keys
        .chunks_exact_mut(head_dim * width)
        .zip(positions.clone().step_by(width))
    {
        let of_panel = first..positions.end.min(first + width);
        for (row, position) in rows.chunks_exact_mut(head_dim).zip(of_panel) {
            let (segment, at) = source.locate(position);
            let key = segment.norm.map(|QkNorm { key, eps, .. }| (key, eps));
            make_row(
                source.simd,
                row,
                source.part(segment, at, Part::Key),
                key.map(weights),
                source.rotation(position),
                1.0,
            );
        }
        interleave(source.simd, panel, width, rows);
    }
    for (index, position) in positions.enumerate() {
        let (segment, at) = source.locate(position);
        let value = source.part(segment, at, Part::Value);
        spread(source.simd, values, value, width, index);
    }
}

/// Packs `rows` queries of a segment from row `first` on into panels of `[head_dim][columns]`.
pub(super) fn queries(
    source: &Source<'_>,
    segment: usize,
    rows_of_segment: Range<usize>,
    segment_start: usize,
    packed: &mut [f32],
    rows: &mut [f32],
) {
    let Sizes {
        head_dim, columns, ..
    } = source.sizes;
    let segment = &source.attention.segments[segment];
    let norm = segment.norm.map(|QkNorm { query, eps, .. }| (query, eps));
    // The softmax counts in powers of two.
    let factor = source.attention.scale * std::f32::consts::LOG2_E;
    for (panel, first) in packed
        .chunks_exact_mut(head_dim * columns)
        .zip(rows_of_segment.clone().step_by(columns))
    {
        let of_panel = first..rows_of_segment.end.min(first + columns);
        for (row, at) in rows.chunks_exact_mut(head_dim).zip(of_panel) {
            let x = source.part(segment, at, Part::Query);
            let rotation = source.rotation(segment_start + at);
            make_row(source.simd, row, x, norm.map(weights), rotation, factor);
        }
        interleave(source.simd, panel, columns, rows);
    }
}

fn weights((weight, eps): (&Tensor, f32)) -> (&[f32], f32) {
    (weight.data(), eps)
}

/// The rotation of one token: `(head_dim / 2)` each.
#[derive(Clone, Copy)]
pub(super) struct Rotation<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
}

vectorised! {
    /// `output = rotate(rms_norm(x) * factor)`, each step only if asked for.
    pub fn make_row(
        output: &mut [f32],
        x: &[f32],
        norm: Option<(&[f32], f32)>,
        rotation: Option<Rotation<'_>>,
        factor: f32,
    ) {
        match norm {
            Some((weight, eps)) => {
                let factor = rms_factor_short::<FMA>(x, eps) * factor;
                for ((output, x), weight) in output.iter_mut().zip(x).zip(weight) {
                    *output = x * factor * weight;
                }
            }
            None => {
                for (output, x) in output.iter_mut().zip(x) {
                    *output = x * factor;
                }
            }
        }
        if let Some(Rotation { cos, sin }) = rotation {
            let (chunks, rest) = output.as_chunks_mut::<{ 2 * PAIRS }>();
            let (cos, cos_rest) = cos.as_chunks::<PAIRS>();
            let (sin, sin_rest) = sin.as_chunks::<PAIRS>();
            for (chunk, (cos, sin)) in chunks.iter_mut().zip(cos.iter().zip(sin)) {
                *chunk = rotated::<FMA>(*chunk, *cos, *sin);
            }
            let angles = cos_rest.iter().zip(sin_rest);
            for (pair, (cos, sin)) in rest.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                let [a, b] = *pair;
                *pair = [
                    multiply_add::<FMA>(a, *cos, -b * sin),
                    multiply_add::<FMA>(b, *cos, a * sin),
                ];
            }
        }
    }

    /// `panel[d][r] = rows[r][d]` for `width` rows.
    pub fn interleave(panel: &mut [f32], width: usize, rows: &[f32]) {
        match width {
            4 => interleave_rows::<4>(panel, rows),
            6 => interleave_rows::<6>(panel, rows),
            8 => interleave_rows::<8>(panel, rows),
            14 => interleave_rows::<14>(panel, rows),
            16 => interleave_rows::<16>(panel, rows),
            32 => interleave_rows::<32>(panel, rows),
            _ => unreachable!("no kernel has this width; this is a bug"),
        }
    }

    /// Puts one row of values at `index` into each panel of `[keys][width]`.
    pub fn spread(panels: &mut [f32], row: &[f32], width: usize, index: usize) {
        match width {
            4 => spread_row::<4>(panels, row, index),
            6 => spread_row::<6>(panels, row, index),
            8 => spread_row::<8>(panels, row, index),
            14 => spread_row::<14>(panels, row, index),
            _ => unreachable!("no kernel has this width; this is a bug"),
        }
    }
}

/// Pairs of features that are rotated at a time: those of one AVX register.
const PAIRS: usize = 4;

#[inline(always)]
fn rotated<const FMA: bool>(
    x: [f32; 2 * PAIRS],
    cos: [f32; PAIRS],
    sin: [f32; PAIRS],
) -> [f32; 2 * PAIRS] {
    let swapped: [f32; 2 * PAIRS] = std::array::from_fn(|i| x[i ^ 1]);
    let cos: [f32; 2 * PAIRS] = std::array::from_fn(|i| cos[i / 2]);
    let sin: [f32; 2 * PAIRS] =
        std::array::from_fn(|i| if i % 2 == 0 { -sin[i / 2] } else { sin[i / 2] });
    let turned: [f32; 2 * PAIRS] = std::array::from_fn(|i| swapped[i] * sin[i]);
    std::array::from_fn(|i| multiply_add::<FMA>(x[i], cos[i], turned[i]))
}

#[inline(always)]
fn interleave_rows<const WIDTH: usize>(panel: &mut [f32], rows: &[f32]) {
    let dim = panel.len() / WIDTH;
    let rows: [&[f32]; WIDTH] = std::array::from_fn(|row| &rows[row * dim..][..dim]);
    for (d, slots) in panel.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
        for (slot, row) in slots.iter_mut().zip(rows) {
            *slot = row[d];
        }
    }
}

#[inline(always)]
fn spread_row<const WIDTH: usize>(panels: &mut [f32], row: &[f32], index: usize) {
    let size = panels.len() / row.len().div_ceil(WIDTH);
    let (chunks, rest) = row.as_chunks::<WIDTH>();
    let mut panels = panels.chunks_exact_mut(size);
    for (chunk, panel) in chunks.iter().zip(&mut panels) {
        panel.as_chunks_mut::<WIDTH>().0[index] = *chunk;
    }
    if let Some(panel) = panels.next() {
        panel[index * WIDTH..][..rest.len()].copy_from_slice(rest);
    }
}
