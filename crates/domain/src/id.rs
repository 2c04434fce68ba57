//! A newtype for every id, and how the random ones are drawn.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};

const ALPHANUMERICS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Length of task tokens and access keys: 30 alphanumerics, about 178 bits.
pub const TOKEN_LENGTH: usize = 30;

fn alphanumerics(rng: &mut impl Rng, length: usize) -> String {
    (0..length)
        .map(|_| ALPHANUMERICS[rng.random_range(0..ALPHANUMERICS.len())] as char)
        .collect()
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        text!($(#[$doc])* #[derive(Debug)] $name);
    };
}

/// Whoever has such a text may do something, so `Debug` does not show it: what is debugged ends up
/// in logs.
macro_rules! secret_id {
    ($(#[$doc:meta])* $name:ident) => {
        text!($(#[$doc])* $name);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

number_id!(
    /// A task's number, counted up by the store; a decimal string on the wire.
    TaskId
);
number_id!(
    /// A project's number, counted up by the store.
    ProjectId
);
number_id!(
    /// The fencing number of a claim: it grows with every claim of the same task, and a writer
    /// that presents an older one changes nothing.
    Epoch
);
secret_id!(
    /// The capability to watch one task: 30 alphanumerics (`socketaccesstoken` on the wire).
    TaskToken
);
secret_id!(
    /// The capability to read one file: 30 alphanumerics.
    AccessKey
);
text_id!(
    /// A file's or folder's id: 32 lower-case hexadecimal digits.
    FileId
);
text_id!(
    /// A worker process, unique among those alive.
    WorkerId
);

impl TaskToken {
    /// Draws a fresh token.
    pub fn random(rng: &mut impl Rng) -> Self {
        Self(alphanumerics(rng, TOKEN_LENGTH))
    }
}

impl AccessKey {
    /// Draws a fresh key.
    pub fn random(rng: &mut impl Rng) -> Self {
        Self(alphanumerics(rng, TOKEN_LENGTH))
    }
}

impl FileId {
    /// Draws a fresh id (128 random bits).
    pub fn random(rng: &mut impl Rng) -> Self {
        Self(format!("{:032x}", rng.random::<u128>()))
    }
}

/// A tool's address, `owner/model`, as in `/v1/Run/{owner}/{model}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ToolSlug {
    /// The publisher, such as `black-forest-labs`.
    pub owner: String,
    /// The tool, such as `flux-pro-1.1`.
    pub model: String,
}

impl ToolSlug {
    /// Joins the two halves.
    pub fn new(owner: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            owner: owner.into(),
            model: model.into(),
        }
    }
}

impl fmt::Display for ToolSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.model)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn tokens_are_thirty_alphanumerics() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..100 {
            for token in [TaskToken::random(&mut rng).0, AccessKey::random(&mut rng).0] {
                assert_eq!(token.len(), TOKEN_LENGTH);
                assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }
    }

    #[test]
    fn debug_does_not_show_tokens() {
        let mut rng = StdRng::seed_from_u64(4);
        let token = TaskToken::random(&mut rng);
        let key = AccessKey::random(&mut rng);
        assert_eq!(format!("{token:?} {key:?}"), "TaskToken(…) AccessKey(…)");
    }

    #[test]
    fn tokens_use_every_letter_and_digit() {
        let mut rng = StdRng::seed_from_u64(2);
        let many: String = (0..100).map(|_| TaskToken::random(&mut rng).0).collect();
        let missing: Vec<_> = ALPHANUMERICS
            .iter()
            .filter(|byte| !many.as_bytes().contains(byte))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn file_ids_are_thirty_two_hexadecimal_digits_with_leading_zeros() {
        let mut rng = StdRng::seed_from_u64(3);
        let ids: Vec<_> = (0..100).map(|_| FileId::random(&mut rng).0).collect();
        let is_hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(
            ids.iter()
                .all(|id| id.len() == 32 && id.bytes().all(is_hexadecimal))
        );
        assert!(ids.iter().any(|id| id.starts_with('0')));
    }
}
