//! The tables of names against diffusers' own converters (`tools/golden/names.py`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use tintype_flux::sources::{Component, Content, Listing, Naming, Part, content};

/// Rows of stored tensors, one above the other.
type Rows = Vec<(String, Range<usize>)>;

fn number(value: &Value) -> usize {
    value.as_u64().expect("a number") as usize
}

/// `[stored name, first row, row after the last]`, several times.
fn expected(rows: &Value) -> Rows {
    let rows = rows.as_array().expect("an array").iter();
    rows.map(|run| {
        let name = run[0].as_str().expect("a name").to_owned();
        (name, number(&run[1])..number(&run[2]))
    })
    .collect()
}

fn check(component: Component, prefix: &'static str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/names.json");
    let document: Value = super::scene::read_json(&path);
    let table = &document[component.folder()];
    let stored: BTreeMap<String, Vec<usize>> = table["stored"]
        .as_object()
        .expect("an object")
        .iter()
        .map(|(name, rows)| (format!("{prefix}{name}"), vec![number(rows)]))
        .collect();
    let part = Part {
        component,
        naming: Naming::Original,
        prefix,
    };
    let found = content(&stored.keys().map(String::as_str).collect());
    assert_eq!(found, Content::Parts(vec![part.clone()]));
    let listing = Listing::of(&part, &stored);
    let wanted = table["wanted"].as_object().expect("an object");
    assert_eq!(listing.tensors().count(), wanted.len());
    for (name, rows) in wanted {
        let found: Rows = listing
            .parts(name)
            .into_iter()
            .map(|part| {
                let own = part
                    .tensor
                    .strip_prefix(prefix)
                    .expect("the prefix")
                    .to_owned();
                (own, part.rows.expect("its rows"))
            })
            .collect();
        let expected = expected(rows);
        assert_eq!(found, expected, "{name}");
        let stored = format!("{prefix}{}", expected[0].0);
        assert_eq!(listing.stored_name(name), stored);
    }
    assert_eq!(listing.unused().count(), 0);
}

#[test]
fn a_transformer_is_renamed_as_diffusers_renames_it() {
    for prefix in ["", "model.diffusion_model."] {
        check(Component::Transformer, prefix);
    }
}

#[test]
fn an_autoencoder_is_renamed_as_diffusers_renames_it() {
    for prefix in ["", "vae."] {
        check(Component::Vae, prefix);
    }
}
