//! What is to be fetched: each file in one state of its repository, what the hub says of it, and what
//! of it is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::part::Note;
use super::{Planned, Pulling, Staging};
use crate::digest::FileDigest;
use crate::error::Error;
use crate::hub::{Address, FileInfo};
use crate::installed::{RecordedFile, write_file};
use crate::manifest::{Manifest, Size, WantedFile};
use crate::names::{Repository, Revision};
use crate::space;

/// Which commit a revision of a repository is.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(super) struct Pins(Vec<(Repository, Revision, Revision)>);

/// A file that is to be had.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub wanted: WantedFile,
    /// Where it is, in the state that was looked up.
    pub address: Address,
    /// What the hub says of it.
    pub info: FileInfo,
    /// What it must hold, if anybody says so.
    pub sha256: Option<FileDigest>,
    /// The same file of another model.
    pub elsewhere: Option<PathBuf>,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Plan {
    pub folder: PathBuf,
    pub kept: Vec<RecordedFile>,
    pub jobs: Vec<Job>,
}

/// Whether an installed file is one that the manifest wants.
pub(super) fn still_wanted(manifest: &Manifest, file: &RecordedFile) -> bool {
    let Some(origin) = &file.origin else {
        return manifest.settings.is_some();
    };
    let same = |wanted: &&WantedFile| {
        wanted.path == file.path
            && wanted.repository == origin.repository
            && wanted.source == origin.source
            && wanted.sha256.is_none_or(|sha256| sha256 == file.sha256)
    };
    manifest.files.iter().any(|wanted| same(&wanted))
}

/// The files that the manifest wants and that are not among these.
pub(super) fn missing<'a>(
    manifest: &'a Manifest,
    kept: &'a [RecordedFile],
) -> impl Iterator<Item = &'a WantedFile> {
    let is_kept = |wanted: &WantedFile| kept.iter().any(|file| file.path == wanted.path);
    let files = manifest.files.iter();
    files.filter(move |wanted| !is_kept(wanted))
}

impl Pulling {
    pub(super) async fn plan(
        &self,
        manifest: &Manifest,
        kept: Vec<RecordedFile>,
    ) -> Result<Plan, Error> {
        let wanted: Vec<WantedFile> = missing(manifest, &kept).cloned().collect();
        let pins = self.pins(manifest, &wanted).await?;
        let infos = self.infos(&wanted, &pins).await?;
        let mut jobs = Vec::with_capacity(wanted.len());
        for (wanted, (address, info)) in wanted.into_iter().zip(infos) {
            jobs.push(self.job(wanted, address, info)?);
        }
        // The largest first: the last one to arrive is then a small one.
        jobs.sort_by_key(|job| std::cmp::Reverse(job.info.size));
        let planned = planned(&self.staging, &jobs);
        let needed = planned.bytes.saturating_sub(planned.arrived_bytes);
        space::check(
            &self.staging.whole,
            needed,
            space::free(&self.staging.whole),
        )?;
        self.watcher.planned(&planned);
        Ok(Plan {
            folder: self.library.folder(&manifest.name),
            kept,
            jobs,
        })
    }

    /// The states that the model was looked up in before, and those of repositories that are new.
    async fn pins(&self, manifest: &Manifest, wanted: &[WantedFile]) -> Result<Pins, Error> {
        let path = self.staging.whole.join("commits.json");
        let mut pins = Pins::read(&path);
        if let Ok(Some(record)) = self.library.record(&manifest.name) {
            let origins = record.files.into_iter().filter_map(|file| file.origin);
            for origin in origins {
                if let Some(commit) = origin.commit {
                    pins.set(&origin.repository, &origin.revision, commit);
                }
            }
        }
        for file in wanted {
            let (repository, revision) = (&file.repository, &file.revision);
            if pins.get(repository, revision).is_none() {
                let info = self.hub.info(&file.at(revision.clone())).await?;
                let commit = info.commit.unwrap_or_else(|| revision.clone());
                pins.set(repository, revision, commit);
            }
        }
        let text = serde_json::to_vec(&pins).expect("pins are JSON; this is a bug");
        write_file(&path, &text)?;
        Ok(pins)
    }

