//! What the provider says, and what it means.

use serde::Deserialize;
use serde_json::Value;

use crate::{Moderated, Stage};

/// Characters of the provider's own words that are passed on.
const MAX_WORDS: usize = 300;

/// The answer to a submission. Its `id` is in the address that is polled.
#[derive(Deserialize)]
pub struct Submitted {
    pub polling_url: String,
}

/// The answer to a poll, as it comes.
#[derive(Deserialize)]
pub struct Answer {
    status: String,
    #[serde(default)]
    result: Option<Value>,
    #[serde(default)]
    progress: Option<f64>,
    #[serde(default)]
    details: Option<Value>,
}

/// What it means.
#[derive(Debug, PartialEq)]
pub enum Standing {
    /// It is being drawn; so many percent are done.
    Working { percent: u32 },
    /// The provider does not know it, or not yet.
    Unknown,
    /// It was not let through.
    Moderated(Moderated),
    /// The picture is at this address.
    Ready { sample: String, seed: Option<u64> },
    /// The provider could not draw it.
    Failed(String),
}

impl Answer {
    /// What the provider means by it. States that are not known are states of work: a new word is
    /// no reason to lose a picture.
    pub fn standing(self) -> Standing {
        match self.status.as_str() {
            "Ready" => self.ready(),
            "Pending" => Standing::Working { percent: 10 },
            "Reasoning" => Standing::Working { percent: 20 },
            "Generating" => Standing::Working {
                percent: 30 + (self.progress.unwrap_or(0.0).clamp(0.0, 1.0) * 60.0) as u32,
            },
            "Request Moderated" => self.moderated(Stage::Request),
            "Content Moderated" => self.moderated(Stage::Content),
            "Task not found" => Standing::Unknown,
            "Error" => Standing::Failed(self.reason()),
            unknown => {
                let status = words(unknown);
                tracing::debug!(
                    bfl.status = status,
                    "the provider says a word that is not known"
                );
                Standing::Working { percent: 10 }
            }
        }
    }

    fn ready(self) -> Standing {
        let result = self.result.unwrap_or_default();
        match result["sample"].as_str() {
            Some(sample) => Standing::Ready {
                sample: sample.to_owned(),
                seed: result["seed"].as_u64(),
            },
            None => Standing::Failed("it says that the picture is ready, but not where".to_owned()),
        }
    }

    /// The categories stand in `details`, as a list under "Moderation Reasons".
    fn moderated(self, stage: Stage) -> Standing {
        let details = self.details.unwrap_or_default();
        let reasons = details["Moderation Reasons"].as_array();
        let reasons = reasons.into_iter().flatten().filter_map(Value::as_str);
        let category = words(&reasons.collect::<Vec<_>>().join(", "));
        Standing::Moderated(Moderated {
            stage,
            category: Some(category).filter(|category| !category.is_empty()),
        })
    }

    fn reason(self) -> String {
        let details = self.details.or(self.result).unwrap_or_default();
        let said = ["error", "message", "detail"]
            .into_iter()
            .find_map(|name| details[name].as_str());
        let reason = words(said.or(details.as_str()).unwrap_or_default());
        if reason.is_empty() {
            "it gives no reason".to_owned()
        } else {
            reason
        }
    }
}

/// What an answer of refusal says: FastAPI's `detail`, a sentence or a list of fields.
pub fn refusal(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let detail = &body["detail"];
    let said = match detail.as_array() {
        Some(fields) => fields.iter().map(field).collect::<Vec<_>>().join("; "),
        None => detail.as_str().or(body["error"].as_str())?.to_owned(),
    };
    Some(words(&said)).filter(|said| !said.is_empty())
}

/// A field and what is wrong with it. The value that was sent is left out.
fn field(of: &Value) -> String {
    let name = of["loc"].as_array().and_then(|path| path.last()?.as_str());
    let message = of["msg"].as_str().unwrap_or("is not accepted");
    match name {
        Some(name) => format!("{name}: {message}"),
        None => message.to_owned(),
    }
}

/// Somebody else's words, fit for a log and an answer: one line, of bounded length.
fn words(text: &str) -> String {
    let one_line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let bounded: String = one_line.take(MAX_WORDS).collect();
    bounded.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn standing(answer: Value) -> Standing {
        serde_json::from_value::<Answer>(answer)
            .expect("an answer")
            .standing()
    }

    #[test]
    fn every_status_has_its_meaning() {
        let working = |percent| Standing::Working { percent };
        for (answer, expected) in [
            (json!({"status": "Pending", "result": null}), working(10)),
            (json!({"status": "Reasoning"}), working(20)),
            (
                json!({"status": "Generating", "progress": 0.5}),
                working(60),
            ),
            (
                json!({"status": "Generating", "progress": 7.0}),
                working(90),
            ),
            (json!({"status": "Dreaming"}), working(10)),
            (json!({"status": "Task not found"}), Standing::Unknown),
            (
                json!({"status": "Error", "details": {"error": "no\nmemory"}}),
                Standing::Failed("no memory".to_owned()),
            ),
            (
                json!({"status": "Error"}),
                Standing::Failed("it gives no reason".to_owned()),
            ),
            (
                json!({"status": "Ready", "result": {"sample": "https://x/", "seed": 3}}),
                Standing::Ready {
                    sample: "https://x/".to_owned(),
                    seed: Some(3),
                },
            ),
        ] {
            assert_eq!(standing(answer.clone()), expected, "{answer}");
        }
        assert!(matches!(
            standing(json!({"status": "Ready"})),
            Standing::Failed(_)
        ));
    }

    #[test]
    fn moderation_names_its_stage_and_category() {
        let text = |answer| match standing(answer) {
            Standing::Moderated(moderated) => moderated.to_string(),
            other => panic!("{other:?}"),
        };
        let named = json!({
            "status": "Request Moderated", "details": {"Moderation Reasons": ["Violence", "Gore"]}
        });
        assert_eq!(text(named), "Request moderated: Violence, Gore");
        let unnamed = json!({"status": "Content Moderated", "details": null});
        assert_eq!(text(unnamed), "Content moderated: category not named");
    }

    #[test]
    fn refusals_name_the_field_and_never_the_value() {
        let body = json!({"detail": [
            {"loc": ["body", "safety_tolerance"], "msg": "Input should be at most 2", "input": "hush"},
            {"loc": [], "msg": "No"}
        ]});
        let said = refusal(body.to_string().as_bytes());
        let expected = "safety_tolerance: Input should be at most 2; No";
        assert_eq!(said.as_deref(), Some(expected));
        let sentence = json!({"detail": "Insufficient credits"}).to_string();
        assert_eq!(
            refusal(sentence.as_bytes()).as_deref(),
            Some("Insufficient credits")
        );
        for nothing in ["", "<html>", "[]", "{\"detail\": \" \"}"] {
            assert_eq!(refusal(nothing.as_bytes()), None, "{nothing}");
        }
    }
}
