//! Projects: who may submit tasks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ProjectId, UnixMillis};

/// How a project proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthKind {
    /// Key, nonce and HMAC signature.
    Signature,
    /// The key alone.
    Key,
}

/// A project as the store keeps it. The secret is sealed; only the service can open it.
#[derive(Clone, PartialEq, Eq)]
pub struct Project {
    /// Its number.
    pub id: ProjectId,
    /// A name for people, unique.
    pub name: String,
    /// The public key that clients send, unique.
    pub api_key: String,
    /// The API secret, encrypted at rest.
    pub sealed_secret: Vec<u8>,
    /// How it proves itself.
    pub auth: AuthKind,
    /// Networks it may call from, in CIDR notation; empty or `*` means all.
    pub allowed_networks: Vec<String>,
    /// Whether a nonce may be used once only.
    pub strict_nonce: bool,
    /// When it was made.
    pub created_at: UnixMillis,
}

/// Without what proves a project: what is debugged ends up in logs.
impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Project")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}
