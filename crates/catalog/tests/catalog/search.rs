//! Finding tools in a catalogue.

use serde_json::json;
use tintype_catalog::{Catalog, Order, ToolQuery, ToolSort};

/// A catalogue of tools that differ in one thing each. Their names are what the tests read.
fn catalog() -> Catalog {
    let tool = |owner: &str, model: &str, description: &str, categories: &[&str], tags: &[&str]| {
        json!({
            "owner": owner, "model": model, "description": description, "cover": "",
            "categories": categories, "tags": tags, "sizes": "pro", "inputs": [],
        })
        .to_string()
    };
    let files = [
        tool(
            "north",
            "edit",
            "Changes pictures.",
            &["tool", "image-to-image"],
            &["Retouching"],
        ),
        tool(
            "north",
            "draw",
            "Makes pictures of water colour.",
            &["tool", "text-to-image", "image-to-image"],
            &["art"],
        ),
        tool(
            "south",
            "Water",
            "Draws.",
            &["tool", "text-to-image"],
            &["art", "water"],
        ),
        tool(
            "south",
            "tell",
            "Says what it sees.",
            &["tool", "words"],
            &[],
        ),
    ];
    Catalog::parse(&files.each_ref().map(String::as_str)).expect("readable tools")
}

fn all() -> ToolQuery {
    ToolQuery {
        limit: usize::MAX,
        ..ToolQuery::default()
    }
}

fn searched(search: &str) -> ToolQuery {
    ToolQuery {
        search: search.to_owned(),
        ..all()
    }
}

/// The models on the page, and how many there are in all.
fn found(query: ToolQuery) -> (String, usize) {
    let catalog = catalog();
    let found = catalog.find(&query);
    let models: Vec<_> = found
        .tools
        .iter()
        .map(|listed| listed.tool.model.as_str())
        .collect();
    (models.join(" "), found.total)
}

fn listed(query: ToolQuery) -> String {
    found(query).0
}

#[test]
fn a_search_looks_for_every_word_everywhere() {
    for (search, expected) in [
        ("", "edit draw Water tell"),
        ("  \n", "edit draw Water tell"),
        ("edit", "edit"),
        ("WATER", "draw Water"),
        ("water draw", "draw Water"),
        ("pictures north", "edit draw"),
        ("north/draw", "draw"),
        ("retouch", "edit"),
        ("image-to-image", "edit draw"),
        ("water elephant", ""),
        ("%", ""),
        ("İ", ""),
    ] {
        assert_eq!(listed(searched(search)), expected, "{search:?}");
    }
}

#[test]
fn a_search_of_a_thousand_words_is_cut_short() {
    let many = "picture ".repeat(1_000) + "elephant";
    assert_eq!(listed(searched(&many)), "edit draw");
}

#[test]
fn filters_widen_within_and_narrow_between() {
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|&text| text.to_owned())
            .collect::<Vec<_>>()
    };
    for (categories, tags, owner, expected) in [
        (&["text-to-image"][..], &[][..], None, "draw Water"),
        (&["Text-To-Image"], &[], None, "draw Water"),
        (&["text-to-image", "words"], &[], None, "draw Water tell"),
        (&["text-to-image"], &["art"], Some("north"), "draw"),
        (&[], &["water", "retouching"], None, "edit Water"),
        (&[], &[], Some(" SOUTH "), "Water tell"),
        (&[], &[], Some("sou"), ""),
        (&["text"], &[], None, ""),
        (&["words"], &["art"], None, ""),
    ] {
        let query = ToolQuery {
            categories: texts(categories),
            tags: texts(tags),
            owner: owner.map(str::to_owned),
            ..all()
        };
        assert_eq!(listed(query.clone()), expected, "{query:?}");
    }
}

#[test]
fn orders_have_a_natural_direction() {
    use Order::{Ascending, Descending};
    use ToolSort::{Number, Relevance};
    for (sort, order, search, expected) in [
        (Number, None, "", "edit draw Water tell"),
        (Number, Some(Ascending), "", "edit draw Water tell"),
        (Number, Some(Descending), "", "tell Water draw edit"),
        // In the address and a tag, before in the description only.
        (Relevance, None, "water", "Water draw"),
        (Relevance, Some(Descending), "water", "Water draw"),
        (Relevance, Some(Ascending), "water", "draw Water"),
        // Nothing to compare by: the order of the catalogue.
        (Relevance, None, "", "edit draw Water tell"),
    ] {
        let query = ToolQuery {
            sort,
            order,
            ..searched(search)
        };
        assert_eq!(listed(query.clone()), expected, "{query:?}");
    }
}

#[test]
fn pages_are_cut_after_ordering_and_count_everything() {
    for (start, limit, expected) in [
        (0, 2, "tell Water"),
        (2, 2, "draw edit"),
        (3, 2, "edit"),
        (4, 2, ""),
        (0, 0, ""),
        (usize::MAX, usize::MAX, ""),
    ] {
        let query = ToolQuery {
            order: Some(Order::Descending),
            start,
            limit,
            ..all()
        };
        assert_eq!(found(query), (expected.to_owned(), 4), "{start} {limit}");
    }
}

#[test]
fn numbers_stay_with_their_tools_in_every_order() {
    let catalog = catalog();
    let query = ToolQuery {
        order: Some(Order::Descending),
        ..searched("south")
    };
    let found = catalog.find(&query).tools;
    let numbers: Vec<_> = found.iter().map(|listed| listed.number).collect();
    assert_eq!(numbers, [4, 3]);
}

#[test]
fn every_tool_stands_on_a_shelf() {
    let catalog = catalog();
    let shelves = catalog.shelves();
    let told: Vec<_> = shelves
        .iter()
        .map(|shelf| {
            let models: Vec<_> = shelf
                .tools
                .iter()
                .map(|listed| listed.tool.model.as_str())
                .collect();
            format!("{}: {}", shelf.title, models.join(" "))
        })
        .collect();
    assert_eq!(
        told,
        [
            "Image to Image: edit draw",
            "Text to Image: draw Water",
            "More: tell"
        ]
    );
}
