//! The folder with the models, and what can be done there without a network.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::installed::{Record, RecordedFile};
use crate::known::Known;
use crate::lock::Lock;
use crate::manifest::{Kind, Licence};
use crate::names::ModelName;
use crate::verify::{self, Wrong};

/// Where unfinished downloads lie.
const STAGING: &str = ".staging";

/// Where locks lie.
const LOCKS: &str = ".locks";

/// The library's folder.
#[derive(Debug, Clone)]
pub struct Library {
    root: PathBuf,
}

/// How far a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It can be used.
    Installed,
    /// It can be used; its folder was put there by hand.
    ByHand,
    /// A part of it has been fetched.
    Unfinished,
    /// It can be pulled.
    Available,
}

/// A model as it is listed.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name, which is also its folder's.
    pub name: String,
    /// How far it is.
    pub condition: Condition,
    /// What it is, in a line.
    pub title: String,
    /// What it is for.
    pub kind: Kind,
    /// The memory of the machines that it is meant for.
    pub machine_gb: Option<u32>,
    /// Its size; `None` where nobody knows.
    pub bytes: Option<u64>,
    /// Whether that is known to the byte.
    pub size_is_exact: bool,
    /// Under which terms.
    pub licence: Option<Licence>,
}

/// What the end of a model gave back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Bytes that nobody needs any more.
    pub freed_bytes: u64,
    /// Bytes that other models need as well.
    pub shared_bytes: u64,
}

impl Library {
    /// The library in this folder, be it there or not.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A model's folder, be it there or not.
    pub fn folder(&self, name: &ModelName) -> PathBuf {
        self.root.join(name.as_str())
    }

    /// Where a model's download is prepared.
    pub(crate) fn staging(&self, name: &ModelName) -> PathBuf {
        self.root.join(STAGING).join(name.as_str())
    }

    pub(crate) fn lock(&self, name: &ModelName) -> Result<Lock, Error> {
        Lock::take(&self.root.join(LOCKS), name)
    }

