//! What every handler shares: the service, the body reader, and how addresses are made.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};
use tintype_domain::Task;
use tintype_service::{Credentials, Networks, Principal, Service};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::{BodyReader, Inputs, Purpose, refuse};
use crate::errors::{ApiError, Kind};
use crate::limits::Limits;
use crate::reference::Reference;
use crate::remote::remote_address;
use crate::wire::{Surroundings, WireTask};

/// Where the addresses in answers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BaseUrl {
    /// The public address that the service was configured with.
    #[default]
    Configured,
    /// `http://` and the host that the client itself used. For a service whose operator has not
    /// said how it is reached: the answer goes to nobody but the client that named the host.
    FromRequest,
}

/// What an operator decides about the HTTP border.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the addresses in answers begin.
    pub base_url: BaseUrl,
    /// Bounds.
    pub limits: Limits,
    /// Proxies that are believed when they say whom they speak for.
    pub trusted_proxies: Networks,
}

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) service: Arc<Service>,
    pub(crate) bodies: BodyReader,
    /// What the service says of itself.
    pub(crate) reference: Arc<Reference>,
    base_url: BaseUrl,
    socket_life: Duration,
    sockets: Arc<Semaphore>,
    trusted_proxies: Arc<Networks>,
}

/// A request that was let in.
pub(crate) struct Call {
    /// Who asks.
    pub(crate) principal: Principal,
    /// What the body held.
    pub(crate) inputs: Inputs,
    /// Where the addresses in the answer begin.
    pub(crate) base_url: String,
}

impl App {
    pub(crate) fn new(service: Arc<Service>, options: &Options) -> Self {
        let bodies = BodyReader::new(options.limits.clone());
        let reference = Arc::new(Reference::of(service.catalog()));
        Self {
            service,
            bodies,
            reference,
            base_url: options.base_url,
            socket_life: options.limits.socket_life(),
            sockets: Arc::new(Semaphore::new(options.limits.sockets)),
            trusted_proxies: Arc::new(options.trusted_proxies.clone()),
        }
    }

    /// A place for one more websocket, until the answer is dropped.
    pub(crate) fn socket_place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = Arc::clone(&self.sockets).try_acquire_owned();
        place.map_err(|_| ApiError::new(Kind::TooManySockets))
    }

    /// How long a websocket may show no life.
    pub(crate) fn socket_life(&self) -> Duration {
        self.socket_life
    }

    /// Lets a request in and reads its body, in this order.
    pub(crate) async fn admit(
        &self,
        remote: SocketAddr,
        request: Request,
        purpose: Purpose,
    ) -> Result<Call, ApiError> {
        let (head, body) = request.into_parts();
        let remote = remote_address(remote, &head.headers, &self.trusted_proxies);
        let principal = match self.authenticate(&head.headers, remote).await {
            Ok(principal) => principal,
            Err(error) => return Err(self.turn_away(error, remote, &head.headers, body).await),
        };
        let inputs = self.bodies.read(&head.headers, body, purpose).await?;
        Ok(Call {
            principal,
            inputs,
            base_url: self.base_url(&head.headers),
        })
    }

    /// Disposes of a refused request. Those who fail again and again lose their connection, and
    /// their bodies are not read.
    async fn turn_away(
        &self,
        error: ApiError,
        remote: IpAddr,
        headers: &HeaderMap,
        body: Body,
    ) -> ApiError {
        let failed = error.kind() == Kind::Credentials;
        match failed.then(|| self.service.bad_attempt(remote)).flatten() {
            Some(wait) => error.throttled_for(wait),
            None => {
                refuse(headers, body).await;
                error
            }
        }
    }

    /// The project that a request's headers prove.
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        remote: IpAddr,
    ) -> Result<Principal, ApiError> {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
        let credentials = Credentials {
            api_key: text("x-api-key"),
            nonce: text("x-nonce"),
            signature: text("x-signature"),
            remote,
        };
        Ok(self.service.authenticate(&credentials).await?)
    }

    /// The base of absolute addresses, without a slash at the end.
    pub(crate) fn base_url(&self, headers: &HeaderMap) -> String {
        let named = match self.base_url {
            BaseUrl::Configured => None,
            BaseUrl::FromRequest => headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok()),
        };
        named
            .and_then(|host| host.parse::<Authority>().ok())
            .filter(|host| !host.as_str().contains('@'))
            .map_or_else(
                || self.service.public_url().to_owned(),
                |host| format!("http://{host}"),
            )
    }

    /// A task as clients see it.
    pub(crate) async fn on_the_wire(&self, task: Task, base_url: &str) -> WireTask {
        let outlook = self.service.outlook(&task).await;
        let tool = self.service.catalog().tool(&task.tool);
        let tool_description = tool.map_or("", |tool| tool.description.as_str());
        WireTask::of(
            task,
            Surroundings {
                base_url,
                tool_description,
            },
        )
        .expecting(outlook)
    }
}
