//! One file: shared with another model, or fetched until it is whole, and checked.

use std::fs;
use std::path::Path;

use super::part::{Note, Part};
use super::plan::Job;
use super::{Pulling, blocking};
use crate::digest::FileDigest;
use crate::error::Error;
use crate::hub::{Attempts, Opened, Trouble};
use crate::installed::{Origin, RecordedFile};

/// A file whose size nobody says is not read beyond this.
const LARGEST_UNSIZED_BYTES: u64 = 64 << 20;

impl Pulling {
    /// Brings a file into the staging folder.
    pub(super) async fn file(&self, job: Job) -> Result<RecordedFile, Error> {
        let place = job.wanted.path.under(&self.staging.files);
        if let Some(parent) = place.parent() {
            crate::library::create(parent)?;
        }
        let done = match self.staged(&job, &place) {
            Some(file) => file,
            None if self.shared(&job, &place).await? => job.recorded(job.sha256, job.info.size),
            None => self.fetched(&job, &place).await?,
        };
        self.watcher.finished(&done.path, done.size);
        Ok(done)
    }

    /// A file that an earlier pull has fetched and checked.
    fn staged(&self, job: &Job, place: &Path) -> Option<RecordedFile> {
        let note = Note::read(&self.staging, job).filter(|note| note.is_of(job))?;
        let (sha256, size) = (note.sha256?, fs::metadata(place).ok()?.len());
        let as_wanted = job.sha256.is_none_or(|wanted| wanted == sha256)
            && job.info.size.is_none_or(|wanted| wanted == size);
        as_wanted.then(|| job.recorded(Some(sha256), Some(size)))
    }

    /// Gives another model's file a second name, if it still holds what it should.
    async fn shared(&self, job: &Job, place: &Path) -> Result<bool, Error> {
        let (Some(other), Some(sha256)) = (job.elsewhere.clone(), job.sha256) else {
            return Ok(false);
        };
        self.watcher.checking(&job.wanted.path);
        let place = place.to_owned();
        blocking(move || match FileDigest::of_file(&other) {
            Ok(found) if found == sha256 => share(&other, &place).map(|()| true),
            _ => Ok(false),
        })
        .await?
    }

    async fn fetched(&self, job: &Job, place: &Path) -> Result<RecordedFile, Error> {
        let mut note = Note::read(&self.staging, job).filter(|note| note.is_of(job));
        let mut part = Part::open(self.staging.part(job)).await?;
        if note.is_none() && part.length() > 0 {
            part.restart()?;
        }
        let note = note.get_or_insert_with(|| Note::of(job));
        let mut resumed = part.length() > 0;
        let sha256 = loop {
            self.until_whole(job, &mut part, note).await?;
            let got = part.digest().await?;
            match job.sha256 {
                Some(expected) if expected != got => {
                    self.throw_away(job, &mut part)?;
                    if !resumed {
                        let file = job.address.to_string();
                        return Err(Error::WrongBytes {
                            file,
                            expected,
                            got,
                        });
                    }
                    // The part may have been spoilt here: from the beginning, once.
                    resumed = false;
                }
                _ => break got,
            }
        };
        note.sha256 = Some(sha256);
        note.write(&self.staging, job)?;
        let part_path = self.staging.part(job);
        fs::rename(&part_path, place).map_err(|source| Error::io(place, source))?;
        Ok(job.recorded(Some(sha256), Some(part.length())))
    }

    /// Fetches what is missing, in as many attempts as it takes and is allowed.
    async fn until_whole(&self, job: &Job, part: &mut Part, note: &mut Note) -> Result<(), Error> {
        let mut attempts = Attempts::new(self.hub.pace());
        let mut furthest = part.length();
        while job.info.size.is_none_or(|size| part.length() != size) {
            let Err(trouble) = self.once(job, part, note).await else {
                return Ok(());
            };
            if part.length() > furthest {
                furthest = part.length();
                attempts.progress();
            }
            let (wait, reason) = attempts.next(trouble, &job.address.to_string())?;
            self.watcher.waiting(&job.wanted.path, &reason, wait);
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// One attempt: from where the part ends to the end of the file.
    async fn once(&self, job: &Job, part: &mut Part, note: &mut Note) -> Result<(), Trouble> {
        if job.info.size.is_some_and(|size| part.length() > size) {
            self.throw_away(job, part)?;
        }
        let validator = note.validator.as_deref().filter(|_| part.length() > 0);
        let opening = self.hub.open(&job.address, part.length(), validator);
        let mut opened = opening.await?;
        if opened.offset != part.length() {
            self.throw_away(job, part)?;
        }
        self.check_length(job, &opened, part)?;
        if part.length() == 0 {
            note.validator = opened.validator.clone();
            note.write(&self.staging, job)?;
        }
        self.stream(job, &mut opened, part).await
    }

    /// Two lengths that differ are nobody's mistake that a further attempt mends.
    fn check_length(&self, job: &Job, opened: &Opened, part: &mut Part) -> Result<(), Error> {
        match (job.info.size, opened.total) {
            (Some(promised), Some(sent)) if promised != sent => {
                self.throw_away(job, part)?;
                Err(Error::Length {
                    file: job.address.to_string(),
                    promised,
                    host: opened.host.clone(),
                    sent,
                })
            }
            _ => Ok(()),
        }
    }

    async fn stream(&self, job: &Job, opened: &mut Opened, part: &mut Part) -> Result<(), Trouble> {
        let size = job.info.size.or(opened.total);
        let most = size.unwrap_or(LARGEST_UNSIZED_BYTES);
        let host = opened.host.clone();
        let broken = |error| Trouble::broken(&host, &error);
        while let Some(chunk) = opened.response.chunk().await.map_err(broken)? {
            let sent = part.length() + chunk.len() as u64;
            if sent > most {
                self.throw_away(job, part)?;
                return Err(Trouble::Final(Error::Length {
                    file: job.address.to_string(),
                    promised: most,
                    host,
                    sent,
                }));
            }
            part.append(&chunk)?;
            self.watcher.received(&job.wanted.path, chunk.len() as u64);
        }
        match size {
            Some(size) if part.length() < size => Err(Trouble::passing(format!(
                "{host} ended after {} of {size} bytes",
                part.length()
            ))),
            _ => Ok(()),
        }
    }

    fn throw_away(&self, job: &Job, part: &mut Part) -> Result<(), Error> {
        self.watcher.dropped(&job.wanted.path, part.length());
        part.restart()
    }
}

impl Job {
    fn recorded(&self, sha256: Option<FileDigest>, size: Option<u64>) -> RecordedFile {
        let commit = Some(self.address.revision.clone()).filter(|commit| commit.is_commit());
        RecordedFile {
            path: self.wanted.path.clone(),
            size: size.expect("a file that is there has a size; this is a bug"),
            sha256: sha256.expect("a file that is there has a digest; this is a bug"),
            origin: Some(Origin {
                repository: self.wanted.repository.clone(),
                revision: self.wanted.revision.clone(),
                commit,
                source: self.wanted.source.clone(),
            }),
        }
    }
}

/// Gives a file a second name; where the file system has no such thing, copies it.
pub(super) fn share(file: &Path, name: &Path) -> Result<(), Error> {
    let made = match fs::remove_file(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => fs::hard_link(file, name).or_else(|_| fs::copy(file, name).map(|_| ())),
    };
    made.map_err(|source| Error::io(name, source))
}
