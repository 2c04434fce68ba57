//! The one table that says which score is too high at which tolerance. docs/moderation.md shows
//! it; a test keeps the two equal.

use crate::{Category, Scores};

/// How much is let through: 0, the least, to 6, the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tolerance(u8);

impl Tolerance {
    /// How many levels there are.
    pub const COUNT: usize = 7;

    /// Lets the least through.
    pub const STRICTEST: Self = Self(0);

    /// A level; `None` beyond 6.
    pub fn new(level: u8) -> Option<Self> {
        (usize::from(level) < Self::COUNT).then_some(Self(level))
    }

    /// All levels, the strictest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map_while(Self::new)
    }

    /// The number.
    pub fn level(self) -> u8 {
        self.0
    }
}

/// No score reaches it: the category is let through at this level.
const LET: f32 = f32::INFINITY;

/// From which score on a category is moderated, at tolerance 0 to 6.
///
/// The built-in rules give 0.3 to what hints, 0.5 to what is meant, 0.75 to what is said outright
/// and 0.95 to the extreme; classifiers give what they give. Level 2 is what clients get that ask
/// for nothing, and stops what is meant.
#[rustfmt::skip]
const TABLE: [(Category, [f32; Tolerance::COUNT]); Category::COUNT] = [
    //                            0     1     2     3     4     5     6
    (Category::SexualMinors,    [0.20, 0.20, 0.20, 0.20, 0.20, 0.20, 0.20]),
    (Category::Sexual,          [0.25, 0.35, 0.45, 0.55, 0.65, 0.80, 0.90]),
    (Category::ViolenceGraphic, [0.25, 0.35, 0.45, 0.55, 0.65, 0.80, 0.90]),
    (Category::Violence,        [0.30, 0.40, 0.60, 0.70, 0.80, 0.90, LET ]),
    (Category::SelfHarm,        [0.25, 0.30, 0.40, 0.45, 0.55, 0.65, 0.75]),
    (Category::Hate,            [0.25, 0.30, 0.40, 0.45, 0.55, 0.65, 0.75]),
    (Category::Harassment,      [0.25, 0.35, 0.45, 0.55, 0.65, 0.80, 0.90]),
    (Category::IllicitViolent,  [0.25, 0.30, 0.40, 0.45, 0.55, 0.65, 0.75]),
    (Category::Illicit,         [0.25, 0.35, 0.45, 0.55, 0.65, 0.80, 0.90]),
];

/// A row that would let more minors in a sexual context through than the built-in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the thresholds of {0} may be lowered, not raised: it is tolerated at no level")]
pub struct NotStricter(Category);

/// From which score on each category is moderated at each tolerance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds([[f32; Tolerance::COUNT]; Category::COUNT]);

impl Default for Thresholds {
    fn default() -> Self {
        let mut rows = [[LET; Tolerance::COUNT]; Category::COUNT];
        for (category, row) in TABLE {
            rows[category.index()] = row;
        }
        Self(rows)
    }
}

impl Thresholds {
    /// Puts another row in the place of a category's, tolerance 0 first. A threshold above 1 lets
    /// everything through.
    ///
    /// # Errors
    /// [`NotStricter`] for a row of [`Category::SexualMinors`] that is above the built-in one.
    pub fn set(
        &mut self,
        category: Category,
        row: [f32; Tolerance::COUNT],
    ) -> Result<(), NotStricter> {
        let place = &mut self.0[category.index()];
        // Written so that what is no number is above.
        let stricter = row.iter().zip(place.iter()).all(|(new, old)| new <= old);
        if category == Category::SexualMinors && !stricter {
            return Err(NotStricter(category));
        }
        *place = row;
        Ok(())
    }

    /// The least score that is moderated; above 1 where none is.
    pub fn threshold(&self, category: Category, tolerance: Tolerance) -> f32 {
        self.0[category.index()][usize::from(tolerance.level())]
    }

    /// The gravest category that is not tolerated, if there is one.
    pub fn reached(&self, scores: &Scores, tolerance: Tolerance) -> Option<Category> {
        Category::ALL.into_iter().find(|&category| {
            let score = scores.of(category);
            score > 0.0 && score >= self.threshold(category, tolerance)
        })
    }
}
