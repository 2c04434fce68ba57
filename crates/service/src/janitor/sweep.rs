//! The sweeper: finds bytes that nobody points at.
//!
//! They come from attempts that were overtaken, from uploads whose record was refused, and from
//! crashes between a row and its bytes.

use futures::TryStreamExt;
use tintype_domain::BlobKey;
use tintype_store::Mode;
use tintype_words::root_cause;

use super::pass::{Pass, Removed, Report};
use crate::ServiceError;

/// Keys that the store is asked about at once.
const ASKED_AT_ONCE: usize = 250;

/// Bytes that are old enough to be looked at.
struct Candidate {
    key: BlobKey,
    size_bytes: u64,
}

impl Pass<'_> {
    /// Goes through all bytes that there are, in whatever order they come.
    pub(super) async fn sweep(&self, report: &mut Report) -> Result<(), ServiceError> {
        let before = self.before(self.config.retention.sweep_grace);
        let mut listed = self.service.blobs.list(None);
        let mut candidates = Vec::new();
        loop {
            let next = listed.try_next().await;
            let next = next.map_err(|error| ServiceError::Blobs(root_cause(&error)))?;
            let at_the_end = next.is_none();
            let old = next.filter(|meta| meta.last_modified.timestamp_millis() < before.0);
            candidates.extend(old.and_then(|meta| {
                Some(Candidate {
                    key: BlobKey::parse(meta.location.as_ref())?,
                    size_bytes: meta.size,
                })
            }));
            if at_the_end || candidates.len() >= ASKED_AT_ONCE {
                self.judge(std::mem::take(&mut candidates), report).await?;
                if at_the_end || !self.goes_on().await {
                    return Ok(());
                }
            }
        }
    }

    async fn judge(
        &self,
        candidates: Vec<Candidate>,
        report: &mut Report,
    ) -> Result<(), ServiceError> {
        let keys = candidates.iter().map(|found| found.key.clone()).collect();
        let live = self.service.store.live_blobs(keys).await?;
        let dead: Vec<Candidate> = candidates
            .into_iter()
            .filter(|found| !live.contains(&found.key))
            .collect();
        report.orphans = Removed {
            files: report.orphans.files + dead.len() as u64,
            bytes: report.orphans.bytes + dead.iter().map(|dead| dead.size_bytes).sum::<u64>(),
        };
        if self.mode == Mode::Remove && !dead.is_empty() {
            let keys = dead.iter().map(|dead| dead.key.to_string()).collect();
            self.discard(keys, report).await?;
        }
        Ok(())
    }
}
