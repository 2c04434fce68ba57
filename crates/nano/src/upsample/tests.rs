//! What is said stays, what is open is filled in, and nothing else happens.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::upsample::words::SHAPES;

/// The words of a prompt that mean something, in their order.
fn content(prompt: &str) -> Vec<String> {
    let glue = [
        "a",
        "an",
        "the",
        "in",
        "at",
        "on",
        "to",
        "and",
        "draw",
        "picture",
        "of",
        "background",
    ];
    let words = prompt.split(|letter: char| !letter.is_ascii_alphabetic());
    let words = words.map(str::to_lowercase);
    words
        .filter(|word| !word.is_empty() && !glue.contains(&word.as_str()))
        .collect()
}

/// Whether all of these words stand in a text, in their order.
fn says(text: &str, words: &[String]) -> bool {
    let said = content(text);
    let mut said = said.iter();
    words.iter().all(|word| said.any(|other| other == word))
}

fn maybe(names: &'static [&'static str]) -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![Just(None), select(names).prop_map(Some)]
}

const SIZE_NAMES: &[&str] = &["small", "medium", "large"];
const PLACE_NAMES: &[&str] = &[
    "top left",
    "top",
    "top right",
    "left",
    "center",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
];

/// An object with some of what can be said of one.
fn noun_phrase() -> impl Strategy<Value = String> {
    let shape = select(&SHAPES[..]);
    (any::<bool>(), maybe(SIZE_NAMES), maybe(&COLOURS), shape).prop_map(
        |(article, size, colour, shape)| {
            let article = article.then_some("a");
            let words = [article, size, colour, Some(shape)];
            words.into_iter().flatten().collect::<Vec<_>>().join(" ")
        },
    )
}

fn placed() -> impl Strategy<Value = String> {
    (noun_phrase(), maybe(PLACE_NAMES), select(&["in", "at"][..])).prop_map(
        |(object, place, preposition)| match place {
            Some(place) => format!("{object} {preposition} the {place}"),
            None => object,
        },
    )
}

fn background() -> impl Strategy<Value = String> {
    let name = || select(&BACKGROUNDS[..]);
    prop_oneof![
        Just(String::new()),
        name().prop_map(|name| format!(" on a {name} background")),
        name().prop_map(|name| format!(", {name} background")),
        name().prop_map(|name| format!(" on {name}")),
    ]
}

/// A prompt of the language that says as much as it likes.
fn prompt() -> impl Strategy<Value = String> {
    let relation = select(&["left of", "to the right of", "above", "below"][..]);
    let objects = prop_oneof![
        placed(),
        (placed(), placed()).prop_map(|(a, b)| format!("{a} and {b}")),
        (noun_phrase(), relation, noun_phrase()).prop_map(|(a, r, b)| format!("{a} {r} {b}")),
        (placed(), placed(), placed()).prop_map(|(a, b, c)| format!("{a}, {b} and {c}")),
    ];
    let opening = select(&["", "", "draw ", "a picture of ", "Draw "][..]);
    let end = select(&["", "."][..]);
    (opening, objects, background(), end).prop_map(|(o, s, b, e)| format!("{o}{s}{b}{e}"))
}

proptest! {
    #[test]
    fn everything_that_was_said_is_still_said(prompt in prompt(), seed: u64) {
        let text = upsample(&prompt, seed).expect("it is of the language");
        prop_assert!(says(&text, &content(&prompt)), "{prompt} → {text}");
        let objects = |text: &str| Parser::of(text).scene().expect("a scene").objects.len();
        prop_assert_eq!(objects(&text), objects(&prompt));
    }

    #[test]
    fn nothing_is_left_open_and_a_second_time_changes_nothing(
        prompt in prompt(), seed: u64, other: u64,
    ) {
        let text = upsample(&prompt, seed).expect("it is of the language");
        let scene = Parser::of(&text).scene().expect("so is this");
        prop_assert!(scene.background.is_some(), "{text}");
        for object in &scene.objects {
            prop_assert!(object.size.is_some() && object.colour.is_some(), "{text}");
            prop_assert!(object.place.is_some() || scene.relation.is_some(), "{text}");
        }
        prop_assert_eq!(upsample(&text, other), Some(text));
    }

    #[test]
    fn the_same_seed_gives_the_same_and_the_model_reads_it_whole(prompt in prompt(), seed: u64) {
        let text = upsample(&prompt, seed).expect("it is of the language");
        prop_assert_eq!(upsample(&prompt, seed), Some(text.clone()));
        let tokens = text.split(' ').count() + text.matches(',').count();
        prop_assert!(tokens <= MOST_TOKENS || text == prompt, "{tokens}: {text}");
    }

    #[test]
    fn what_is_not_of_the_language_is_left_alone(prompt in ".{0,80}", seed: u64) {
        if let Some(text) = upsample(&prompt, seed) {
            prop_assert!(says(&text, &content(&prompt)), "{prompt} → {text}");
        }
        drop(upsample_edit(&prompt, seed));
    }
}

