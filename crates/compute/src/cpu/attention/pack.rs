//! From tokens to the panels of the kernels: RMS norm, rotation and scale on the way.

use std::ops::Range;

use super::{Inputs, Sizes};
use crate::{
    QkNorm, RopeLayout, RopeTable, Segment, Tensor,
    cpu::simd::{Simd, math::multiply_add, rms_factor_short, vectorised},
};

/// One head of keys and values of one sample, and the heads of queries that share it.
pub(super) struct Source<'a> {
    pub inputs: &'a Inputs<'a>,
    pub sizes: Sizes,
    pub simd: Simd,
    pub head: usize,
    pub sample: usize,
}

/// Queries of one task.
pub(super) struct Queries {
    /// Which segment they are of.
    pub segment: usize,
    /// The position of its first token.
    pub segment_start: usize,
    /// Tokens of the segment.
    pub tokens: Range<usize>,
}

/// One head's part of a token.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// Of one of the heads that share this one's keys.
    Query(usize),
    Key,
    Value,
}

impl<'a> Source<'a> {
    /// The head's part of one token of a segment: queries, keys and values stand in this order.
    fn part(&self, segment: &Segment<'a>, row: usize, part: Part) -> &'a [f32] {
        let Sizes {
            key_value_heads,
            group,
            head_dim,
            ..
        } = self.sizes;
        let queries = key_value_heads * group;
        let head = match part {
            Part::Query(member) => self.head * group + member,
            Part::Key => queries + self.head,
            Part::Value => queries + key_value_heads + self.head,
        };
        let width = segment.qkv.width();
        let token = &segment.qkv.sample(self.sample)[row * width..][..width];
        &token[head * head_dim..][..head_dim]
    }

    /// The segment that a token of the joined sequence is of, and its row there.
    fn locate(&self, position: usize) -> (&'a Segment<'a>, usize) {
        let mut row = position - self.inputs.past;
        for segment in self.inputs.segments {
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
        let RopeTable { layout, cos, sin } = self.inputs.rope?;
        let half = self.sizes.head_dim / 2;
        Some(Rotation {
            layout: *layout,
            cos: &cos.data()[position * half..][..half],
            sin: &sin.data()[position * half..][..half],
        })
    }

    /// The normalised and rotated key of one token of the joined sequence.
    pub fn key(&self, position: usize, row: &mut [f32]) {
        let (segment, at) = self.locate(position);
        let norm = segment.norm.map(|QkNorm { key, eps, .. }| (key, eps));
        let x = self.part(segment, at, Part::Key);
        let rotation = self.rotation(position);
        make_row(self.simd, row, x, norm.map(weights), rotation, 1.0);
    }

    /// The value of one token of the joined sequence.
    pub fn value(&self, position: usize) -> &'a [f32] {
        let (segment, at) = self.locate(position);
        self.part(segment, at, Part::Value)
    }

    /// The normalised, rotated and scaled query of one token of a segment, of one of the heads that share
    /// this one's keys.
    pub fn query(&self, queries: &Queries, token: usize, member: usize, row: &mut [f32]) {
        let segment = &self.inputs.segments[queries.segment];
        let norm = segment.norm.map(|QkNorm { query, eps, .. }| (query, eps));
        // The softmax counts in powers of two.
        let factor = self.inputs.scale * std::f32::consts::LOG2_E;
        let x = self.part(segment, token, Part::Query(member));
        let rotation = self.rotation(queries.segment_start + token);
        make_row(self.simd, row, x, norm.map(weights), rotation, factor);
    }
}

/// Packs the keys and values of `positions` into the block that begins with key `first_key` (see
/// [`Sizes::packed_block`]); `rows` is room for a panel of rows. What is there from earlier positions
/// stays.
pub(super) fn keys_and_values(
    source: &Source<'_>,
    first_key: usize,
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
    let panels = keys.chunks_exact_mut(head_dim * width);
    for (panel, first) in panels.zip((first_key..).step_by(width)) {
        let of_panel = first.max(positions.start)..positions.end.min(first + width);
        if of_panel.is_empty() {
            continue;
        }
        let kept = of_panel.start - first;
        let new = of_panel.len();
        for (row, position) in rows.chunks_exact_mut(head_dim).zip(of_panel) {
            source.key(position, row);
        }
        if kept == 0 {
            interleave(source.simd, panel, width, rows);
        } else {
            for (lane, row) in (kept..).zip(rows.chunks_exact(head_dim)).take(new) {
                for (slots, value) in panel.chunks_exact_mut(width).zip(row) {
                    slots[lane] = *value;
                }
            }
        }
    }
    for position in positions {
        let value = source.value(position);
        spread(source.simd, values, value, width, position - first_key);
    }
}

/// Packs queries into panels of `[head_dim][columns]`, the heads of a group side by side; `rows` is room
/// for a panel of rows.
pub(super) fn queries(
    source: &Source<'_>,
    queries: &Queries,
    packed: &mut [f32],
    rows: &mut [f32],
) {
    let Sizes {
        head_dim,
        group,
        columns,
        ..
    } = source.sizes;
    let lanes = queries.tokens.len() * group;
    let panels = packed.chunks_exact_mut(head_dim * columns);
    for (panel, first) in panels.zip((0..lanes).step_by(columns)) {
        let of_panel = first..lanes.min(first + columns);
        for (row, lane) in rows.chunks_exact_mut(head_dim).zip(of_panel) {
            let token = queries.tokens.start + lane / group;
            source.query(queries, token, lane % group, row);
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
    layout: RopeLayout,
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
        match rotation {
            Some(Rotation { layout: RopeLayout::Interleaved, cos, sin }) => {
                rotate_neighbours::<FMA>(output, cos, sin);
            }
            Some(Rotation { layout: RopeLayout::Halves, cos, sin }) => {
                let (first, second) = output.split_at_mut(cos.len());
                let angles = cos.iter().zip(sin);
                for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(angles) {
                    (*a, *b) = turned::<FMA>([*a, *b], *cos, *sin).into();
                }
            }
            None => {}
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
fn rotate_neighbours<const FMA: bool>(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (chunks, rest) = x.as_chunks_mut::<{ 2 * PAIRS }>();
    let (cos, cos_rest) = cos.as_chunks::<PAIRS>();
    let (sin, sin_rest) = sin.as_chunks::<PAIRS>();
    for (x, (cos, sin)) in chunks.iter_mut().zip(cos.iter().zip(sin)) {
        let swapped: [f32; 2 * PAIRS] = std::array::from_fn(|i| x[i ^ 1]);
        let signed = |i: usize| {
            if i.is_multiple_of(2) {
                -sin[i / 2]
            } else {
                sin[i / 2]
            }
        };
        let turned: [f32; 2 * PAIRS] = std::array::from_fn(|i| swapped[i] * signed(i));
        *x = std::array::from_fn(|i| multiply_add::<FMA>(x[i], cos[i / 2], turned[i]));
    }
    let angles = cos_rest.iter().zip(sin_rest);
    for (pair, (cos, sin)) in rest.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
        *pair = turned::<FMA>(*pair, *cos, *sin);
    }
}

#[inline(always)]
fn turned<const FMA: bool>([a, b]: [f32; 2], cos: f32, sin: f32) -> [f32; 2] {
    [
        multiply_add::<FMA>(a, cos, -b * sin),
        multiply_add::<FMA>(b, cos, a * sin),
    ]
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
