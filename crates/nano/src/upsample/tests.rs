//! What is said stays, what is open is filled in, and nothing else happens.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::explain::sentences::SENTENCES;
use crate::explain::{explain, explain_edit};
use crate::language::Names;
use say::pieces;

/// Whether everything that is said of one is said of the other too.
fn says_no_less(found: &Object, said: &Object) -> bool {
    let agrees = |found: &Option<String>, said: &Option<String>| said.is_none() || found == said;
    found.count == said.count
        && agrees(&found.shape, &said.shape)
        && agrees(&found.colour, &said.colour)
        && agrees(&found.size, &said.size)
        && found.outline == said.outline
}

/// What is wrong with a rewriting, if anything is.
fn wrong(prompt: &str, text: &str) -> Option<&'static str> {
    let said = explain(prompt);
    let found = explain(text);
    let objects = found.objects.iter().zip(&said.objects);
    let ground = said.background.as_deref().unwrap_or_default();
    let found_ground = found.background.as_deref().unwrap_or_default();
    let placed = |objects: &[Object]| {
        objects
            .iter()
            .filter(|object| object.place.is_some())
            .count()
    };
    let complete = |object: &Object| object.shape.is_some() && object.colour.is_some();
    let positioned = found.relation.is_some()
        || found
            .objects
            .iter()
            .all(|object| object.place.is_some() || object.count.is_some());
    [
        (
            !found.ignored.is_empty(),
            "says what is not in the language",
        ),
        (
            found.objects.len() != said.objects.len(),
            "has other objects",
        ),
        (
            !objects
                .clone()
                .all(|(found, said)| says_no_less(found, said)),
            "has lost something",
        ),
        (!found_ground.ends_with(ground), "has another background"),
        (
            placed(&found.objects) < placed(&said.objects),
            "has lost a place",
        ),
        (
            said.relation.is_some() && found.relation != said.relation,
            "has another relation",
        ),
        (
            !found.objects.iter().all(complete),
            "leaves shapes or colours open",
        ),
        (!positioned, "leaves places open"),
        (found.background.is_none(), "leaves the background open"),
        (
            pieces(text) > SHIPPED.choices.most_pieces && text != prompt,
            "is too long",
        ),
    ]
    .into_iter()
    .find_map(|(is_wrong, what)| is_wrong.then_some(what))
}

fn maybe(names: Vec<String>) -> impl Strategy<Value = Option<String>> {
    prop_oneof![Just(None), select(names).prop_map(Some)]
}

fn names(of: &Names) -> Vec<String> {
    of.keys().cloned().collect()
}

fn words(of: &Names) -> Vec<String> {
    of.values().flatten().cloned().collect()
}

/// An object with some of what can be said of one.
fn noun_phrase() -> impl Strategy<Value = String> {
    let adjectives = (maybe(words(&SHIPPED.sizes)), maybe(words(&SHIPPED.colours)));
    (any::<bool>(), adjectives, select(names(&SHIPPED.shapes))).prop_map(
        |(article, (size, colour), shape)| {
            let article = article.then(|| "a".to_owned());
            let words = [article, size, colour, Some(shape)];
            words.into_iter().flatten().collect::<Vec<_>>().join(" ")
        },
    )
}

fn placed() -> impl Strategy<Value = String> {
    (
        noun_phrase(),
        maybe(names(&SHIPPED.places)),
        select(&["in", "at"][..]),
    )
        .prop_map(|(object, place, preposition)| match place {
            Some(place) => format!("{object} {preposition} the {place}"),
            None => object,
        })
}

fn background() -> impl Strategy<Value = String> {
    let name = || select(names(&SHIPPED.backgrounds));
    prop_oneof![
        Just(String::new()),
        name().prop_map(|name| format!(" on a {name} background")),
        name().prop_map(|name| format!(", {name} background")),
        name().prop_map(|name| format!(" on {name}")),
    ]
}

