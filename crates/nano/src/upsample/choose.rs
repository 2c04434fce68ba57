//! Choices from a seed.

use super::layout::{Cell, Layout, cell_of, sides};
use super::{Ground, Object, Scene};
use crate::language::{Language, Names};

/// A stream of choices in a language: SplitMix64 (Steele, Lea and Flood 2014).
pub(super) struct Choice<'a> {
    language: &'a Language,
    state: u64,
}

impl<'a> Choice<'a> {
    pub(super) fn new(language: &'a Language, seed: u64) -> Self {
        Self {
            language,
            state: seed,
        }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of those that are liked, of all if none is.
    fn liked(&mut self, names: &Names, likes: impl Fn(&str) -> bool) -> Option<String> {
        let all: Vec<_> = names.keys().map(String::as_str).collect();
        let liked: Vec<_> = all.iter().copied().filter(|name| likes(name)).collect();
        let from = if liked.is_empty() { all } else { liked };
        let count = u64::try_from(from.len()).unwrap_or(u64::MAX).max(1);
        let index = usize::try_from(self.next() % count).unwrap_or(0);
        from.get(index).map(|name| (*name).to_owned())
    }

    /// A background; five in eight are plain where the language has patterns.
    pub(super) fn ground(&mut self, ground: &mut Ground) {
        let language = self.language;
        if ground.name.is_none() {
            let unsaid = ground.pattern.is_none() && !language.patterns.is_empty();
            ground.name = self.liked(&language.backgrounds, |_| true);
            if unsaid && self.next().is_multiple_of(2) {
                ground.pattern = self.liked(&language.patterns, |_| true);
            }
        }
    }

    /// Two without a place are given a relation, others a place each.
    pub(super) fn places(&mut self, scene: &mut Scene) -> Option<Layout> {
        let language = self.language;
        let placeless = scene.objects.iter().all(|object| object.place.is_none());
        if Layout::of(scene)? == Layout::Places {
            if scene.objects.len() == 2 && placeless {
                scene.relation = self.liked(&language.relations, |name| sides(name).is_some());
            } else {
                self.places_of_each(&mut scene.objects);
            }
        }
        Layout::of(scene)
    }

    fn places_of_each(&mut self, objects: &mut [Object]) {
        for index in 0..objects.len() {
            if objects[index].place.is_none() {
                objects[index].place = self.place(objects);
            }
        }
    }

    /// A place that no object has, with a cell between it and the others if there is one.
    fn place(&mut self, objects: &[Object]) -> Option<String> {
        let language = self.language;
        let taken = objects.iter().filter_map(|object| object.place.as_deref());
        let taken: Vec<_> = taken.map(cell_of).collect();
        let nearest = |place: &str| {
            let distances = taken.iter().map(|cell| distance(*cell, cell_of(place)));
            distances.min().unwrap_or(i32::MAX).min(2)
        };
        let best = language.places.keys().map(|place| nearest(place)).max();
        self.liked(&language.places, |place| Some(nearest(place)) == best)
    }

    pub(super) fn shape(&mut self, objects: &mut [Object], index: usize) {
        if objects[index].shape.is_none() {
            let language = self.language;
            let taken: Vec<_> = objects
                .iter()
                .filter_map(|object| object.shape.clone())
                .collect();
            let new = |shape: &str| !taken.iter().any(|taken| taken == shape);
            objects[index].shape = self.liked(&language.shapes, new);
        }
    }

    /// A colour that no object has, and that is seen on the background.
    pub(super) fn colour(&mut self, scene: &mut Scene, index: usize) {
        if scene.objects[index].colour.is_some() {
            return;
        }
        let language = self.language;
        let ground = scene.ground.name.as_deref().unwrap_or_default();
        let hidden = language
            .choices
            .hidden
            .get(ground)
            .map_or(&[][..], Vec::as_slice);
        let outline = scene.objects[index].outline.as_deref();
        let chosen = self.liked(&language.colours, |colour| {
            let colours = scene
                .objects
                .iter()
                .filter_map(|object| object.colour.as_deref());
            let taken = colours.chain(outline).any(|other| other == colour);
            !taken && !hidden.iter().any(|hidden| hidden == colour)
        });
        scene.objects[index].colour = chosen;
    }

    /// A size that leaves room between the object of this index and the others. One whose size is
    /// not known yet will take a small one if it must.
    pub(super) fn size(&mut self, objects: &mut [Object], index: usize, layout: &Layout) {
        if objects[index].size.is_some() || *layout == Layout::Together {
            return;
        }
        let choices = &self.language.choices;
        let cells = layout.cells(objects);
        let smallest = choices.radius.values().min().copied().unwrap_or(0);
        let alike = objects[index].count.is_some();
        let fits = |radius: i32| {
            cells.iter().enumerate().all(|(other, cell)| {
                let size = objects.get(other).and_then(|object| object.size.as_ref());
                let size = size.and_then(|size| choices.radius.get(size)).copied();
                let other_radius = if alike {
                    radius
                } else {
                    size.unwrap_or(smallest)
                };
                let apart = distance(*cell, cells[index]) * choices.pitch;
                other == index || apart >= radius + other_radius + choices.gap
            })
        };
        let language = self.language;
        objects[index].size = self.liked(&language.sizes, |name| {
            choices.radius.get(name).is_some_and(|radius| fits(*radius))
        });
    }

    /// What is added is kept away from the centre, where most pictures have something.
    pub(super) fn addition(&mut self, said: &Object) -> Object {
        let language = self.language;
        let mut object = said.clone();
        if object.place.is_none() {
            object.place = self.liked(&language.places, |place| cell_of(place) != (1, 1));
        }
        if object.colour.is_none() {
            object.colour = self.liked(&language.colours, |_| true);
        }
        if object.size.is_none() {
            object.size = self.liked(&language.sizes, |size| size != "large");
        }
        self.shape(std::slice::from_mut(&mut object), 0);
        object
    }
}

/// Cells between two cells, along the longer way.
fn distance(one: Cell, other: Cell) -> i32 {
    (one.0 - other.0).abs().max((one.1 - other.1).abs())
}
