//! Rule files of an operator: what they may say, and how their faults are told.

use tintype_moderation::{Category, Origin, RuleSet};

fn rules(file: &str) -> RuleSet {
    RuleSet::parse(file).unwrap_or_else(|error| panic!("{error}"))
}

fn score(rules: &RuleSet, text: &str) -> f32 {
    rules.scores(text).of(Category::Hate)
}

#[test]
fn a_rule_has_words_beginnings_alternatives_lists_and_numbers() {
    let rules = rules(
        r#"
        short_words = ["be an"]
        innocent = ["plum pudding"]
        [lists]
        fruit = ["plum|plums", "dragon fruit"]
        [[rule]]
        category = "hate"
        score = 0.5
        phrases = ["rotten @fruit|nut", "mould*", "{3-5} pears", "{1-9}kg", "self-made"]
        unless = ["compost"]
        "#,
    );
    for text in [
        "a rotten plum",
        "Rotten dragon fruit!",
        "rotten nut",
        "mouldy",
        "4 pears",
        "7kg",
        "self made",
        "self-made",
        "ROTTEN   PLUMS",
    ] {
        assert_eq!(score(&rules, text), 0.5, "{text}");
    }
    for text in [
        "rotten",
        "plum",
        "rotten plumber",
        "rotten dragon",
        "amould",
        "6 pears",
        "12kg",
        "rotten plum pudding and",
        "the compost: a rotten plum",
    ]
    .into_iter()
    .filter(|text| !text.contains("pudding"))
    {
        assert_eq!(score(&rules, text), 0.0, "{text}");
    }
}

#[test]
fn parts_must_be_near_each_other() {
    let rules = rules(
        r#"
        [[rule]]
        category = "hate"
        score = 1.0
        near = [["salt"], ["sugar", "honey"], ["oil"]]
        within = 4
        "#,
    );
    assert_eq!(score(&rules, "oil then salt then honey"), 1.0);
    assert_eq!(score(&rules, "salt one two three four five oil sugar"), 0.0);
    assert_eq!(score(&rules, "salt oil"), 0.0);
    let far = "salt a b c d e oil salt honey";
    assert_eq!(score(&rules, far), 1.0, "the later salt is near");
}

#[test]
fn what_is_innocent_covers_what_lies_within_it() {
    let rules = rules(
        r#"
        innocent = ["plum pudding"]
        [[rule]]
        category = "hate"
        score = 0.4
        phrases = ["plum", "pudding bowl"]
        "#,
    );
    assert_eq!(score(&rules, "a plum pudding"), 0.0);
    assert_eq!(score(&rules, "a plum pudding, a plum"), 0.4);
    assert_eq!(score(&rules, "a plum pudding bowl"), 0.4);
}

#[test]
fn a_file_may_add_to_the_built_in_rules() {
    let own = "[[rule]]\ncategory = \"hate\"\nscore = 0.9\nphrases = [\"marmalade\"]\n";
    let alone = rules(own);
    assert_eq!((alone.len(), alone.is_empty()), (1, false));
    assert!(alone.matches("a nude woman").is_empty());
    let both = rules(&format!("extends_builtin = true\n{own}"));
    assert_eq!(both.len(), 1 + RuleSet::builtin().len());
    let origins: Vec<_> = both
        .matches("a nude woman in marmalade")
        .iter()
        .map(|found| found.origin)
        .collect();
    assert_eq!(origins.first(), Some(&Origin::Builtin));
    assert_eq!(origins.last(), Some(&Origin::Operator));
    assert_eq!(both.matches("marmalade")[0].line, 2);
}

#[test]
fn other_scripts_match_in_either_case_and_without_blanks() {
    let rules = rules(
        r#"
        [[rule]]
        category = "hate"
        score = 0.4
        phrases = ["вред*", "ΝΑΥΣ", "毒薬", "독약*"]
        "#,
    );
    for text in [
        "вреда",
        "ВРЕДА",
        "Вреда",
        "ναυς",
        "Ναυς",
        "この毒薬は",
        "독약을",
    ] {
        assert_eq!(score(&rules, text), 0.4, "{text}");
    }
    assert_eq!(
        score(&rules, "невреда 毒 薬 독"),
        0.4,
        "blanks do not part characters"
    );
    assert_eq!(score(&rules, "невреда 毒"), 0.0);
}

#[test]
fn a_broken_file_is_told_by_line_and_reason() {
    let rule = "[[rule]]\ncategory = \"hate\"\nscore = 0.5\n";
    for (file, line, reason) in [
        ("innocent = [\"a\"\n", 2, ""),
        ("\n\nwords = []", 3, "unknown field `words`"),
        (
            "[[rule]]\ncategory = \"gore\"\nscore = 1\nphrases=[\"a\"]",
            2,
            "no category \"gore\"",
        ),
        (
            "[[rule]]\ncategory = \"hate\"\nscore = 1.5\nphrases=[\"a\"]",
            3,
            "at most 1, not 1.5",
        ),
        (
            "[[rule]]\ncategory = \"hate\"\nscore = nan\nphrases=[\"a\"]",
            3,
            "at most 1, not NaN",
        ),
        (
            "[[rule]]\ncategory = \"hate\"\nphrases=[\"a\"]",
            1,
            "missing field `score`",
        ),
        (
            &format!("{rule}phrases = [\n\"a b\",\n\"@there\"]"),
            6,
            "a list \"there\" that is not",
        ),
        (
            &format!("{rule}phrases = [\"a*b\"]"),
            4,
            "not at the end of a word",
        ),
        (
            &format!("{rule}phrases = [\"ab*\"]"),
            4,
            "fewer than 3 letters",
        ),
        (
            &format!("{rule}phrases = [\"{{5-1}}\"]"),
            4,
            "written like {1-17}",
        ),
        (&format!("{rule}phrases = [\"?!\"]"), 4, "has no words"),
        (
            &format!("{rule}phrases = [\"a b c d e f g h i\"]"),
            4,
            "more than 8 words",
        ),
        (&format!("{rule}\n"), 1, "either `phrases` or `near`"),
        (&format!("{rule}near = [[\"a\"]]"), 1, "needs two lists"),
        (&format!("{rule}near = [[\"a\"], []]"), 1, "is empty"),
        (
            &format!("{rule}phrases = [\"{}\"]", ["a|b|c|d|e|f"; 6].join(" ")),
            4,
            "more than 5000 phrases",
        ),
    ] {
        let error = RuleSet::parse(file).expect_err(file).to_string();
        let begins = format!("line {line}: ");
        assert!(
            error.starts_with(&begins) && error.contains(reason),
            "{file}\n{error}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_or_broken_is_named() {
    let missing = RuleSet::load("/nowhere/rules.toml".as_ref()).expect_err("no such file");
    assert!(
        missing
            .to_string()
            .starts_with("cannot read /nowhere/rules.toml: ")
    );
    let broken = RuleSet::load(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").as_ref());
    let broken = broken.expect_err("no rules").to_string();
    assert!(
        broken.contains("Cargo.toml, line 1: unknown field `package`"),
        "{broken}"
    );
}
