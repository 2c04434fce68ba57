//! Names that are safe to make paths and addresses of, whoever gave them.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Longer names help nobody.
const LONGEST_NAME: usize = 64;

/// Longer paths do not fit under every folder.
const LONGEST_PATH: usize = 512;

/// Names that a model cannot have: the bundled one's, and a folder beside the models.
const TAKEN: [&str; 2] = ["nano", "manifests"];

/// A text that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("\"{text}\" is not {what}")]
pub struct Unfit {
    text: String,
    what: &'static str,
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Unfit;

            fn try_from(text: String) -> Result<Self, Unfit> {
                let check: fn(&str) -> bool = $check;
                if check(&text) {
                    return Ok(Self(text));
                }
                Err(Unfit { text, what: $what })
            }
        }

        impl std::str::FromStr for $name {
            type Err = Unfit;

            fn from_str(text: &str) -> Result<Self, Unfit> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// A model's name in the library, and its folder's: small letters, digits, `.`, `_` and `-`.
    ModelName,
    "a model's name (small letters, digits, '.', '_' and '-', at most 64, not \"nano\")",
    |text| {
        let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let body = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        starts && text.chars().all(body) && text.len() <= LONGEST_NAME && !TAKEN.contains(&text)
    }
);

checked_text!(
    /// A repository of a hub: `owner/name`.
    Repository,
    "a repository such as owner/name",
    |text| {
        let part = |part: &str| {
            let body = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(body)
        };
        let parts = text.split_once('/');
        text.len() <= 2 * LONGEST_NAME
            && parts.is_some_and(|(owner, name)| part(owner) && part(name))
    }
);

checked_text!(
    /// A branch, tag or commit of a repository.
    Revision,
    "a revision such as main, a tag or a commit",
    |text| {
        let part = |part: &str| {
            let body = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            !part.is_empty() && !part.starts_with('.') && part.chars().all(body)
        };
        text.len() <= 2 * LONGEST_NAME && text.split('/').all(part)
    }
);

checked_text!(
    /// A path inside a model's folder or a repository: names with `/` between them, never upwards,
    /// never hidden.
    RelativePath,
    "a path inside a folder (names with '/' between them, none beginning with '.')",
    |text| {
        let odd = |c: char| c.is_control() || c == '\\' || c == ':';
        let name = |name: &str| !name.is_empty() && !name.starts_with('.');
        text.len() <= LONGEST_PATH && !text.contains(odd) && text.split('/').all(name)
    }
);

impl Revision {
    /// The branch that repositories have without being asked.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// Whether it names one state of the repository for ever.
    pub fn is_commit(&self) -> bool {
        self.0.len() == 40 && self.0.chars().all(|c| c.is_ascii_hexdigit())
    }
}

impl RelativePath {
    /// This path under a folder.
    pub fn under(&self, folder: &Path) -> PathBuf {
        folder.join(&self.0)
    }

    /// Its last name.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "a/b.json", "split_files/vae/ae.safetensors", "a b"] {
            assert!(good.parse::<RelativePath>().is_ok(), "{good}");
        }
        let long = "a".repeat(LONGEST_PATH + 1);
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "../a",
            "a/../b",
            "a/./b",
            ".git/config",
            "a\\b",
            "C:a",
            "a\nb",
            "a\0",
            &long,
        ] {
            assert!(bad.parse::<RelativePath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_folders_and_no_others() {
        for good in ["flux-dev", "qwen3-0.6b", "a_b"] {
            assert!(good.parse::<ModelName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "nano",
            "manifests",
            "Flux",
            "-a",
            ".a",
            "a/b",
            "a b",
            "ä",
            &"a".repeat(65),
        ] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn repositories_and_revisions_make_no_other_address() {
        assert!("city96/FLUX.1-dev-gguf".parse::<Repository>().is_ok());
        for bad in ["a", "a/b/c", "../b", "a/..", "a/b?c", "a b/c", "/b", "a/"] {
            assert!(bad.parse::<Repository>().is_err(), "{bad:?}");
        }
        assert!("refs/pr/3".parse::<Revision>().is_ok());
        for bad in ["", "a b", "../x", "a/../b", "a?b"] {
            assert!(bad.parse::<Revision>().is_err(), "{bad:?}");
        }
        assert!(!Revision::main().is_commit());
    }
}
