//! The words of the language, as `recipe/language.py` has them.

pub(super) const SHAPES: [&str; 6] = ["circle", "square", "triangle", "star", "heart", "cross"];

pub(super) const COLOURS: [&str; 8] = [
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink",
];

pub(super) const BACKGROUNDS: [&str; 6] = ["white", "black", "gray", "cream", "navy", "mint"];

/// Colours that are hard to tell from a background: said, they stay; chosen they are not.
pub(super) const ALIKE: [(&str, &[&str]); 4] = [
    ("white", &["yellow"]),
    ("cream", &["yellow", "pink"]),
    ("navy", &["blue", "purple"]),
    ("mint", &["cyan", "green"]),
];

/// Sizes with their radius in pixels.
pub(super) const SIZES: [(&str, i32); 3] = [("small", 12), ("medium", 17), ("large", 22)];

/// Places with their cell, as `(column, row)`.
pub(super) const PLACES: [(&str, (i32, i32)); 9] = [
    ("top left", (0, 0)),
    ("top", (1, 0)),
    ("top right", (2, 0)),
    ("left", (0, 1)),
    ("center", (1, 1)),
    ("right", (2, 1)),
    ("bottom left", (0, 2)),
    ("bottom", (1, 2)),
    ("bottom right", (2, 2)),
];

/// Relations with the cells of the first and of the second object.
pub(super) const RELATIONS: [(&str, [(i32, i32); 2]); 4] = [
    ("left of", [(0, 1), (2, 1)]),
    ("right of", [(2, 1), (0, 1)]),
    ("above", [(1, 0), (1, 2)]),
    ("below", [(1, 2), (1, 0)]),
];

/// Pixels between the centres of neighbouring cells of a square picture.
pub(super) const CELL_PIXELS: i32 = 40;

/// Pixels that two objects stay apart.
pub(super) const GAP_PIXELS: i32 = 3;