#[test]
fn what_is_chosen_stands_apart_and_is_seen() {
    for seed in 0..500 {
        let text = upsample("a circle, a star and a heart on navy", seed).expect("a scene");
        let objects = Parser::of(&text).scene().expect("a scene").objects;
        for (index, object) in objects.iter().enumerate() {
            assert!(
                !["blue", "purple"].contains(&object.colour.unwrap_or("blue")),
                "{text}"
            );
            for other in &objects[index + 1..] {
                assert_ne!(object.colour, other.colour, "{text}");
                assert_ne!(object.place, other.place, "{text}");
            }
        }
    }
}

#[test]
fn prompts_become_these() {
    let shown = [
        "a circle",
        "a red circle",
        "Draw a large red circle in the top left.",
        "a red circle and a square",
        "a star to the left of a heart on mint",
        "a circle, a star and a cross",
        "a large circle at the center and a large star in the top, black background",
        "a picture of a small pink heart in the bottom right on gray",
    ];
    let text: Vec<_> = shown
        .iter()
        .flat_map(|prompt| {
            let of_seed = |seed| upsample(prompt, seed).unwrap_or_default();
            [
                prompt.to_string(),
                format!("  7 {}", of_seed(7)),
                format!("  8 {}", of_seed(8)),
            ]
        })
        .collect();
    insta::assert_snapshot!("prompts", text.join("\n"));
}

#[test]
fn a_complete_prompt_stays_as_it_was_written() {
    let complete = "A small pink star in the top left on cream.";
    assert_eq!(upsample(complete, 3).as_deref(), Some(complete));
    let related = "draw a large red circle to the left of a medium blue square, navy background";
    assert_eq!(upsample(related, 3).as_deref(), Some(related));
}

#[test]
fn other_words_are_none_of_its_business() {
    let strange = [
        "",
        " ",
        "a cat",
        "a red circle with a hat",
        "a red circle on a blue background",
        "circle circle",
        "a red circle left of a blue square in the top",
        "make the circle green",
        "a red circle, a blue square, a green star and a pink heart",
        "on navy",
        "a red",
        "ein roter Kreis",
    ];
    for prompt in strange {
        assert_eq!(upsample(prompt, 1), None, "{prompt}");
    }
}

#[test]
fn an_instruction_keeps_what_it_asks_for() {
    let clear = [
        "make the circle green",
        "change the red circle to green",
        "turn the circle green",
        "remove the circle",
        "replace the circle with a heart",
        "turn the star into a heart",
        "move the circle to the top left",
        "make the circle larger",
        "make the background navy",
        "change the background to navy",
        "add a small yellow star in the bottom right",
    ];
    for instruction in clear {
        let edited = upsample_edit(instruction, 5);
        assert_eq!(edited.as_deref(), Some(instruction));
    }
    for strange in [
        "make it better",
        "make the circle navy",
        "add a cat",
        "remove circle",
        "",
    ] {
        assert_eq!(upsample_edit(strange, 5), None, "{strange}");
    }
    for seed in 0..100 {
        let added = upsample_edit("Add a star.", seed).expect("of the language");
        let object = Parser::of(&added).addition().expect("still an addition");
        let said = object.size.is_some() && object.colour.is_some() && object.place.is_some();
        assert!(said && object.shape == "star", "{added}");
        assert!(!added.contains("center"), "{added}");
        assert_eq!(upsample_edit(&added, seed + 1), Some(added));
    }
}
