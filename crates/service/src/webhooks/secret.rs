//! The signing secrets of projects, for the loop and for their operator.

use secrecy::ExposeSecret;
use tintype_domain::Project;

use super::SigningSecret;
use crate::{SealingError, Service, ServiceError};

/// A project as its operator sees it: everything but the API secret, which is shown once.
pub struct ShownProject {
    /// Its record.
    pub project: Project,
    /// What its reports are signed with, as receivers configure it.
    pub webhook_secret: String,
}

impl Service {
    /// A project by its name, with the secret that its receivers verify reports with.
    ///
    /// # Errors
    /// [`ServiceError`] when the store cannot be asked or the secret cannot be opened.
    pub async fn project_named(&self, name: &str) -> Result<Option<ShownProject>, ServiceError> {
        let projects = self.store.projects().await?;
        let Some(project) = projects.into_iter().find(|project| project.name == name) else {
            return Ok(None);
        };
        let secret = self.signing_secret(&project).map_err(|error| {
            let reason = format!("project {}: {error}", project.id);
            ServiceError::Store(tintype_store::Error::Corrupt { reason })
        })?;
        Ok(Some(ShownProject {
            webhook_secret: secret.shown(),
            project,
        }))
    }

    pub(super) fn signing_secret(&self, project: &Project) -> Result<SigningSecret, SealingError> {
        let opened = self
            .sealing_key
            .open(&project.api_key, &project.sealed_secret)?;
        Ok(SigningSecret::derive(opened.expose_secret()))
    }
}
