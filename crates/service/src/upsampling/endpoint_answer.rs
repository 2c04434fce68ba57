//! What a chat server answered, as a text.

use serde_json::Value;
use tintype_engine::upsampling::NotUpsampled;

/// The first choice's text. One that was cut off at the server's bound is no prompt.
pub(super) fn text(body: &[u8]) -> Result<String, NotUpsampled> {
    let unusable = NotUpsampled::Unusable;
    let body: Value = serde_json::from_slice(body).map_err(|_| unusable("it is no JSON"))?;
    let choice = &body["choices"][0];
    let refused = choice["message"]["refusal"].as_str();
    if refused.is_some_and(|refusal| !refusal.is_empty())
        || choice["finish_reason"] == "content_filter"
    {
        return Err(NotUpsampled::Declined);
    }
    if choice["finish_reason"] == "length" {
        return Err(unusable("it was cut off at max_tokens"));
    }
    let content = &choice["message"]["content"];
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            Ok(texts.collect())
        }
        _ => Err(unusable("it has no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_choice_is_read() {
        let good = br#"{"choices": [{"message": {"content": "a cat", "refusal": null},
            "finish_reason": "stop"}, {"message": {"content": "a dog"}}]}"#;
        assert_eq!(text(good), Ok("a cat".to_owned()));
        let parts =
            br#"{"choices": [{"message": {"content": [{"type": "text", "text": "a cat"}]}}]}"#;
        assert_eq!(text(parts), Ok("a cat".to_owned()));
    }

    #[test]
    fn what_makes_no_sense_is_not_taken_for_a_prompt() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"choices": []}"#,
            r#"{"choices": [{"message": {}}]}"#,
            r#"{"choices": [{"message": {"content": 7}}]}"#,
            r#"{"choices": [{"message": {"content": null}}]}"#,
            r#"{"choices": [{"message": {"content": "a ca"}, "finish_reason": "length"}]}"#,
        ] {
            let read = text(body.as_bytes());
            assert!(matches!(read, Err(NotUpsampled::Unusable(_))), "{body}");
        }
        for body in [
            r#"{"choices": [{"message": {"content": null, "refusal": "no"}}]}"#,
            r#"{"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}"#,
        ] {
            assert_eq!(text(body.as_bytes()), Err(NotUpsampled::Declined));
        }
    }
}
