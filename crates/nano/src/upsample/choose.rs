//! Choices from a seed.

use super::Object;
use super::words::{ALIKE, CELL_PIXELS, COLOURS, GAP_PIXELS, PLACES, SIZES};

/// A stream of choices: SplitMix64 (Steele, Lea and Flood 2014), which will never change.
pub(super) struct Choice(u64);

impl Choice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `count`.
    pub(super) fn index(&mut self, count: usize) -> usize {
        (self.next() % count as u64) as usize
    }

    /// One of several.
    pub(super) fn of<T: Copy>(&mut self, several: &[T]) -> T {
        several[self.index(several.len())]
    }

    /// One of those that are liked, of all if none is.
    fn liked<T: Copy>(&mut self, all: &[T], likes: impl Fn(&T) -> bool) -> T {
        let liked: Vec<T> = all.iter().copied().filter(likes).collect();
        self.of(if liked.is_empty() { all } else { &liked })
    }

    /// A colour that no object has, and that is seen on the background.
    pub(super) fn colour(&mut self, objects: &[Object], background: &str) -> &'static str {
        let alike = ALIKE.iter().find(|(other, _)| *other == background);
        let alike = alike.map_or(&[][..], |(_, colours)| colours);
        self.liked(&COLOURS, |colour| {
            let taken = objects.iter().any(|object| object.colour == Some(colour));
            !taken && !alike.contains(colour)
        })
    }

    /// A place that no object has, with a cell between it and the others if there is one.
    pub(super) fn place(&mut self, objects: &[Object]) -> usize {
        let all: Vec<usize> = (0..PLACES.len()).collect();
        let nearest = |place: usize| {
            let places = objects.iter().filter_map(|object| object.place);
            let distances = places.map(|other| distance(PLACES[place].1, PLACES[other].1));
            distances.min().unwrap_or(i32::MAX)
        };
        let best = all.iter().map(|place| nearest(*place).min(2)).max();
        self.liked(&all, |place| Some(nearest(*place).min(2)) == best)
    }

    /// A size that leaves room between the object of this index and the others. One whose size is
    /// not known yet will take a small one if it must.
    pub(super) fn size(
        &mut self,
        cells: &[((i32, i32), Option<&str>)],
        index: usize,
    ) -> &'static str {
        let smallest = SIZES[0].1;
        let fits = |radius: i32| {
            let others = cells
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            others.into_iter().all(|(_, (cell, size))| {
                let size = SIZES.iter().find(|(name, _)| Some(*name) == *size);
                let other = size.map_or(smallest, |(_, radius)| *radius);
                let apart = distance(*cell, cells[index].0) * CELL_PIXELS;
                apart >= radius + other + GAP_PIXELS
            })
        };
        self.liked(&SIZES, |(_, radius)| fits(*radius)).0
    }
}

/// Cells between two cells, along the longer way.
fn distance(one: (i32, i32), other: (i32, i32)) -> i32 {
    (one.0 - other.0).abs().max((one.1 - other.1).abs())
}
