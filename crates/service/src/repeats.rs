//! Requests that may be repeated: what makes two of them the same.

use serde_json::Value;
use sha2::{Digest, Sha256};
use tintype_domain::{Fingerprint, Idempotency, ToolSlug, UnixMillis};

use crate::{RawInputs, RawValue, RunRequest, Service, ServiceError};

/// A key stands for its first request for this long: what clients of such interfaces expect.
const KEPT_MS: i64 = 24 * 60 * 60 * 1_000;

impl Service {
    /// What makes this run one that may be repeated; `None` without a key.
    pub(crate) async fn idempotency(
        &self,
        run: &mut RunRequest,
    ) -> Result<Option<Idempotency>, ServiceError> {
        let Some(key) = run.idempotency_key.take() else {
            return Ok(None);
        };
        Ok(Some(Idempotency {
            key,
            fingerprint: take_fingerprint(run).await?,
            keep_after: kept_after(self.now()),
        }))
    }
}

pub(crate) fn kept_after(now: UnixMillis) -> UnixMillis {
    now.plus_millis(-KEPT_MS)
}

/// Digests a run away from the event loop: it may hold a hundred megabytes.
async fn take_fingerprint(run: &mut RunRequest) -> Result<Fingerprint, ServiceError> {
    let (tool, inputs) = (run.tool.clone(), std::mem::take(&mut run.inputs));
    let digest = move || (fingerprint(&tool, &inputs), inputs);
    let (fingerprint, inputs) = tokio::task::spawn_blocking(digest).await.map_err(|error| {
        tintype_store::Error::Unavailable {
            reason: format!("a digest was interrupted: {error}"),
        }
    })?;
    run.inputs = inputs;
    Ok(fingerprint)
}

/// A digest of the tool and of every input as it arrived. It depends neither on the form of the
/// body (boundaries, blanks, JSON or a form of texts) nor on the order of its fields.
fn fingerprint(tool: &ToolSlug, inputs: &RawInputs) -> Fingerprint {
    let mut digest = Sha256::new();
    text(&mut digest, &tool.owner);
    text(&mut digest, &tool.model);
    let mut sorted: Vec<_> = inputs.iter().collect();
    // Stable: fields of one name keep their order.
    sorted.sort_by(|(name, _), (other, _)| name.cmp(other));
    for (name, input) in sorted {
        text(&mut digest, name);
        match input {
            RawValue::Json(json) => value(&mut digest, json),
            RawValue::File(part) => {
                digest.update(b"f");
                text(&mut digest, part.file_name.as_deref().unwrap_or_default());
                bytes(&mut digest, &part.bytes);
            }
        }
    }
    Fingerprint(digest.finalize().into())
}

/// Everything is written with its kind and its length, so that nothing reads as something else.
fn value(digest: &mut Sha256, json: &Value) {
    match json {
        Value::Object(fields) => {
            digest.update(b"o");
            length(digest, fields.len());
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(name, _)| *name);
            for (name, field) in sorted {
                text(digest, name);
                value(digest, field);
            }
        }
        Value::Array(items) => {
            digest.update(b"a");
            length(digest, items.len());
            items.iter().for_each(|item| value(digest, item));
        }
        Value::String(string) => {
            digest.update(b"s");
            text(digest, string);
        }
        plain => {
            digest.update(b"p");
            text(digest, &plain.to_string());
        }
    }
}

fn text(digest: &mut Sha256, text: &str) {
    bytes(digest, text.as_bytes());
}

fn bytes(digest: &mut Sha256, bytes: &[u8]) {
    length(digest, bytes.len());
    digest.update(bytes);
}

fn length(digest: &mut Sha256, length: usize) {
    digest.update((length as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::UploadedPart;

    fn of(inputs: RawInputs) -> Fingerprint {
        fingerprint(&ToolSlug::new("owner", "model"), &inputs)
    }

    fn of_json(body: &Value) -> Fingerprint {
        let fields = body.as_object().expect("an object").clone().into_iter();
        of(fields
            .map(|(name, value)| (name, RawValue::Json(value)))
            .collect())
    }

    fn file(file_name: &str, label: &str, bytes: &'static [u8]) -> RawInputs {
        let part = UploadedPart {
            file_name: Some(file_name.to_owned()),
            content_type: Some(label.to_owned()),
            bytes: Bytes::from_static(bytes),
        };
        vec![("inputImage".to_owned(), RawValue::File(part))]
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        let one = json!({"prompt": "a", "more": {"x": 1, "y": [2, 3]}});
        let other = json!({"more": {"y": [2, 3], "x": 1}, "prompt": "a"});
        assert_eq!(of_json(&one), of_json(&other));
    }

    #[test]
    fn everything_that_is_asked_for_matters() {
        let bodies = [
            json!({"prompt": "a"}),
            json!({"prompt": "b"}),
            json!({"prompt": ["a"]}),
            json!({"prompt": null}),
            json!({"prompt": "null"}),
            json!({"prompt": "a", "seed": 1}),
            json!({"prompt": "a", "seed": "1"}),
            json!({"prompt": "a", "seed": [1, 2]}),
            json!({"prompt": "a", "seed": [2, 1]}),
            json!({"prompt": "a", "seed": {"1": 2}}),
            json!({"prompta": "", "seed": 1}),
            json!({}),
        ];
        let mut digests: Vec<_> = bodies.iter().map(of_json).collect();
        digests.push(fingerprint(&ToolSlug::new("owner", "other"), &Vec::new()));
        digests.push(of(file("a.png", "", b"1")));
        digests.push(of(file("a.png", "", b"2")));
        digests.push(of(file("b.png", "", b"1")));
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[..index].contains(digest), "number {index}");
        }
    }

    #[test]
    fn what_a_client_calls_its_bytes_does_not_matter() {
        let labelled = |label| of(file("a.png", label, b"1"));
        assert_eq!(labelled("image/png"), labelled("application/octet-stream"));
    }
}
