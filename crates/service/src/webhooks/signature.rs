//! Signatures as the Standard Webhooks specification has them
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>),
//! and the secrets that they are made with.
//!
//! A project's signing secret is derived from its API secret: nothing more is kept, and who knows
//! the signing secret (a receiver) learns nothing about the API secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;
use tintype_domain::WebhookId;

/// What the secret is derived for. Stored secrets of receivers hang on it: never changed.
const PURPOSE: &[u8] = b"tintype webhook v1";

/// How the specification marks a symmetric secret.
const SECRET_PREFIX: &str = "whsec_";

/// How it marks an HMAC-SHA256 signature.
const SIGNATURE_PREFIX: &str = "v1,";

const SECRET_BYTES: usize = 32;

/// What a project's reports are signed with.
pub(crate) struct SigningSecret(SecretBox<[u8; SECRET_BYTES]>);

impl SigningSecret {
    /// The signing secret of the project with this API secret.
    pub(crate) fn derive(api_secret: &str) -> Self {
        Self(SecretBox::new(Box::new(mac(
            api_secret.as_bytes(),
            &[PURPOSE],
        ))))
    }

    /// As receivers configure it: `whsec_` and base64.
    pub(crate) fn shown(&self) -> String {
        format!("{SECRET_PREFIX}{}", STANDARD.encode(self.0.expose_secret()))
    }

    /// The value of `webhook-signature` for a body that is sent at this time.
    pub(crate) fn sign(&self, id: &WebhookId, at_seconds: i64, body: &[u8]) -> String {
        let head = format!("{id}.{at_seconds}.");
        let signature = mac(self.0.expose_secret(), &[head.as_bytes(), body]);
        format!("{SIGNATURE_PREFIX}{}", STANDARD.encode(signature))
    }
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; SECRET_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .expect("an HMAC key may have any length; this is a bug");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Made with the `standardwebhooks` library of PyPI by
    /// `tools/webhooks/vectors.py > crates/service/src/webhooks/vectors.json`.
    const VECTORS: &str = include_str!("vectors.json");

    #[test]
    fn secrets_and_signatures_are_those_of_the_library() {
        let vectors: Value = serde_json::from_str(VECTORS).expect("JSON");
        let vectors = vectors["vectors"].as_array().expect("a list");
        assert!(vectors.len() >= 4);
        for vector in vectors {
            let text = |name: &str| vector[name].as_str().expect("a text");
            let secret = SigningSecret::derive(text("api_secret"));
            assert_eq!(secret.shown(), text("secret"));
            let id = WebhookId(text("id").to_owned());
            let at_seconds = vector["timestamp"].as_i64().expect("a number");
            let signature = secret.sign(&id, at_seconds, text("body").as_bytes());
            assert_eq!(signature, text("signature"), "{vector}");
        }
    }
}
