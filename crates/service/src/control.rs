//! What a project may do with its own tasks besides watching one: list them, and stop them.

use std::time::Duration;

use tintype_domain::{BlobKey, Task, TaskRef, TaskState, ToolSlug};
use tintype_store::{Cancel, Deletion, Standing, TaskQuery};
use tokio::time::{Instant, sleep};

use crate::{DeleteError, Page, Principal, Service, ServiceError, StopError};

/// Between looks at a task that was asked to stop: a fraction of a step.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Why a task was not killed, to be read after a colon.
const STILL_QUEUED: &str = "it is still in the queue; cancel it instead";
const HAD_ENDED: &str = "it has ended already";
const ENDED_FIRST: &str = "it came to its end first";

impl Service {
    /// A page of the asking project's own tasks, by number, and how many there are in all.
    ///
    /// # Errors
    /// [`ServiceError`] when the store cannot be asked.
    pub async fn list(
        &self,
        principal: &Principal,
        page: Page,
    ) -> Result<(Vec<Task>, u64), ServiceError> {
        let tool = match page.model {
            None => None,
            Some(name) => match self.tool_called(&name) {
                Some(slug) => Some(slug),
                None => return Ok((Vec::new(), 0)),
            },
        };
        let query = TaskQuery {
            project: principal.project,
            tool,
            descending: page.descending,
            start: page.start,
            limit: page.limit,
        };
        Ok(self.store.list(query).await?)
    }

    /// Takes a task out of the queue; returns it as it stands then.
    ///
    /// # Errors
    /// [`StopError`]; [`StopError::NotQueued`] if a worker has it or it has ended.
    pub async fn cancel(&self, principal: &Principal, task: &TaskRef) -> Result<Task, StopError> {
        match self.ask_to_stop(principal, task, Standing::Queued).await? {
            Cancel::Cancelled(task) | Cancel::Flagged(task) => {
                self.ended.notify_one();
                tracing::info!(task.id = %task.id, project.id = %principal.project, "cancelled in the queue");
                Ok(*task)
            }
            Cancel::Unchanged(_) => Err(StopError::NotQueued),
            Cancel::Unknown => Err(StopError::UnknownTask),
        }
    }

    /// Stops a running task at its next step, and waits a moment for that; returns the task as it
    /// stands then. A kill that came too late, or in the same moment as the end, is an error: a
    /// task has one end, and the answer says which.
    ///
    /// # Errors
    /// [`StopError`]; [`StopError::NotRunning`] if the task waits, had ended, or ended otherwise.
    pub async fn kill(&self, principal: &Principal, task: &TaskRef) -> Result<Task, StopError> {
        let task = match self.ask_to_stop(principal, task, Standing::Running).await? {
            Cancel::Cancelled(task) | Cancel::Flagged(task) => *task,
            Cancel::Unchanged(task) if task.state.is_final() => {
                return Err(StopError::NotRunning(HAD_ENDED));
            }
            Cancel::Unchanged(_) => return Err(StopError::NotRunning(STILL_QUEUED)),
            Cancel::Unknown => return Err(StopError::UnknownTask),
        };
        self.stops.send_replace(());
        tracing::info!(task.id = %task.id, project.id = %principal.project, "asked to stop");
        let task = self.settled(task).await;
        if task.state == TaskState::Finished {
            return Err(StopError::NotRunning(ENDED_FIRST));
        }
        Ok(task)
    }

    /// The task when it has ended, or as it stands when patience is over. A store that cannot be
    /// asked does not make the wish undone.
    async fn settled(&self, mut task: Task) -> Task {
        let patience = Instant::now() + self.kill_patience;
        let id = TaskRef::Id(task.id);
        while !task.state.is_final() && Instant::now() < patience {
            sleep(LOOK_AGAIN).await;
            match self.store.detail(&id, Some(task.project)).await {
                Ok(Some(now)) => task = now,
                Ok(None) | Err(_) => break,
            }
        }
        task
    }

    /// Deletes the pictures of a task that has ended; its record stays. Repeating it is no error,
    /// and finishes what an earlier call could not.
    ///
    /// The records go first: an address that leads nowhere is never on record. The files that the
    /// task was given stay: they belong to the project, and other runs may use them by name.
    ///
    /// # Errors
    /// [`DeleteError`].
    pub async fn delete_files(
        &self,
        principal: &Principal,
        task: &TaskRef,
    ) -> Result<(), DeleteError> {
        let deleted = self.store.delete_outputs(task, principal.project).await;
        let (task, blob_keys) = match deleted.map_err(ServiceError::from)? {
            Deletion::Deleted { task, blob_keys } => (task, blob_keys),
            Deletion::Unfinished => return Err(DeleteError::Unfinished),
            Deletion::Unknown => return Err(DeleteError::UnknownTask),
        };
        let removed = async {
            self.delete_blobs(blob_keys).await?;
            // What an earlier call left, and pictures of attempts that were overtaken.
            let left = self.blobs_below(&BlobKey::folder_of(task)).await?;
            self.delete_blobs(left).await
        };
        removed.await.map_err(DeleteError::BytesLeft)?;
        tracing::info!(task.id = %task, project.id = %principal.project, "deleted the pictures of a task");
        Ok(())
    }

    async fn ask_to_stop(
        &self,
        principal: &Principal,
        task: &TaskRef,
        standing: Standing,
    ) -> Result<Cancel, ServiceError> {
        let asked = self
            .store
            .cancel(task, principal.project, standing, self.now());
        Ok(asked.await?)
    }

    /// A tool by its whole address, which need not be offered any more, or by its second half.
    fn tool_called(&self, name: &str) -> Option<ToolSlug> {
        if let Some((owner, model)) = name.split_once('/') {
            return Some(ToolSlug::new(owner, model));
        }
        let mut tools = self.catalog.tools().iter();
        tools
            .find(|tool| tool.model == name)
            .map(|tool| tool.slug())
    }
}
