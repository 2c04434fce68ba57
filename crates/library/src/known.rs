//! The models that the program knows, and those that an operator has added.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Error;
use crate::manifest::Manifest;
use crate::names::ModelName;

/// Manifests of an operator's own, in the library's folder.
const OWN_FOLDER: &str = "manifests";

/// Larger manifests are a mistake.
const LARGEST_MANIFEST_BYTES: u64 = 1 << 20;

macro_rules! texts {
    ($folder:literal: $($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../manifests", $folder, "/", $name, ".toml")))),+]
    };
}

/// Parts that several models include.
const PARTS: [(&str, &str); 4] =
    texts!("/parts": "flux-ae", "flux-clip-l", "flux-t5-fp8", "flux-t5-q8");

/// The models, in the order in which they are listed.
const MODELS: [(&str, &str); 24] = texts!("":
    "flux-schnell", "flux-schnell-fp8", "flux-schnell-q8", "flux-schnell-q6", "flux-schnell-q4",
    "flux-dev", "flux-dev-fp8", "flux-dev-q8", "flux-dev-q6", "flux-dev-q4",
    "flux-krea-dev", "flux-krea-dev-fp8", "flux-krea-dev-q8", "flux-krea-dev-q6", "flux-krea-dev-q4",
    "flux-kontext-dev", "flux-kontext-dev-fp8", "flux-kontext-dev-q8", "flux-kontext-dev-q6",
    "flux-kontext-dev-q4",
    "qwen3-0.6b", "qwen3-1.7b", "qwen3-4b",
    "nsfw-vit",
);

/// All manifests.
#[derive(Debug, Clone)]
pub struct Known(Vec<Manifest>);

impl Known {
    /// The built-in ones, and those in `manifests` under the library's folder, which win.
    ///
    /// # Errors
    /// A manifest of the operator that cannot be read or understood.
    pub fn load(root: &Path) -> Result<Self, Error> {
        let mut models = Self::builtin().0;
        for own in own(&root.join(OWN_FOLDER))? {
            match models.iter_mut().find(|known| known.name == own.name) {
                Some(known) => *known = own,
                None => models.push(own),
            }
        }
        Ok(Self(models))
    }

    /// Those that ship with the program.
    pub fn builtin() -> Self {
        let read = |(name, text): &(&str, &str)| {
            let name: ModelName = name.parse().ok()?;
            Manifest::parse(name, text, part).ok()
        };
        // A test reads each and says what is wrong.
        Self(MODELS.iter().filter_map(read).collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Manifest> {
        self.0.iter()
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Manifest> {
        self.0.iter().find(|model| model.name.as_str() == name)
    }
}

fn part(name: &str) -> Option<&'static str> {
    let found = PARTS.iter().find(|(part, _)| *part == name);
    found.map(|(_, text)| *text)
}

/// Those in a folder, by their names.
fn own(folder: &Path) -> Result<Vec<Manifest>, Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::io(folder, source)),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|source| Error::io(folder, source))?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            found.insert(path.clone(), read(&path)?);
        }
    }
    Ok(found.into_values().collect())
}

fn read(path: &Path) -> Result<Manifest, Error> {
    let broken = |reason: String| Error::Manifest {
        path: path.to_owned(),
        reason,
    };
    let length = std::fs::metadata(path).map_err(|source| Error::io(path, source))?;
    if length.len() > LARGEST_MANIFEST_BYTES {
        return Err(broken("it is larger than any manifest".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem
        .parse::<ModelName>()
        .map_err(|error| broken(format!("its name: {error}")))?;
    Manifest::parse(name, &text, part).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Kind, Size};

    #[test]
    fn every_manifest_that_ships_can_be_read() {
        for (name, text) in MODELS {
            let parsed = Manifest::parse(name.parse().expect(name), text, part);
            let model = parsed.unwrap_or_else(|reason| panic!("{name}: {reason}"));
            assert!(
                model.files.iter().all(|file| file.size != Size::Unknown),
                "{name}"
            );
            assert!(model.machine_gb.is_some(), "{name}");
            let dev = name.contains("dev");
            assert_eq!(model.licence.acknowledge, dev, "{name}: [dev] is not free");
            assert_eq!(model.licence.name.contains("Non-Commercial"), dev, "{name}");
        }
        assert_eq!(Known::builtin().iter().count(), MODELS.len());
    }

    #[test]
    fn every_file_of_the_manifests_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
        let count = |folder: &Path| {
            let entries = std::fs::read_dir(folder).expect("a folder");
            let toml = |path: &Path| path.extension().is_some_and(|ending| ending == "toml");
            entries
                .filter(|entry| toml(&entry.as_ref().expect("an entry").path()))
                .count()
        };
        assert_eq!(count(&folder), MODELS.len());
        assert_eq!(count(&folder.join("parts")), PARTS.len());
    }

    #[test]
    fn an_operators_manifest_is_added_or_stands_in() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join(OWN_FOLDER);
        std::fs::create_dir(&folder).expect("a folder");
        let text = "title = \"Mine\"\nrepository = \"me/mine\"\nkind = \"image\"\n\
                    [licence]\nname = \"mine\"\nurl = \"x\"\nacknowledge = false\n\
                    [[file]]\npath = \"a.gguf\"\n";
        for name in ["mine", "flux-dev"] {
            std::fs::write(folder.join(format!("{name}.toml")), text).expect("a file");
        }
        let known = Known::load(root.path()).expect("manifests");
        assert_eq!(known.get("mine").map(|model| model.kind), Some(Kind::Image));
        assert_eq!(
            known.get("flux-dev").map(|model| model.title.as_str()),
            Some("Mine")
        );
        assert_eq!(known.iter().count(), MODELS.len() + 1);
        std::fs::write(folder.join("Bad Name.toml"), text).expect("a file");
        let refused = Known::load(root.path())
            .expect_err("a bad name")
            .to_string();
        assert!(refused.contains("Bad Name.toml"), "{refused}");
    }
}
