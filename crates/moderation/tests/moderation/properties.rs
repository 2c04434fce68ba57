//! What holds for every text: no panic, scores between 0 and 1, work that grows with the length
//! alone.

use proptest::prelude::*;
use tintype_moderation::{Category, RuleSet};

/// Texts of what normalising has to do with: words, signs, marks, other scripts, pieces.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z]{1,9}",
        "[a-zA-Z0-9@$!|+*'._ -]{1,12}",
        "[\u{300}-\u{36f}]{1,5}",
        "[\u{200b}-\u{200f}\u{2060}\u{feff}\u{ad}]{1,3}",
        "[Α-ωА-я]{1,8}",
        "[一-龥ぁ-んก-๛]{1,6}",
        "[\u{1d400}-\u{1d7ff}\u{1f130}-\u{1f1ff}ﬀ-ﬆ\u{fdfa}]{1,4}",
        "\\PC{1,8}",
        Just(" ".to_owned()),
        Just("nude".to_owned()),
        Just("s e x".to_owned()),
        Just("12".to_owned()),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_has_scores_between_0_and_1_and_always_the_same(text in texts()) {
        let rules = rules();
        let scores = rules.scores(&text);
        prop_assert_eq!(scores, rules.scores(&text));
        for category in Category::ALL {
            prop_assert!((0.0..=1.0).contains(&scores.of(category)));
        }
    }

    #[test]
    fn case_invisible_characters_and_marks_change_nothing(text in "[a-z ]{0,30}", at in 0..60_usize) {
        let rules = rules();
        let plain = rules.scores(&text);
        prop_assert_eq!(rules.scores(&text.to_uppercase()), plain);
        let disguised: String = text
            .chars()
            .enumerate()
            .flat_map(|(index, c)| [Some(c), (index % 7 == at % 7 && c != ' ').then_some('\u{200b}'),
                (index % 5 == at % 5 && c != ' ').then_some('\u{301}')])
            .flatten()
            .collect();
        prop_assert_eq!(rules.scores(&disguised), plain);
    }

    #[test]
    fn any_file_is_read_or_refused_with_a_line(file in "\\PC{0,80}") {
        if let Err(error) = RuleSet::parse(&file) {
            prop_assert!(error.to_string().starts_with("line "), "{error}");
        }
    }
}

fn rules() -> &'static RuleSet {
    static RULES: std::sync::LazyLock<RuleSet> = std::sync::LazyLock::new(RuleSet::builtin);
    &RULES
}