    /// The record of an installed model.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn record(&self, name: &ModelName) -> Result<Option<Record>, Error> {
        Record::read(&self.folder(name))
    }

    /// The records of all installed models; damaged ones are passed over.
    pub fn records(&self) -> Vec<Record> {
        let names = self.folders().into_iter();
        names
            .filter_map(|name| self.record(&name).ok().flatten())
            .collect()
    }

    /// The folder that a name or a path means: an installed model's, or the path itself if there is
    /// something. Names come before paths.
    ///
    /// # Errors
    /// When there is neither, with what may have been meant.
    pub fn locate(&self, text: &str) -> Result<PathBuf, Error> {
        let name = text.parse::<ModelName>().ok();
        if let Some(folder) = name.as_ref().map(|name| self.folder(name))
            && folder.is_dir()
        {
            return Ok(folder);
        }
        let path = Path::new(text);
        if !text.is_empty() && path.exists() {
            return Ok(path.to_owned());
        }
        Err(self.missing(text))
    }

    /// Why there is no such model.
    pub fn missing(&self, text: &str) -> Error {
        let known = Known::load(&self.root).unwrap_or_else(|_| Known::builtin());
        if let Some(model) = known.get(text) {
            let name = model.name.clone();
            return Error::NotInstalled { name };
        }
        let folders = self.folders();
        let installed = folders.iter().map(ModelName::as_str);
        let mut all: Vec<&str> = known.iter().map(|model| model.name.as_str()).collect();
        all.extend(installed.filter(|name| known.get(name).is_none()));
        let near = tintype_words::near(text, all.into_iter());
        Error::Unknown {
            name: text.to_owned(),
            near: near.into_iter().map(str::to_owned).collect(),
        }
    }

    /// All models: those that can be pulled, then those that only lie here.
    ///
    /// # Errors
    /// An operator's manifest that cannot be used.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        let known = Known::load(&self.root)?;
        let mut listed: Vec<Listed> = known.iter().map(|model| self.listed(model)).collect();
        for name in self.folders() {
            if known.get(name.as_str()).is_none() {
                listed.push(self.listed_folder(&name));
            }
        }
        Ok(listed)
    }

    fn listed(&self, model: &crate::Manifest) -> Listed {
        let name = &model.name;
        if self.folder(name).is_dir() {
            return self.listed_folder(name);
        }
        let unfinished = self.staging(name).is_dir();
        Listed {
            name: name.to_string(),
            condition: if unfinished {
                Condition::Unfinished
            } else {
                Condition::Available
            },
            title: model.title.clone(),
            kind: model.kind,
            machine_gb: model.machine_gb,
            bytes: Some(model.bytes()),
            size_is_exact: model.size_is_exact(),
            licence: Some(model.licence.clone()),
        }
    }

    fn listed_folder(&self, name: &ModelName) -> Listed {
        match self.record(name).ok().flatten() {
            Some(record) => Listed {
                name: name.to_string(),
                condition: Condition::Installed,
                title: record.title.clone(),
                kind: record.kind,
                machine_gb: record.machine_gb,
                bytes: Some(record.bytes()),
                size_is_exact: true,
                licence: Some(record.licence),
            },
            None => Listed {
                name: name.to_string(),
                condition: Condition::ByHand,
                title: "a folder that was put here by hand".to_owned(),
                kind: Kind::Other,
                machine_gb: None,
                bytes: None,
                size_is_exact: false,
                licence: None,
            },
        }
    }

    /// The folders with models, by their names.
    fn folders(&self) -> Vec<ModelName> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        let names = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok());
        let mut names: Vec<ModelName> = names.collect();
        names.sort();
        names
    }

    /// Reads an installed model's files; those that are not what was fetched come back. `seen` is told
    /// of each before it is read.
    ///
    /// # Errors
    /// When the model is not installed, or not by the library.
    pub fn verify(
        &self,
        name: &ModelName,
        seen: impl FnMut(&RecordedFile),
    ) -> Result<Vec<Wrong>, Error> {
        let folder = self.folder(name);
        let record = self.installed(name)?;
        Ok(verify::wrong_files(&folder, &record, seen))
    }

    /// The record of a model that must be installed.
    fn installed(&self, name: &ModelName) -> Result<Record, Error> {
        if let Some(record) = self.record(name)? {
            return Ok(record);
        }
        let path = self.folder(name);
        if path.is_dir() {
            return Err(Error::Foreign { path });
        }
        Err(self.missing(name.as_str()))
    }

    /// What the end of a model would give back.
    ///
    /// # Errors
    /// When the model is neither installed nor partly fetched.
    pub fn removable(&self, name: &ModelName) -> Result<Removed, Error> {
        let staging = self.staging(name);
        if !self.folder(name).is_dir() && staging.is_dir() {
            return Ok(weigh(&staging));
        }
        self.installed(name)?;
        let (installed, unfinished) = (weigh(&self.folder(name)), weigh(&staging));
        Ok(Removed {
            freed_bytes: installed.freed_bytes + unfinished.freed_bytes,
            shared_bytes: installed.shared_bytes,
        })
    }

    /// Deletes a model and what has been fetched of it. Files that another model needs stay there.
    ///
    /// # Errors
    /// When there is nothing of it, somebody works on it, or the disk refuses.
    pub fn remove(&self, name: &ModelName) -> Result<Removed, Error> {
        let _lock = self.lock(name)?;
        let removed = self.removable(name)?;
        let staging = self.staging(name);
        clear(&staging)?;
        let folder = self.folder(name);
        if folder.is_dir() {
            // Out of sight first: nobody finds half a model.
            create(&self.root.join(STAGING))?;
            fs::rename(&folder, &staging).map_err(|source| Error::io(&folder, source))?;
            clear(&staging)?;
        }
        Ok(removed)
    }
}

pub(crate) fn create(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))
}

/// Deletes a folder, if it is there.
pub(crate) fn clear(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(folder, error)),
        _ => Ok(()),
    }
}

/// What a folder's files take, and how much of that has other names elsewhere.
fn weigh(folder: &Path) -> Removed {
    let mut sum = Removed {
        freed_bytes: 0,
        shared_bytes: 0,
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return sum;
    };
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                let inside = weigh(&entry.path());
                sum.freed_bytes += inside.freed_bytes;
                sum.shared_bytes += inside.shared_bytes;
            }
            Ok(metadata) if metadata.nlink() > 1 => sum.shared_bytes += metadata.len(),
            Ok(metadata) => sum.freed_bytes += metadata.len(),
            Err(_) => {}
        }
    }
    sum
}
