//! What a model consists of: a manifest, one TOML file for each.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::FileDigest;
use crate::names::{ModelName, RelativePath, Repository, Revision};

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Draws pictures.
    Image,
    /// Writes texts, such as longer prompts.
    Language,
    /// Looks at pictures.
    Vision,
    /// Nobody has said.
    Other,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Image => "image",
            Self::Language => "language",
            Self::Vision => "vision",
            Self::Other => "other",
        })
    }
}

/// Under which terms a model may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// What it is called.
    pub name: String,
    /// Where it can be read.
    pub url: String,
    /// Whether a person has to say that they take it, because it forbids something.
    pub acknowledge: bool,
}

/// How large a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// To the byte.
    Exact(u64),
    /// Roughly: the hub says how large it is.
    About(u64),
    /// Nobody has said.
    Unknown,
}

impl Size {
    /// Bytes, as far as they are known.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Exact(bytes) | Self::About(bytes) => bytes,
            Self::Unknown => 0,
        }
    }
}

/// A file that a model consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// Where it lies in the model's folder.
    pub path: RelativePath,
    /// Where it comes from.
    pub repository: Repository,
    /// Which state of the repository.
    pub revision: Revision,
    /// Where it lies there.
    pub source: RelativePath,
    /// How large it is.
    pub size: Size,
    /// What it must hold; the hub says it where this is not known.
    pub sha256: Option<FileDigest>,
}

/// A model that can be pulled.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its name.
    pub name: ModelName,
    /// What it is, in a line.
    pub title: String,
    /// What it is for.
    pub kind: Kind,
    /// The memory of the machines that it is meant for.
    pub machine_gb: Option<u32>,
    /// Under which terms.
    pub licence: Licence,
    /// Whether the hub gives it only to those who have taken its terms there.
    pub gated: bool,
    /// What is written into its `tintype.json`, if anything.
    pub settings: Option<serde_json::Value>,
    /// Its files.
    pub files: Vec<WantedFile>,
}

impl Manifest {
    /// The size of all files, as far as it is known.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size.bytes()).sum()
    }

    /// Whether that is known to the byte.
    pub fn size_is_exact(&self) -> bool {
        let exact = |file: &WantedFile| matches!(file.size, Size::Exact(_));
        self.files.iter().all(exact)
    }

    /// Reads one. `part` gives the text of an included part by its name.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(
        name: ModelName,
        text: &str,
        part: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut files = written.files()?;
        for included in &written.include {
            let text = part(included).ok_or_else(|| format!("there is no part \"{included}\""))?;
            let part: Written = toml::from_str(text).map_err(|error| error.to_string())?;
            files.extend(part.files()?);
        }
        check(&files)?;
        Ok(Self {
            name,
            title: written.title.ok_or("it has no title")?,
            kind: written.kind.unwrap_or(Kind::Other),
            machine_gb: written.machine_gb,
            licence: written.licence.ok_or("it has no [licence]")?,
            gated: written.gated,
            settings: written.tintype,
            files,
        })
    }
}

/// Every path once, and at least one.
///
/// # Errors
/// Which path is there twice.
pub(crate) fn check(files: &[WantedFile]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for file in files {
        let path = file.path.as_str();
        if path == "tintype.json" {
            return Err("tintype.json is written by the program: use [tintype]".to_owned());
        }
        if !seen.insert(path) {
            return Err(format!("the file {path} is named twice"));
        }
    }
    // A file where another one needs a folder could never be written.
    for path in &seen {
        let inside = |other: &&&str| {
            other
                .strip_prefix(*path)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if seen.iter().any(|other| inside(&other)) {
            return Err(format!("{path} is a file and a folder"));
        }
    }
    if seen.is_empty() {
        return Err("it names no file".to_owned());
    }
    Ok(())
}

/// A manifest or a part, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    title: Option<String>,
    kind: Option<Kind>,
    machine_gb: Option<u32>,
    licence: Option<Licence>,
    #[serde(default)]
    gated: bool,
    repository: Option<Repository>,
    revision: Option<Revision>,
    #[serde(default)]
    include: Vec<String>,
    tintype: Option<serde_json::Value>,
    #[serde(default)]
    file: Vec<WrittenFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    path: RelativePath,
    repository: Option<Repository>,
    revision: Option<Revision>,
    source: Option<RelativePath>,
    size: Option<u64>,
    about: Option<u64>,
    sha256: Option<FileDigest>,
}

impl Written {
    fn files(&self) -> Result<Vec<WantedFile>, String> {
        self.file.iter().map(|file| file.wanted(self)).collect()
    }
}

impl WrittenFile {
    fn wanted(&self, manifest: &Written) -> Result<WantedFile, String> {
        let path = &self.path;
        let repository = self.repository.as_ref().or(manifest.repository.as_ref());
        let revision = self.revision.as_ref().or(manifest.revision.as_ref());
        Ok(WantedFile {
            path: path.clone(),
            repository: repository
                .ok_or_else(|| format!("the file {path} has no repository"))?
                .clone(),
            revision: revision.cloned().unwrap_or_else(Revision::main),
            source: self.source.as_ref().unwrap_or(path).clone(),
            size: match (self.size, self.about) {
                (Some(_), Some(_)) => return Err(format!("the file {path} has two sizes")),
                (Some(bytes), None) => Size::Exact(bytes),
                (None, Some(bytes)) => Size::About(bytes),
                (None, None) => Size::Unknown,
            },
            sha256: self.sha256,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "title = \"x\"\nrepository = \"a/b\"\n\
                        [licence]\nname = \"x\"\nurl = \"x\"\nacknowledge = false\n";

    fn parse(files: &str) -> Result<Manifest, String> {
        let name = "x".parse().expect("a name");
        Manifest::parse(name, &format!("{HEAD}{files}"), |_| None)
    }

    #[test]
    fn what_is_wrong_with_a_manifest_is_said() {
        let good = parse("[[file]]\npath = \"a\"\nsize = 3\n[[file]]\npath = \"b\"\nabout = 4\n");
        let good = good.expect("a manifest");
        assert_eq!((good.bytes(), good.size_is_exact()), (7, false));
        for (files, complaint) in [
            ("", "names no file"),
            ("[[file]]\npath = \"../a\"\n", "not a path inside"),
            ("[[file]]\npath = \"a\"\n[[file]]\npath = \"a\"\n", "twice"),
            (
                "[[file]]\npath = \"a\"\n[[file]]\npath = \"a/b\"\n",
                "a file and a folder",
            ),
            ("[[file]]\npath = \"a\"\nsize = 1\nabout = 1\n", "two sizes"),
            ("[[file]]\npath = \"a\"\nsha256 = \"ab\"\n", "not a SHA-256"),
            ("[[file]]\npath = \"a\"\nshasum = \"ab\"\n", "shasum"),
            ("[[file]]\npath = \"tintype.json\"\n", "[tintype]"),
        ] {
            let refused = parse(files).expect_err(files);
            assert!(refused.contains(complaint), "{refused}");
        }
    }
}
