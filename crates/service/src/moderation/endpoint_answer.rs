//! What a moderation server answered, as scores.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tintype_moderation::{Category, Scores, Unjudged};

/// OpenAI's names that are not ours.
const KNOWN: [(&str, Category); 6] = [
    ("hate/threatening", Category::Hate),
    ("harassment/threatening", Category::Harassment),
    ("self-harm/intent", Category::SelfHarm),
    ("self-harm/instructions", Category::SelfHarm),
    ("self_harm", Category::SelfHarm),
    ("illicit/violence", Category::IllicitViolent),
];

/// Reads `results[…].category_scores`, or `categories` where there are no scores (true is 1). The
/// highest score of each category counts.
pub(super) fn scores(body: &[u8], own: &BTreeMap<String, Category>) -> Result<Scores, Unjudged> {
    let body: Value =
        serde_json::from_slice(body).map_err(|_| Unjudged::Unusable("it is no JSON"))?;
    let results = body["results"].as_array();
    let results = results.filter(|results| !results.is_empty());
    let results = results.ok_or(Unjudged::Unusable("it has no results"))?;
    let mut scores = Scores::NONE;
    for result in results {
        let said = said(result, own)?;
        if said.is_empty() {
            return Err(Unjudged::Unusable("it names no category that is known"));
        }
        for (category, score) in said {
            scores.raise(category, score);
        }
    }
    Ok(scores)
}

fn said(
    result: &Value,
    own: &BTreeMap<String, Category>,
) -> Result<Vec<(Category, f32)>, Unjudged> {
    let entries = ["category_scores", "categories"].iter().find_map(|field| {
        result[field]
            .as_object()
            .filter(|entries| !entries.is_empty())
    });
    let entries = entries.ok_or(Unjudged::Unusable("a result has no scores"))?;
    known(entries, own)
}

fn known(
    entries: &Map<String, Value>,
    own: &BTreeMap<String, Category>,
) -> Result<Vec<(Category, f32)>, Unjudged> {
    let mut said = Vec::new();
    for (name, value) in entries {
        let Some(category) = category(name, own) else {
            continue;
        };
        let score = match value {
            Value::Bool(flagged) => f64::from(u8::from(*flagged)),
            Value::Number(score) => score.as_f64().unwrap_or(f64::NAN),
            // The server does not judge this kind of input by this category.
            Value::Null => continue,
            _ => f64::NAN,
        };
        if !(0.0..=1.0).contains(&score) {
            return Err(Unjudged::Unusable("a score is not between 0 and 1"));
        }
        said.push((category, score as f32));
    }
    Ok(said)
}

fn category(name: &str, own: &BTreeMap<String, Category>) -> Option<Category> {
    let known = || KNOWN.iter().find(|(known, _)| *known == name);
    own.get(name)
        .copied()
        .or_else(|| name.parse().ok())
        .or_else(|| known().map(|(_, category)| *category))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<(Category, f32)>, Unjudged> {
        let own = BTreeMap::from([("S1".to_owned(), Category::Violence)]);
        scores(body.as_bytes(), &own).map(|scores| scores.seen().collect())
    }

    #[test]
    fn scores_are_read_under_every_name_they_come() {
        let body = r#"{"results": [{"flagged": true, "categories": {"violence": true},
            "category_scores": {"sexual": 0.25, "self-harm/intent": 0.5, "self-harm": 0.125, "S1": 1,
            "astrology": 0.9}}, {"category_scores": {"sexual": 0.75}}]}"#;
        let expected = vec![
            (Category::Sexual, 0.75),
            (Category::Violence, 1.0),
            (Category::SelfHarm, 0.5),
        ];
        assert_eq!(read(body), Ok(expected));
    }

    #[test]
    fn flags_are_scores_where_there_are_no_others() {
        let body = r#"{"results": [{"categories": {"hate": true, "sexual": false}}]}"#;
        assert_eq!(read(body), Ok(vec![(Category::Hate, 1.0)]));
    }

    #[test]
    fn what_makes_no_sense_is_not_taken_for_harmless() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"results": []}"#,
            r#"{"results": [{}]}"#,
            r#"{"results": [{"category_scores": {}}]}"#,
            r#"{"results": [{"category_scores": {"astrology": 0.1}}]}"#,
            r#"{"results": [{"category_scores": {"sexual": "0.1"}}]}"#,
            r#"{"results": [{"category_scores": {"sexual": 12}}]}"#,
            r#"{"results": [{"category_scores": {"sexual": -0.1}}]}"#,
            r#"{"results": [{"category_scores": {"sexual": 0.1}}, {"flagged": true}]}"#,
        ] {
            assert!(matches!(read(body), Err(Unjudged::Unusable(_))), "{body}");
        }
    }
}
