//! What a project may do with its own tasks besides watching one: list them, and stop them.

use tintype_domain::{Task, TaskRef, ToolSlug};
use tintype_store::{Cancel, Standing, TaskQuery};

use crate::{Page, Principal, Service, ServiceError, StopError};

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
                tracing::info!(task.id = %task.id, project.id = %principal.project, "cancelled in the queue");
                Ok(*task)
            }
            Cancel::Unchanged(_) => Err(StopError::NotQueued),
            Cancel::Unknown => Err(StopError::UnknownTask),
        }
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
