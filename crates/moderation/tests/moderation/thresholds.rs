//! The table of thresholds: every category at every level, and as the documentation shows it.

use tintype_moderation::{Category, Scores, Thresholds, Tolerance};

/// The page that people read.
const PAGE: &str = include_str!("../../../../docs/moderation.md");

/// The table of the page: each category with its thresholds, 0 to 6; `–` is let through.
fn published() -> Vec<(Category, Vec<Option<f32>>)> {
    let rows = PAGE.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let category = cells.next()?.trim_matches('`').parse().ok()?;
        let thresholds: Vec<_> = cells.map(|cell| cell.parse().ok()).collect();
        (thresholds.len() == Tolerance::COUNT).then_some((category, thresholds))
    });
    rows.collect()
}

fn scored(category: Category, score: f32) -> Scores {
    let mut scores = Scores::NONE;
    scores.raise(category, score);
    scores
}

#[test]
fn every_category_is_moderated_from_its_published_threshold_on() {
    let (thresholds, published) = (Thresholds::default(), published());
    assert_eq!(published.len(), Category::COUNT, "the whole table");
    for (category, row) in published {
        for (tolerance, published) in Tolerance::all().zip(row) {
            let reached = |score| thresholds.reached(&scored(category, score), tolerance);
            match published {
                Some(threshold) => {
                    assert_eq!(
                        reached(threshold),
                        Some(category),
                        "{category} {tolerance:?}"
                    );
                    assert_eq!(reached(threshold - 0.001), None, "{category} {tolerance:?}");
                }
                None => assert_eq!(reached(1.0), None, "{category} {tolerance:?}"),
            }
        }
    }
}

#[test]
fn a_higher_tolerance_never_stops_more() {
    let thresholds = Thresholds::default();
    for category in Category::ALL {
        let row: Vec<f32> = Tolerance::all()
            .map(|tolerance| thresholds.threshold(category, tolerance))
            .collect();
        assert!(row.is_sorted(), "{category}: {row:?}");
        assert!(row[0] > 0.0, "{category}");
    }
}

#[test]
fn minors_are_tolerated_at_no_level_whatever_an_operator_sets() {
    let mut thresholds = Thresholds::default();
    let minors = Category::SexualMinors;
    for row in [[0.5; 7], [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.9], [f32::NAN; 7]] {
        assert!(thresholds.set(minors, row).is_err(), "{row:?}");
    }
    for tolerance in Tolerance::all() {
        let scores = scored(minors, 0.2);
        assert_eq!(thresholds.reached(&scores, tolerance), Some(minors));
    }
    assert_eq!(thresholds.set(minors, [0.1; 7]), Ok(()));
    let lax = thresholds.set(Category::Violence, [2.0; 7]);
    assert_eq!(lax, Ok(()));
    let scores = scored(Category::Violence, 1.0);
    assert_eq!(thresholds.reached(&scores, Tolerance::STRICTEST), None);
}

#[test]
fn the_gravest_of_several_categories_is_named() {
    let mut scores = Scores::NONE;
    for category in Category::ALL.into_iter().rev() {
        scores.raise(category, 1.0);
        let named = Thresholds::default().reached(&scores, Tolerance::STRICTEST);
        assert_eq!(named, Some(category));
    }
}

#[test]
fn what_nobody_saw_is_never_moderated() {
    let mut thresholds = Thresholds::default();
    thresholds.set(Category::Hate, [0.0; 7]).expect("any row");
    for tolerance in Tolerance::all() {
        assert_eq!(thresholds.reached(&Scores::NONE, tolerance), None);
    }
}
