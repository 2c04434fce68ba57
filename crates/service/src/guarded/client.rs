//! The HTTP client under the guard.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder, Response};
use tintype_words::root_cause;
use url::Url;

use super::GuardedError;
use super::guard::{Guard, GuardConfig};
use super::resolve::{GuardedResolver, Lookup, SystemLookup};

/// Idle connections that are kept per host: pictures of one host, webhooks of one receiver.
const IDLE_CONNECTIONS_PER_HOST: usize = 2;

/// How long they are kept: receivers close theirs after a minute or so.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes guarded calls. One for the whole service.
pub(crate) struct GuardedClient {
    pub(super) guard: Arc<Guard>,
    pub(super) lookup: Arc<dyn Lookup>,
    connect_timeout: Duration,
    client: OnceLock<Client>,
}

impl GuardedClient {
    pub(crate) fn new(config: &GuardConfig) -> Self {
        Self::with_lookup(config, Arc::new(SystemLookup))
    }

    pub(super) fn with_lookup(config: &GuardConfig, lookup: Arc<dyn Lookup>) -> Self {
        Self {
            guard: Arc::new(Guard::new(config)),
            lookup,
            connect_timeout: config.connect_timeout,
            client: OnceLock::new(),
        }
    }

    /// Sends one request to a judged address; follows nothing.
    pub(super) async fn send(
        &self,
        url: &Url,
        request: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<Response, GuardedError> {
        self.guard.judge(url)?;
        let answer = request(self.client()?).send().await;
        answer.map_err(|error| GuardedError::blame(url, &error, self.connect_timeout))
    }

    /// Made when it is first needed: reading the system's certificates takes a while.
    fn client(&self) -> Result<&Client, GuardedError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = self.builder().build();
        let client = client.map_err(|error| GuardedError::Client(root_cause(&error)))?;
        Ok(self.client.get_or_init(|| client))
    }

    fn builder(&self) -> ClientBuilder {
        // Fails when the process has one already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        Client::builder()
            .dns_resolver(Arc::new(GuardedResolver {
                guard: self.guard.clone(),
                lookup: self.lookup.clone(),
            }))
            .redirect(Policy::none())
            // A proxy would make the connections in our place, unguarded.
            .no_proxy()
            // What is small on the wire must not become large here.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .referer(false)
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("tintype/", env!("CARGO_PKG_VERSION")))
    }
}

/// The address of a call, as its author wrote it.
pub(super) fn parse(address: &str) -> Result<Url, GuardedError> {
    Url::parse(address).map_err(|_| GuardedError::Address)
}

/// What may be said of an address.
pub(super) fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or("the address").to_owned()
}