/// A prompt of the language that says as much as it likes.
fn prompt() -> impl Strategy<Value = String> {
    let relation =
        select(names(&SHIPPED.relations)).prop_filter("of two", |name| name != "between");
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
    fn what_was_said_stays_and_nothing_is_left_open(prompt in prompt(), seed: u64) {
        let text = upsample(&prompt, seed);
        prop_assert!(text.is_some(), "{prompt}: is of the language");
        let text = text.unwrap_or_default();
        let wrong = wrong(&prompt, &text);
        prop_assert!(wrong.is_none(), "{prompt} → {text}: {}", wrong.unwrap_or_default());
        prop_assert_eq!(upsample(&prompt, seed), Some(text));
    }

    #[test]
    fn a_second_time_changes_nothing(prompt in prompt(), seed: u64, other: u64) {
        let text = upsample(&prompt, seed).unwrap_or_default();
        // Where not all of it could be said, more may be open.
        prop_assume!(pieces(&text) < SHIPPED.choices.most_pieces - 6);
        prop_assert_eq!(upsample(&text, other), Some(text));
    }

    #[test]
    fn any_text_is_rewritten_in_the_language_or_left_alone(prompt in ".{0,80}", seed: u64) {
        drop(upsample(&prompt, seed));
        drop(upsample_edit(&prompt, seed));
    }
}

#[test]
fn sentences_of_the_recipe_keep_what_they_say() {
    let mut rewritten = 0;
    for (seed, picture) in (0..).zip(&SENTENCES.pictures) {
        let Some(text) = upsample(&picture.text, seed) else {
            continue;
        };
        let wrong = wrong(&picture.text, &text);
        assert_eq!(wrong, None, "{} → {text}", picture.text);
        rewritten += 1;
    }
    assert!(rewritten > SENTENCES.pictures.len() / 2, "{rewritten}");
}

#[test]
fn what_is_chosen_stands_apart_and_is_seen() {
    let hidden = &SHIPPED.choices.hidden["black"];
    assert!(hidden.contains(&"brown".to_owned()), "{hidden:?}");
    for seed in 0..500 {
        let text = upsample("a circle, a star and a heart on black", seed).expect("a scene");
        let objects = explain(&text).objects;
        for (index, object) in objects.iter().enumerate() {
            let colour = object.colour.as_ref().expect("a chosen colour");
            assert!(!hidden.contains(colour), "{text}");
            for other in &objects[index + 1..] {
                assert_ne!(object.colour, other.colour, "{text}");
                assert_ne!(object.place, other.place, "{text}");
            }
        }
    }
}

fn shown(prompts: &[&str]) -> String {
    let of_seed = |prompt, seed| upsample(prompt, seed).unwrap_or_default();
    let lines = prompts.iter().flat_map(|prompt| {
        [
            (*prompt).to_owned(),
            format!("  7 {}", of_seed(prompt, 7)),
            format!("  8 {}", of_seed(prompt, 8)),
        ]
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn prompts_become_these() {
    let prompts = [
        "a circle",
        "a red circle",
        "Draw a large red circle in the top left.",
        "a red circle and a square",
        "a star to the left of a heart on mint",
        "a circle, a star and a cross",
        "a large circle at the center and a large star in the top, black background",
        "a picture of a small pink heart in the bottom right on gray",
        "a red shape",
        "three stars",
        "four little hearts with white outlines, coral background",
        "a moon inside a ring at the bottom",
        "a blue square with a tree inside",
        "a house on top of a cloud",
        "a drop between a house and a tree on a dotted background",
        "an arrow, a cloud, a moon and a flower",
    ];
    insta::assert_snapshot!("prompts", shown(&prompts));
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
        "a red circle on a brown background",
        "a red circle left of a blue square in the top",
        "two stars above a red circle",
        "make the circle green",
        "a red circle, a blue square, a green star, a pink heart and a cross",
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
    for strange in ["make it better", "make the circle navy", "add a cat", ""] {
        assert_eq!(upsample_edit(strange, 5), None, "{strange}");
    }
    for seed in 0..100 {
        let added = upsample_edit("Add a star.", seed).expect("of the language");
        let changes = explain_edit(&added).changes;
        let object = changes.first().and_then(|change| change.object.clone());
        let object = object.unwrap_or_default();
        let said = object.size.is_some() && object.colour.is_some() && object.place.is_some();
        assert!(said && object.shape.as_deref() == Some("star"), "{added}");
        assert!(!added.contains("center"), "{added}");
        assert_eq!(upsample_edit(&added, seed + 1), Some(added));
    }
}
