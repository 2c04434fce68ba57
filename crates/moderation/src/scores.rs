//! How much of each category somebody sees in a text or a picture.

use crate::Category;

/// A score in 0..=1 for each category; 0 where nothing was said.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scores([f32; Category::COUNT]);

impl Scores {
    /// Nothing was seen.
    pub const NONE: Self = Self([0.0; Category::COUNT]);

    /// The score of one category.
    pub fn of(&self, category: Category) -> f32 {
        self.0[category.index()]
    }

    /// Lifts a category to this score, if it is not there yet. What is no number changes nothing;
    /// beyond 1 is 1.
    pub fn raise(&mut self, category: Category, score: f32) {
        let place = &mut self.0[category.index()];
        // `max` passes over what is no number.
        *place = place.max(score.clamp(0.0, 1.0));
    }

    /// The same, said by another judge as well: the higher score of each category.
    pub fn and(mut self, other: &Self) -> Self {
        for category in Category::ALL {
            self.raise(category, other.of(category));
        }
        self
    }

    /// Those that are not zero, the gravest category first.
    pub fn seen(&self) -> impl Iterator<Item = (Category, f32)> {
        Category::ALL
            .into_iter()
            .map(|category| (category, self.of(category)))
            .filter(|(_, score)| *score > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_only_rise_and_stay_between_0_and_1() {
        let mut scores = Scores::NONE;
        scores.raise(Category::Hate, 0.5);
        scores.raise(Category::Hate, 0.2);
        scores.raise(Category::Hate, -3.0);
        scores.raise(Category::Hate, f32::NAN);
        assert_eq!(scores.of(Category::Hate), 0.5);
        scores.raise(Category::Hate, 7.0);
        assert_eq!(scores.seen().collect::<Vec<_>>(), [(Category::Hate, 1.0)]);
    }

    #[test]
    fn of_two_judges_the_stricter_one_counts() {
        let (mut one, mut other) = (Scores::NONE, Scores::NONE);
        one.raise(Category::Sexual, 0.3);
        other.raise(Category::Sexual, 0.2);
        other.raise(Category::Violence, 0.9);
        let both = one.and(&other);
        assert_eq!(both.of(Category::Sexual), 0.3);
        assert_eq!(both.of(Category::Violence), 0.9);
    }
}
