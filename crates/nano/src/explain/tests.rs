//! What the recipe says is what is understood.

use super::sentences::{Facts, Picture, SENTENCES};
use super::words::MOST_WORDS;
use super::*;

/// A thing's usual colour counts where no other is said: `a moon` is a yellow one.
fn facts(expected: &Facts, found: &Object) -> Facts {
    let usual = expected
        .shape
        .as_ref()
        .and_then(|shape| SHIPPED.things.get(shape));
    let usual = usual.and_then(|usual| Some(usual.split_once(' ')?.0.to_owned()));
    let colour = found
        .colour
        .clone()
        .or_else(|| usual.filter(|_| expected.colour.is_some()));
    let sized = expected.size.is_some();
    Facts {
        shape: found.shape.clone(),
        colour,
        size: found.size.clone().filter(|_| sized),
        outline: found.outline.clone(),
    }
}

fn agrees(picture: &Picture, found: &Explanation) -> bool {
    let mut left = found.objects.clone();
    let all_there = picture.objects.iter().all(|expected| {
        let place = left
            .iter()
            .position(|object| facts(expected, object) == *expected);
        place.map(|place| left.remove(place)).is_some()
    });
    let ground = picture.background.as_ref().map(|(name, pattern)| {
        if pattern == "plain" {
            name.clone()
        } else {
            format!("{pattern} {name}")
        }
    });
    all_there && left.is_empty() && ground == found.background
}

#[test]
fn sentences_of_the_recipe_are_understood() {
    let wrong: Vec<_> = SENTENCES
        .pictures
        .iter()
        .filter_map(|picture| {
            let found = explain(&picture.text);
            let right = agrees(picture, &found);
            (!right).then(|| format!("{}\n{found}", picture.text))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn instructions_of_the_recipe_are_understood() {
    let wrong: Vec<_> = SENTENCES
        .edits
        .iter()
        .filter_map(|edit| {
            let found = explain_edit(&edit.text);
            let kinds: Vec<_> = found.changes.iter().map(|change| change.kind).collect();
            let places: Vec<_> = found.changes.iter().map(place_of).collect();
            let right = kinds == edit.kinds && places == edit.places;
            (!right).then(|| format!("{}\n{found}", edit.text))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn place_of(change: &Change) -> Option<String> {
    match change.kind {
        "add" => change.object.as_ref()?.place.clone(),
        "move" => change.to.clone(),
        _ => None,
    }
}

#[test]
fn the_shipped_language_reads_as_published() {
    let prompts = [
        "A large red circle left of a blue square, on a navy background.",
        "a yellow star at the top right and a small blue circle in the bottom on black",
        "a red dog in the rain, 8k",
        "a large shiny red circle over a lonely meadow",
        "naïve 漢字 🙂",
        "",
    ];
    let edits = [
        "make the red circle green",
        "replace the circle with a heart",
        "move the circle to the top left and change the background to mint",
        "add a small yellow star in the bottom right",
        "put sunglasses on the man",
    ];
    let shown: Vec<_> = prompts
        .iter()
        .map(|text| format!("{text}\n{}", explain(text)))
        .chain(
            edits
                .iter()
                .map(|text| format!("{text}\n{}", explain_edit(text))),
        )
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn any_text_is_explained_and_no_word_of_it_is_lost_twice() {
    for text in [
        "red red red",
        "on a",
        "with a black",
        "the background",
        ", , ,",
        "make",
        "to the",
    ] {
        let found = explain(text);
        let words = words_of(text).len();
        assert!(found.ignored.len() <= words, "{text}: {found}");
        assert!(explain_edit(text).changes.is_empty(), "{text}");
    }
    assert_eq!(
        explain(&"dog ".repeat(1000)).ignored.len(),
        MOST_WORDS,
        "a long text is cut"
    );
}
