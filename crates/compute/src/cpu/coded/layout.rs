//! A chunk of a panel: the columns' bytes taken apart and laid side by side, so that one vector load
//! finds the same bits of neighbouring columns.
//!
//! Numbers lie as `[depth][column]`. A block of each column lies as its f16 scales `[column]`, its f16
//! minimums `[column]` if it has such, the groups' scales `[group][column]` and minimums likewise (a byte
//! each; Q2_K's share one), then its quants, eight steps of the depth at a time: planes of four bits
//! `[4][column]`, two `[2][column]`, one `[1][column]`, or eight `[8][column]`. In a plane of `n` bits the
//! byte `j` of a column has the step `j · 8 / n` lowest.

use crate::{
    Encoding,
    encoding::{Block, Shape},
};

/// Steps of the depth whose quants lie together.
pub const STEPS: usize = 8;

/// What the groups of a block have beside the block's own scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Nothing: the block is one group.
    None,
    /// A scale in a byte.
    Scales,
    /// A scale and a minimum in a byte each.
    ScalesAndMins,
    /// A scale and a minimum in half a byte each.
    Nibbles,
}

impl Groups {
    pub const fn of(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Q2K => Self::Nibbles,
            Encoding::Q3K | Encoding::Q6K => Self::Scales,
            Encoding::Q4K | Encoding::Q5K => Self::ScalesAndMins,
            _ => Self::None,
        }
    }

    /// Bytes for each group of a column.
    pub const fn bytes(self) -> usize {
        match self {
            Self::None => 0,
            Self::Scales | Self::Nibbles => 1,
            Self::ScalesAndMins => 2,
        }
    }
}

/// The planes in which quants of so many bits lie, the lowest bits first.
pub const fn planes(bits: usize) -> [usize; 2] {
    match bits {
        2 => [2, 0],
        3 => [2, 1],
        4 => [4, 0],
        5 => [4, 1],
        6 => [4, 2],
        8 => [8, 0],
        _ => panic!("no format has such quants; this is a bug"),
    }
}

/// How many bytes a column takes of a chunk of this length.
pub fn column_bytes(encoding: Encoding, length: usize) -> usize {
    if encoding.block_values() == 1 {
        return length * encoding.block_bytes();
    }
    length / encoding.block_values() * block_bytes(encoding)
}

/// How many bytes a block takes in a panel; the file's number, or four more.
pub fn block_bytes(encoding: Encoding) -> usize {
    let shape = Shape::of(encoding);
    let values = encoding.block_values();
    let halves = 1 + usize::from(shape.has_min);
    let groups = values / shape.group * Groups::of(encoding).bytes();
    2 * halves + groups + values * shape.bits / 8
}

/// Lays the rows of a weight, each a chunk in the file's bytes, side by side in `panel`. Columns that
/// are not there stay what they were: zeros.
pub fn pack(encoding: Encoding, rows: &[&[u8]], width: usize, panel: &mut [u8]) {
    if encoding.block_values() == 1 {
        return pack_numbers(encoding.block_bytes(), rows, width, panel);
    }
    let blocks = panel.chunks_exact_mut(block_bytes(encoding) * width);
    let mut parts = Block::default();
    for (index, panel) in blocks.enumerate() {
        for (column, row) in rows.iter().enumerate() {
            let size = encoding.block_bytes();
            parts.take_apart(encoding, &row[index * size..][..size]);
            put_block(encoding, &parts, Column { column, width }, panel);
        }
    }
}

fn pack_numbers(size: usize, rows: &[&[u8]], width: usize, panel: &mut [u8]) {
    for (column, row) in rows.iter().enumerate() {
        let slots = panel.chunks_exact_mut(size * width);
        for (slots, number) in slots.zip(row.chunks_exact(size)) {
            slots[column * size..][..size].copy_from_slice(number);
        }
    }
}

/// Which column of a panel, and how many there are.
#[derive(Clone, Copy)]
struct Column {
    column: usize,
    width: usize,
}

fn put_block(encoding: Encoding, parts: &Block, place: Column, panel: &mut [u8]) {
    let Column { column, width } = place;
    let shape = Shape::of(encoding);
    let (scales, panel) = panel.split_at_mut(2 * width);
    scales[2 * column..][..2].copy_from_slice(&parts.scale.to_le_bytes());
    let (mins, panel) = panel.split_at_mut(if shape.has_min { 2 * width } else { 0 });
    if shape.has_min {
        // Blocks without groups add what they store; here it is subtracted.
        let min = match Groups::of(encoding) {
            Groups::None => -parts.min,
            _ => parts.min,
        };
        mins[2 * column..][..2].copy_from_slice(&min.to_le_bytes());
    }
    let (groups, values) = (Groups::of(encoding), encoding.block_values());
    let count = values / shape.group;
    let (group_bytes, panel) = panel.split_at_mut(count * groups.bytes() * width);
    for group in 0..count {
        let scale = parts.scales[group].cast_unsigned();
        let min = parts.mins[group].cast_unsigned();
        let slot = group * width + column;
        match groups {
            Groups::None => {}
            Groups::Scales => group_bytes[slot] = scale,
            Groups::Nibbles => group_bytes[slot] = scale | min << 4,
            Groups::ScalesAndMins => {
                group_bytes[slot] = scale;
                group_bytes[count * width + slot] = min;
            }
        }
    }
    let steps = panel.chunks_exact_mut(shape.bits * width);
    for (quants, step) in parts.quants[..values].chunks_exact(STEPS).zip(steps) {
        put_quants(planes(shape.bits), quants, place, step);
    }
}

fn put_quants([low, high]: [usize; 2], quants: &[u8], place: Column, step: &mut [u8]) {
    let Column { column, width } = place;
    let (lows, highs) = step.split_at_mut(low * width);
    for (k, quant) in quants.iter().enumerate() {
        let of_low = (u16::from(*quant) & ((1 << low) - 1)) as u8;
        put_bits(low, k, of_low, &mut lows[column..], width);
        if high > 0 {
            put_bits(high, k, quant >> low, &mut highs[column..], width);
        }
    }
}

/// Puts the `n` bits of step `k` into a column of a plane.
fn put_bits(n: usize, k: usize, bits: u8, column: &mut [u8], width: usize) {
    let each = 8 / n;
    column[k / each * width] |= bits << (k % each * n);
}
