//! A newtype for every id, and how the random ones are drawn.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// In the order of their codes, so that texts of one length stand in the order of their numbers.
const ALPHANUMERICS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Length of task tokens and access keys: 30 alphanumerics.
pub const TOKEN_LENGTH: usize = 30;

/// Alphanumerics of a task token that tell its time: enough for milliseconds until the year 2081.
const TOKEN_TIME_LENGTH: usize = 7;

/// Hexadecimal digits in each of the groups of a directory.
const DIRECTORY_GROUP_LENGTH: usize = 8;

/// Such groups in a directory.
const DIRECTORY_GROUPS: usize = 8;

/// Characters of a directory: the groups, and the dashes between them.
pub const DIRECTORY_LENGTH: usize = DIRECTORY_GROUPS * (DIRECTORY_GROUP_LENGTH + 1) - 1;

fn alphanumerics(rng: &mut impl Rng, length: usize) -> String {
    (0..length)
        .map(|_| ALPHANUMERICS[rng.random_range(0..ALPHANUMERICS.len())] as char)
        .collect()
}

/// The last digits of a time, as alphanumerics.
fn alphanumerics_of(time: UnixMillis, length: usize) -> String {
    let base = ALPHANUMERICS.len() as u64;
    let mut rest = u64::try_from(time.0).unwrap_or_default();
    let mut digits = vec![0; length];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHANUMERICS[(rest % base) as usize];
        rest /= base;
    }
    digits.into_iter().map(char::from).collect()
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
    /// The capability to watch one task: 30 alphanumerics (`socketaccesstoken` on the wire). The
    /// first 7 tell when it was drawn, the other 23 are random, about 137 bits.
    TaskToken
);
secret_id!(
    /// The capability to read one file: 30 random alphanumerics, about 178 bits.
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
    /// Draws a fresh token. It begins with its time, so that an index over tokens grows at its end
    /// instead of everywhere.
    pub fn random(rng: &mut impl Rng, now: UnixMillis) -> Self {
        let time = alphanumerics_of(now, TOKEN_TIME_LENGTH);
        Self(time + &alphanumerics(rng, TOKEN_LENGTH - TOKEN_TIME_LENGTH))
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

/// Draws the unguessable directory of a file's public address, such as
/// `019bfcc3-1a00ee1d-40bd7b83-a2e186c6-7f61f7da-3894e49c-fc0eeb66-9b500fe2`. The first 12 digits
/// tell when it was drawn, for the reason of [`TaskToken::random`]; the other 52 are random, 208
/// bits.
pub fn random_directory(rng: &mut impl Rng, now: UnixMillis) -> String {
    let time = u64::try_from(now.0).unwrap_or_default() & 0xffff_ffff_ffff;
    let (few, many) = (rng.random::<u128>() >> 48, rng.random::<u128>());
    let digits = format!("{time:012x}{few:020x}{many:032x}");
    let groups = digits.as_bytes().chunks(DIRECTORY_GROUP_LENGTH);
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join("-")
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

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    #[test]
    fn tokens_are_thirty_alphanumerics() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..100 {
            let task = TaskToken::random(&mut rng, NOW);
            for token in [task.0, AccessKey::random(&mut rng).0] {
                assert_eq!(token.len(), TOKEN_LENGTH);
                assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }
    }

    #[test]
    fn debug_does_not_show_tokens() {
        let mut rng = StdRng::seed_from_u64(4);
        let token = TaskToken::random(&mut rng, NOW);
        let key = AccessKey::random(&mut rng);
        assert_eq!(format!("{token:?} {key:?}"), "TaskToken(…) AccessKey(…)");
    }

    #[test]
    fn tokens_use_every_letter_and_digit() {
        let mut rng = StdRng::seed_from_u64(2);
        let random = |token: TaskToken| token.0[TOKEN_TIME_LENGTH..].to_owned();
        let many: String = (0..100)
            .map(|_| random(TaskToken::random(&mut rng, NOW)))
            .collect();
        let missing: Vec<_> = ALPHANUMERICS
            .iter()
            .filter(|byte| !many.as_bytes().contains(byte))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn tokens_and_directories_stand_in_the_order_of_their_times() {
        let mut rng = StdRng::seed_from_u64(4);
        // Where the alphabet turns over, and the last time that a token tells.
        let last = 62_i64.pow(7) - 1;
        let times = [0, 9, 10, 35, 36, 61, 62, NOW.0, NOW.0 + 1, last];
        let draw = |time| {
            let time = UnixMillis(time);
            let token = TaskToken::random(&mut rng, time).0;
            (token, random_directory(&mut rng, time))
        };
        let (tokens, directories): (Vec<_>, Vec<_>) = times.map(draw).into_iter().unzip();
        assert!(tokens.is_sorted(), "{tokens:?}");
        assert!(directories.is_sorted(), "{directories:?}");
    }

    #[test]
    fn what_is_drawn_in_one_moment_differs_in_everything_but_the_time() {
        let mut rng = StdRng::seed_from_u64(5);
        let (one, other) = (
            TaskToken::random(&mut rng, NOW).0,
            TaskToken::random(&mut rng, NOW).0,
        );
        assert_eq!(one[..7], other[..7]);
        assert_ne!(one[7..15], other[7..15]);
        assert_ne!(one[22..], other[22..]);
        let (one, other) = (
            random_directory(&mut rng, NOW),
            random_directory(&mut rng, NOW),
        );
        assert_eq!(one[..13], other[..13]);
        assert_ne!(one[13..22], other[13..22]);
        assert_ne!(one[63..], other[63..]);
    }

    #[test]
    fn directories_are_eight_groups_of_eight_hexadecimal_digits() {
        let mut rng = StdRng::seed_from_u64(6);
        for time in [UnixMillis(-1), UnixMillis(0), NOW, UnixMillis(i64::MAX)] {
            let directory = random_directory(&mut rng, time);
            assert_eq!(directory.len(), DIRECTORY_LENGTH);
            let groups: Vec<_> = directory.split('-').collect();
            let digits = |group: &&str| {
                let is_hexadecimal = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                group.len() == 8 && group.bytes().all(is_hexadecimal)
            };
            assert!(
                groups.len() == 8 && groups.iter().all(digits),
                "{directory}"
            );
        }
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
