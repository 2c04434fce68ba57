//! Making projects.

use rand::Rng;
use rand::distr::Alphanumeric;
use tintype_domain::AuthKind;
use tintype_store::NewProject;

use crate::webhooks::SigningSecret;
use crate::{NewProjectRequest, ProjectError, ProjectKeys, Service, ServiceError, networks};

/// The project that the first start makes.
const DEFAULT_PROJECT: &str = "default";

/// Letters and digits of a key and of a secret: about 190 bits.
const KEY_CHARS: usize = 32;

/// Characters of a name at most: it stands in tables and logs.
const MAX_NAME_CHARS: usize = 100;

impl Service {
    /// Makes a project. Its keys are in the answer and nowhere else: the secret is kept sealed.
    ///
    /// # Errors
    /// [`ProjectError::Exists`] when the name is taken; see the type for the rest.
    pub async fn create_project(
        &self,
        request: NewProjectRequest,
    ) -> Result<ProjectKeys, ProjectError> {
        check(&request)?;
        let keys = self.draw_keys(&request.name);
        let sealed = self
            .sealing_key
            .seal(&keys.api_key, &keys.api_secret, &mut *self.rng());
        let project = NewProject {
            name: request.name,
            api_key: keys.api_key.clone(),
            sealed_secret: sealed,
            auth: request.auth,
            allowed_networks: request.allowed_networks,
            strict_nonce: request.strict_nonce,
        };
        match self.store.create_project(project, self.now()).await {
            Ok(project) => {
                tracing::info!(project.id = %project.id, project.name, "made a project");
                Ok(keys)
            }
            Err(tintype_store::Error::Exists { .. }) => Err(ProjectError::Exists(keys.name)),
            Err(error) => Err(ServiceError::from(error).into()),
        }
    }

    /// Makes a project for a service that has none; `None` if there is one already.
    ///
    /// # Errors
    /// Those of [`Service::create_project`].
    pub async fn ensure_default_project(&self) -> Result<Option<ProjectKeys>, ProjectError> {
        if !self
            .store
            .projects()
            .await
            .map_err(ServiceError::from)?
            .is_empty()
        {
            return Ok(None);
        }
        let request = NewProjectRequest {
            name: DEFAULT_PROJECT.to_owned(),
            auth: AuthKind::Signature,
            allowed_networks: Vec::new(),
            strict_nonce: false,
        };
        match self.create_project(request).await {
            Ok(keys) => Ok(Some(keys)),
            // Another process on the same data folder was faster.
            Err(ProjectError::Exists(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn draw_keys(&self, name: &str) -> ProjectKeys {
        let mut rng = self.rng();
        let mut draw = || {
            (0..KEY_CHARS)
                .map(|_| char::from(rng.sample(Alphanumeric)))
                .collect::<String>()
        };
        let (api_key, api_secret) = (draw(), draw());
        ProjectKeys {
            name: name.to_owned(),
            api_key,
            webhook_secret: SigningSecret::derive(&api_secret).shown(),
            api_secret,
        }
    }
}

fn check(request: &NewProjectRequest) -> Result<(), ProjectError> {
    let name_chars = request.name.chars().count();
    let usable = !request.name.trim().is_empty() && !request.name.contains(char::is_control);
    if !usable || name_chars > MAX_NAME_CHARS {
        return Err(ProjectError::Name {
            max: MAX_NAME_CHARS,
        });
    }
    match request
        .allowed_networks
        .iter()
        .find(|entry| !networks::is_valid(entry))
    {
        Some(entry) => Err(ProjectError::Network(entry.clone())),
        None => Ok(()),
    }
}
