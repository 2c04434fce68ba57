//! The headers that prove a project.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Clients sign once and use the headers for all of their calls.
const NONCE: &str = "1734513807";

/// A project's keys.
#[derive(Clone, Serialize, Deserialize)]
pub struct Keys {
    /// Sent with every call.
    pub api_key: String,
    /// Signed with; `None` for a project that needs no signature.
    pub api_secret: Option<String>,
}

impl Keys {
    /// What proves the project, each line with its end.
    pub(crate) fn headers(&self) -> String {
        let Some(secret) = &self.api_secret else {
            return format!("x-api-key: {}\r\n", self.api_key);
        };
        format!(
            "x-api-key: {}\r\nx-nonce: {NONCE}\r\nx-signature: {}\r\n",
            self.api_key,
            signature(&self.api_key, secret)
        )
    }

    /// The same for a call without a socket.
    pub(crate) fn credentials(&self) -> tintype_service::Credentials {
        let secret = self.api_secret.as_deref();
        tintype_service::Credentials {
            api_key: Some(self.api_key.clone()),
            nonce: secret.map(|_| NONCE.to_owned()),
            signature: secret.map(|secret| signature(&self.api_key, secret)),
            remote: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        }
    }
}

fn signature(api_key: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(api_key.as_bytes())
        .expect("an HMAC key may have any length; this is a bug");
    mac.update(secret.as_bytes());
    mac.update(NONCE.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}
