//! One pass: what is old, then what nobody points at, then the database.

use std::time::Duration;

use tintype_domain::{BlobKey, UnixMillis};
use tintype_store::{Expired, Expiring, ExpiryStep, Mode, Upkeep};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{JanitorConfig, leftovers};
use crate::authentication::NONCE_MEMORY_MILLIS;
use crate::repeats::kept_after;
use crate::{Service, ServiceError};

/// Files, and what they weigh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many.
    pub files: u64,
    /// Bytes in all.
    pub bytes: u64,
}

/// What a pass removed, or would remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Files of ended tasks.
    pub outputs: Removed,
    /// Uploaded files.
    pub uploads: Removed,
    /// Whole records of tasks.
    pub records: u64,
    /// Bytes that nobody pointed at.
    pub orphans: Removed,
    /// What interrupted writes had left.
    pub leftovers: Removed,
    /// Rows of the database that had expired by themselves.
    pub rows: u64,
    /// Bytes that the database gave back.
    pub database_bytes: u64,
    /// Files that could not be deleted; the next sweep tries again.
    pub failed: u64,
}

impl Report {
    /// Says in the log what was done, if anything was.
    pub(super) fn log(&self) {
        if *self == Self::default() {
            return;
        }
        tracing::info!(
            outputs = self.outputs.files,
            uploads = self.uploads.files,
            records = self.records,
            orphans = self.orphans.files,
            leftovers = self.leftovers.files,
            rows = self.rows,
            database_bytes = self.database_bytes,
            failed = self.failed,
            "removed what was old"
        );
    }
}

/// A pass in hand.
pub(super) struct Pass<'a> {
    pub(super) service: &'a Service,
    pub(super) config: &'a JanitorConfig,
    pub(super) mode: Mode,
    pub(super) stopped: &'a watch::Receiver<bool>,
}

impl Pass<'_> {
    pub(super) async fn run(&self, sweep: bool) -> Result<Report, ServiceError> {
        let retention = &self.config.retention;
        let mut report = Report::default();
        for (what, keep) in [
            (Expiring::Outputs, retention.outputs),
            (Expiring::Records, retention.records),
            (Expiring::Uploads, retention.uploads),
        ] {
            if let Some(keep) = keep {
                self.expire(what, keep, &mut report).await?;
            }
        }
        if sweep {
            self.sweep(&mut report).await?;
            self.clear_leftovers(&mut report).await;
        }
        if self.mode == Mode::Remove {
            self.tidy(&mut report).await?;
        }
        Ok(report)
    }

    /// The time before which things are older than this.
    pub(super) fn before(&self, age: Duration) -> UnixMillis {
        let millis = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        self.service.now().plus_millis(-millis)
    }

    /// A pause between steps; `false` when there is to be no other.
    pub(super) async fn goes_on(&self) -> bool {
        if !*self.stopped.borrow() {
            sleep(self.config.pause).await;
        }
        !*self.stopped.borrow()
    }

    /// Forgets rows in steps; after each, deletes the bytes that belonged to them.
    async fn expire(
        &self,
        what: Expiring,
        keep: Duration,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let mut step = ExpiryStep {
            what,
            before: self.before(keep),
            after: 0,
            mode: self.mode,
        };
        loop {
            let expired = self.service.store.expire(step).await?;
            report.add(what, &expired);
            if self.mode == Mode::Remove {
                self.discard(expired.blob_keys, report).await?;
            }
            match expired.next {
                Some(next) if self.goes_on().await => step.after = next,
                _ => return Ok(()),
            }
        }
    }

    /// Deletes bytes, except those that the store says are alive.
    pub(super) async fn discard(
        &self,
        keys: Vec<String>,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let ours = keys.iter().filter_map(|key| BlobKey::parse(key)).collect();
        let live = self.service.store.live_blobs(ours).await?;
        let live: Vec<String> = live.iter().map(ToString::to_string).collect();
        for key in keys {
            if live.contains(&key) {
                tracing::error!(
                    blob.key = key,
                    "kept a file that is on record; this is a bug"
                );
                continue;
            }
            if let Err(error) = self.service.delete_blobs(vec![key.clone()]).await {
                tracing::warn!(blob.key = key, error = %error, "a file could not be deleted");
                report.failed += 1;
            }
        }
        Ok(())
    }

    async fn clear_leftovers(&self, report: &mut Report) {
        let Some(folder) = self.config.blob_folder.clone() else {
            return;
        };
        let (before, mode) = (self.before(self.config.retention.sweep_grace), self.mode);
        let cleared = tokio::task::spawn_blocking(move || leftovers::clear(&folder, before, mode));
        report.leftovers = cleared.await.unwrap_or_default();
    }

    async fn tidy(&self, report: &mut Report) -> Result<(), ServiceError> {
        let now = self.service.now();
        let upkeep = Upkeep {
            repeats_before: kept_after(now),
            nonces_before: now.plus_millis(-NONCE_MEMORY_MILLIS),
        };
        loop {
            let tidied = self.service.store.tidy(upkeep).await?;
            report.rows += tidied.rows;
            report.database_bytes += tidied.bytes;
            if !tidied.more || !self.goes_on().await {
                return Ok(());
            }
        }
    }
}

impl Report {
    fn add(&mut self, what: Expiring, expired: &Expired) {
        self.records += expired.records;
        let removed = match what {
            Expiring::Outputs | Expiring::Records => &mut self.outputs,
            Expiring::Uploads => &mut self.uploads,
        };
        removed.files += expired.blob_keys.len() as u64;
        removed.bytes += expired.bytes;
    }
}
