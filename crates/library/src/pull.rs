//! Fetching a model: what it needs is looked up, what is there is used, the rest is downloaded, and
//! the folder appears when all of it has been checked.
//!
//! A pull that ends early, however that happens, leaves its staging folder; the next one goes on from
//! there. The state of the repository (its commit) is looked up once and kept, so that all files of a
//! model are of one state even if the pull takes days.

mod fetch;
mod finish;
mod part;
mod plan;
mod spec;
mod watch;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::error::Error;
use crate::hub::Hub;
use crate::installed::{Record, RecordedFile};
use crate::library::{Library, create};
use crate::manifest::Manifest;
use crate::verify;

pub use spec::{Remote, RemoteError};
pub use watch::{Planned, Silent, Watcher};

use plan::{Job, Plan};

/// Files that are fetched at a time, unless somebody says otherwise: more fill no line better.
pub const CONNECTIONS: usize = 4;

/// How to pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullOptions {
    /// Files that are fetched at a time.
    pub connections: usize,
    /// Ask no hub.
    pub offline: bool,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            offline: false,
        }
    }
}

/// What a pull has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The model's folder.
    pub folder: PathBuf,
    /// Whether the model was whole before.
    pub was_whole: bool,
    /// The size of the model.
    pub bytes: u64,
}

/// Where a pull keeps what is not finished.
#[derive(Debug, Clone)]
struct Staging {
    /// Whole files, where they will lie in the model's folder.
    files: PathBuf,
    /// Parts, and what is known of each file.
    parts: PathBuf,
    /// All of it.
    whole: PathBuf,
}

/// What the stages of a pull share.
#[derive(Clone)]
struct Pulling {
    library: Library,
    hub: Hub,
    staging: Staging,
    watcher: Arc<dyn Watcher>,
    connections: usize,
}

impl Library {
    /// Fetches a model, or mends it: files that are as they were fetched are kept.
    ///
    /// Writes to the disk on the threads that poll it: give it a runtime of its own.
    ///
    /// # Errors
    /// What could not be fetched and why. What has arrived is kept, unless it is wrong.
    pub async fn pull(
        &self,
        hub: &Hub,
        manifest: &Manifest,
        options: PullOptions,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Pulled, Error> {
        create(self.root())?;
        let _lock = self.lock(&manifest.name)?;
        let old = self.record(&manifest.name)?;
        let folder = self.folder(&manifest.name);
        if old.is_none() && folder.is_dir() {
            return Err(Error::Foreign { path: folder });
        }
        let kept = self.kept(manifest, old.as_ref(), &watcher).await?;
        if let Some(record) = old
            .as_ref()
            .filter(|record| is_whole(manifest, record, &kept))
        {
            return Ok(Pulled {
                folder,
                was_whole: true,
                bytes: record.bytes(),
            });
        }
        if options.offline {
            let name = manifest.name.clone();
            return Err(Error::Offline { name });
        }
        let pulling = Pulling {
            library: self.clone(),
            hub: hub.clone(),
            staging: Staging::make(self.staging(&manifest.name))?,
            watcher,
            connections: options.connections.max(1),
        };
        let plan = pulling.plan(manifest, kept).await?;
        let files = pulling.fetch_all(plan).await?;
        let record = pulling.finish(manifest, files)?;
        Ok(Pulled {
            folder,
            was_whole: false,
            bytes: record.bytes(),
        })
    }

    /// The files of an installed model that are as the manifest wants them.
    async fn kept(
        &self,
        manifest: &Manifest,
        old: Option<&Record>,
        watcher: &Arc<dyn Watcher>,
    ) -> Result<Vec<RecordedFile>, Error> {
        let Some(old) = old else {
            return Ok(Vec::new());
        };
        let wanted = old
            .files
            .iter()
            .filter(|file| plan::still_wanted(manifest, file));
        let wanted: Vec<RecordedFile> = wanted.cloned().collect();
        let (folder, watcher) = (self.folder(&manifest.name), watcher.clone());
        blocking(move || {
            let good = |file: &RecordedFile| {
                watcher.checking(&file.path);
                verify::fault_of(&folder, file).is_none()
            };
            wanted.into_iter().filter(good).collect()
        })
        .await
    }
}

/// Whether nothing is to be done: all files that the manifest names, and those that the program wrote.
fn is_whole(manifest: &Manifest, record: &Record, kept: &[RecordedFile]) -> bool {
    kept.len() == record.files.len()
        && record.settings == manifest.settings
        && plan::missing(manifest, kept).next().is_none()
}

impl Staging {
    fn make(whole: PathBuf) -> Result<Self, Error> {
        let (files, parts) = (whole.join("files"), whole.join("parts"));
        create(&files)?;
        create(&parts)?;
        Ok(Self {
            files,
            parts,
            whole,
        })
    }
}

impl Pulling {
    /// Fetches several at a time; the first error ends all.
    async fn fetch_all(&self, plan: Plan) -> Result<Vec<RecordedFile>, Error> {
        let mut files = self.keep(&plan)?;
        let mut waiting: VecDeque<Job> = plan.jobs.into();
        let mut running = JoinSet::new();
        loop {
            while running.len() < self.connections
                && let Some(job) = waiting.pop_front()
            {
                let pulling = self.clone();
                running.spawn(async move { pulling.file(job).await });
            }
            match running.join_next().await {
                None => return Ok(files),
                Some(Ok(file)) => files.push(file?),
                Some(Err(broken)) => return Err(Error::Broken(broken.to_string())),
            }
        }
    }
}

/// Work that reads gigabytes, away from the threads that wait for the network.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Broken(error.to_string()))
}