    /// What the hub says of each file, several at a time.
    async fn infos(
        &self,
        wanted: &[WantedFile],
        pins: &Pins,
    ) -> Result<Vec<(Address, FileInfo)>, Error> {
        let mut found = BTreeMap::new();
        let mut running = JoinSet::new();
        let mut waiting = wanted.iter().enumerate();
        loop {
            while running.len() < self.connections
                && let Some((index, file)) = waiting.next()
            {
                let revision = pins.get(&file.repository, &file.revision);
                let address = file.at(revision.unwrap_or(&file.revision).clone());
                let hub = self.hub.clone();
                running.spawn(async move {
                    let info = hub.info(&address).await;
                    info.map(|info| (index, (address, info)))
                });
            }
            match running.join_next().await {
                None => return Ok(found.into_values().collect()),
                Some(Err(broken)) => return Err(Error::Broken(broken.to_string())),
                Some(Ok(info)) => {
                    let (index, info) = info?;
                    found.insert(index, info);
                }
            }
        }
    }

    fn job(&self, wanted: WantedFile, address: Address, info: FileInfo) -> Result<Job, Error> {
        let changed = |reason| Error::Changed {
            file: address.to_string(),
            host: self.hub.host(),
            reason,
        };
        if let (Size::Exact(known), Some(size)) = (wanted.size, info.size)
            && known != size
        {
            let reason = format!("it has {size} bytes, not {known}");
            return Err(changed(reason));
        }
        let sha256 = match (wanted.sha256, info.sha256()) {
            (Some(known), Some(hubs)) if known != hubs => {
                let reason = format!("its SHA-256 is {hubs}, not {known}");
                return Err(changed(reason));
            }
            (known, hubs) => known.or(hubs),
        };
        let size = match wanted.size {
            Size::Exact(known) => Some(known),
            _ => info.size,
        };
        let info = FileInfo { size, ..info };
        let elsewhere = sha256.zip(size);
        let elsewhere = elsewhere.and_then(|(sha256, size)| self.elsewhere(sha256, size));
        Ok(Job {
            wanted,
            address,
            info,
            sha256,
            elsewhere,
        })
    }

    /// A file of another installed model with this content.
    fn elsewhere(&self, sha256: FileDigest, size: u64) -> Option<PathBuf> {
        let records = self.library.records().into_iter();
        let mut paths = records.flat_map(|record| {
            let folder = self.library.folder(&record.name);
            let same = move |file: &RecordedFile| file.sha256 == sha256 && file.size == size;
            let files = record.files.into_iter().filter(same);
            files.map(move |file| file.path.under(&folder))
        });
        paths.find(|path| path.is_file())
    }
}

/// What is to be done, in numbers.
fn planned(staging: &Staging, jobs: &[Job]) -> Planned {
    let mut planned = Planned {
        files: 0,
        bytes: 0,
        arrived_bytes: 0,
        shared_files: 0,
        shared_bytes: 0,
    };
    for job in jobs {
        let size = job.info.size.unwrap_or_default();
        if job.elsewhere.is_some() {
            planned.shared_files += 1;
            planned.shared_bytes += size;
            continue;
        }
        planned.files += 1;
        planned.bytes += size;
        planned.arrived_bytes += arrived(staging, job).min(size);
    }
    planned
}

/// What of a file is there, if it is still the same file.
fn arrived(staging: &Staging, job: &Job) -> u64 {
    let note = Note::read(staging, job);
    if !note.is_some_and(|note| note.is_of(job)) {
        return 0;
    }
    let length = |path: PathBuf| fs::metadata(path).ok().map(|metadata| metadata.len());
    let whole = length(job.wanted.path.under(&staging.files));
    let part = length(staging.part(job));
    whole.or(part).unwrap_or_default()
}

impl WantedFile {
    fn at(&self, revision: Revision) -> Address {
        Address {
            repository: self.repository.clone(),
            revision,
            path: self.source.clone(),
        }
    }
}

impl Pins {
    /// What was written; nothing where that cannot be understood.
    fn read(path: &std::path::Path) -> Self {
        let bytes = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn get(&self, repository: &Repository, revision: &Revision) -> Option<&Revision> {
        let same =
            |pin: &&(Repository, Revision, Revision)| pin.0 == *repository && pin.1 == *revision;
        self.0.iter().find(same).map(|pin| &pin.2)
    }

    fn set(&mut self, repository: &Repository, revision: &Revision, commit: Revision) {
        if self.get(repository, revision).is_none() {
            let pin = (repository.clone(), revision.clone(), commit);
            self.0.push(pin);
        }
    }
}
