//! Models that nobody has written a manifest for: `hf:owner/repository[@revision][:file,…]`.

use std::str::FromStr;

use crate::error::Error;
use crate::hub::{Hub, ListedFile, Listing};
use crate::manifest::{self, Kind, Licence, Manifest, Size, WantedFile};
use crate::names::{ModelName, RelativePath, Repository, Revision, Unfit};

/// Endings of files that a model consists of. Programs and pickles are not among them.
const ENDINGS: [&str; 5] = [".safetensors", ".gguf", ".json", ".txt", ".model"];

/// What a folder with a model in several components has at its top.
const INDEX: &str = "model_index.json";

/// A repository, or some files of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Which one.
    pub repository: Repository,
    /// In which state.
    pub revision: Revision,
    /// These files only.
    pub files: Vec<RelativePath>,
}

/// A text that is no [`Remote`].
#[derive(Debug, thiserror::Error)]
#[error(
    "write it as hf:owner/repository, hf:owner/repository@revision or hf:owner/repository:file,file: {0}"
)]
pub struct RemoteError(#[from] Unfit);

impl FromStr for Remote {
    type Err = RemoteError;

    /// What follows `hf:`.
    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let (text, files) = match text.split_once(':') {
            Some((text, files)) => (text, Some(files)),
            None => (text, None),
        };
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, revision.parse()?),
            None => (text, Revision::main()),
        };
        let files = files.into_iter().flat_map(|files| files.split(','));
        Ok(Self {
            repository: repository.parse()?,
            revision,
            files: files.map(str::parse).collect::<Result<_, _>>()?,
        })
    }
}

impl Remote {
    /// The name that it has in the library unless it is given another one.
    ///
    /// # Errors
    /// When the repository's name makes none.
    pub fn name(&self) -> Result<ModelName, Error> {
        let (_, name) = self.repository.as_str().split_once('/').unwrap_or_default();
        Ok(name.to_lowercase().parse()?)
    }

    /// Asks the hub what it consists of.
    ///
    /// # Errors
    /// When the hub does not say, or a file that was named is not there.
    pub async fn manifest(&self, hub: &Hub, name: ModelName) -> Result<Manifest, Error> {
        let listing = hub.listing(&self.repository, &self.revision).await?;
        let broken = |reason| Error::Listing {
            repository: self.repository.clone(),
            reason,
        };
        let chosen = self.chosen(&listing).map_err(broken)?;
        let files: Vec<WantedFile> = chosen.into_iter().map(|file| self.wanted(file)).collect();
        manifest::check(&files).map_err(|reason| {
            broken(format!(
                "{reason} (safetensors, gguf and their configuration are looked for)"
            ))
        })?;
        let diffusers = files.iter().any(|file| file.path.as_str() == INDEX);
        Ok(Manifest {
            name,
            title: self.repository.to_string(),
            kind: if diffusers { Kind::Image } else { Kind::Other },
            machine_gb: None,
            licence: self.licence(&listing, hub),
            gated: listing.gated,
            settings: None,
            files,
        })
    }

    fn chosen<'a>(&self, listing: &'a Listing) -> Result<Vec<&'a ListedFile>, String> {
        if self.files.is_empty() {
            return Ok(of_a_model(&listing.files));
        }
        let find = |path: &RelativePath| {
            let found = listing.files.iter().find(|file| file.path == *path);
            found.ok_or_else(|| format!("there is no file {path} in it"))
        };
        self.files.iter().map(find).collect()
    }

    fn wanted(&self, file: &ListedFile) -> WantedFile {
        let wanted = |path: RelativePath| WantedFile {
            path,
            repository: self.repository.clone(),
            revision: self.revision.clone(),
            source: file.path.clone(),
            size: file.size.map_or(Size::Unknown, Size::Exact),
            sha256: file.sha256,
        };
        wanted(file.path.clone())
    }

    fn licence(&self, listing: &Listing, hub: &Hub) -> Licence {
        let name = listing.licence.clone();
        Licence {
            name: name.unwrap_or_else(|| "not said: read the repository's page".to_owned()),
            url: format!("https://{}/{}", hub.host(), self.repository),
            acknowledge: listing.gated || listing.licence.as_deref() == Some("other"),
        }
    }
}

/// The files that are needed to run a model. Beside components, single files that hold the same again
/// are left out.
fn of_a_model(files: &[ListedFile]) -> Vec<&ListedFile> {
    let components = files.iter().any(|file| file.path.as_str() == INDEX);
    let needed = |file: &&ListedFile| {
        let path = file.path.as_str();
        let top = !path.contains('/');
        let known = ENDINGS.iter().any(|ending| path.ends_with(ending));
        known && !(components && top && path != INDEX)
    };
    files.iter().filter(needed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_written_with_a_revision_and_files() {
        let read = |text: &str| text.parse::<Remote>();
        let whole = read("Owner/Some-Model").expect("a repository");
        assert_eq!(whole.name().expect("a name").as_str(), "some-model");
        assert_eq!(whole.revision, Revision::main());
        let part = read("o/m@refs/pr/3:a.gguf,b/c.json").expect("files");
        assert_eq!(part.revision.as_str(), "refs/pr/3");
        assert_eq!(part.files.len(), 2);
        for bad in ["", "m", "o/m@", "o/m:", "o/m:../a", "o/m:a,,b", "o/m/x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn components_are_taken_without_the_single_file_beside_them() {
        let listed = |path: &str| ListedFile {
            path: path.parse().expect("a path"),
            size: None,
            sha256: None,
        };
        let names = |files: &[ListedFile]| -> Vec<String> {
            let chosen = of_a_model(files).into_iter();
            chosen.map(|file| file.path.to_string()).collect()
        };
        let files = [
            "model_index.json",
            "flux1-dev.safetensors",
            "README.md",
            "vae/config.json",
            "vae/x.safetensors",
            "vae/x.bin",
        ]
        .map(listed);
        assert_eq!(
            names(&files),
            ["model_index.json", "vae/config.json", "vae/x.safetensors"]
        );
        assert_eq!(names(&files[1..3]), ["flux1-dev.safetensors"]);
    }
}
