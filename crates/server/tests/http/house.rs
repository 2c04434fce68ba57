//! A service in a temporary folder, and a client for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::BodyExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use sha2::Sha256;
use tempfile::TempDir;
use tintype_catalog::Catalog;
use tintype_domain::{
    AccessKey, AuthKind, FileId, Outcome, OutputFile, Task, TaskRef, ToolSlug, UnixMillis, WorkerId,
};
use tintype_server::{Options, router};
use tintype_service::test_support::FakeEngine;
use tintype_service::worker::{Engines, Worker, WorkerConfig, WorkerHandle};
use tintype_service::{
    Clock, NewProjectRequest, Parts, ProjectKeys, SealingKey, Service, ServiceConfig,
};
use tintype_store::{Claim, SqliteStore, Store};
use tower::ServiceExt;

/// Where tests call from.
pub const REMOTE: &str = "192.0.2.7:40000";

/// The first run's address.
pub const RUN: &str = "/v1/Run/black-forest-labs/flux-pro-1.1";

/// The question about a task.
pub const DETAIL: &str = "/v1/Task/Detail";

/// A clock that moves 250 ms whenever it is read.
struct TickingClock(AtomicI64);

impl Clock for TickingClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.fetch_add(250, Ordering::Relaxed))
    }
}

/// Everything that a test needs.
pub struct House {
    pub router: Router,
    pub service: Arc<Service>,
    pub store: Arc<SqliteStore>,
    pub blobs: Arc<dyn ObjectStore>,
    pub keys: ProjectKeys,
    _folder: TempDir,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// Status, code and sentence of the first error.
    pub fn error(&self) -> (u16, u64, String) {
        let json = self.json();
        assert_eq!(json["result"], false, "{json}");
        let error = &json["errors"][0];
        let code = error["code"].as_u64().expect("a code");
        let message = error["message"].as_str().expect("a message").to_owned();
        (self.status.as_u16(), code, message)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }
}

impl House {
    pub async fn build() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        Self::configured(options, |_| {}).await
    }

    pub async fn configured(options: Options, configure: impl FnOnce(&mut ServiceConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(&folder.path().join("tasks.db")).expect("a store");
        let store = Arc::new(store);
        let blobs: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut rng = StdRng::seed_from_u64(1);
        let parts = Parts {
            store: store.clone(),
            blobs: blobs.clone(),
            catalog: Catalog::builtin(),
            sealing_key: SealingKey::ephemeral(&mut rng),
            clock: Arc::new(TickingClock(AtomicI64::new(1_734_513_807_000))),
            rng,
        };
        let mut config = ServiceConfig::new("https://pictures.example/");
        configure(&mut config);
        let service = Arc::new(Service::new(config, parts));
        let keys = service
            .ensure_default_project()
            .await
            .expect("a project")
            .expect("the first");
        let router = router(service.clone(), &options);
        Self {
            router,
            service,
            store,
            blobs,
            keys,
            _folder: folder,
        }
    }

    pub async fn project(&self, name: &str, auth: AuthKind, networks: &[&str]) -> ProjectKeys {
        let request = NewProjectRequest {
            name: name.to_owned(),
            auth,
            allowed_networks: networks.iter().map(|&network| network.to_owned()).collect(),
            strict_nonce: false,
        };
        self.service
            .create_project(request)
            .await
            .expect("a project")
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        self.send_from(REMOTE, request).await
    }

    pub async fn send_from(&self, remote: &str, request: Request<Body>) -> Answer {
        let mut request = request;
        let remote: SocketAddr = remote.parse().expect("an address");
        request.extensions_mut().insert(ConnectInfo(remote));
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes().to_vec();
        Answer {
            status: head.status,
            headers: head.headers,
            bytes,
        }
    }

    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(method, path, headers, Body::empty()))
            .await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[]).await
    }

    /// A signed call of the default project.
    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        let signature = sign(&self.keys, "42");
        let headers = [
            ("x-api-key", self.keys.api_key.as_str()),
            ("x-nonce", "42"),
            ("x-signature", &signature),
            ("content-type", "application/json"),
        ];
        self.send(request(Method::POST, path, &headers, body.into()))
            .await
    }

    /// A call of a project that needs no signature.
    pub async fn post_with_key(&self, keys: &ProjectKeys, path: &str, body: &str) -> Answer {
        let headers = [("x-api-key", keys.api_key.as_str())];
        self.send(request(
            Method::POST,
            path,
            &headers,
            Body::from(body.to_owned()),
        ))
        .await
    }

    /// A worker that beats once, and an engine for both tools.
    pub fn worker(&self) -> (WorkerHandle, Arc<FakeEngine>) {
        let engine = FakeEngine::new();
        let mut engines = Engines::new();
        for model in ["flux-pro-1.1", "flux-kontext-max"] {
            engines.insert(ToolSlug::new("black-forest-labs", model), engine.clone());
        }
        let mut config = WorkerConfig::new(WorkerId("house".to_owned()));
        config.beat = Duration::from_secs(3600);
        let worker = Worker::spawn(self.service.clone(), engines, config);
        (worker, engine)
    }

    /// The task when its worker has ended it.
    pub async fn ended(&self, task: &TaskRef) -> Task {
        loop {
            let found = self.store.detail(task, None).await.expect("an answer");
            let found = found.expect("the task is there");
            if found.state.is_final() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The task as the store has it.
    pub async fn store_detail(&self, task: &Task) -> Task {
        let found = self.store.detail(&TaskRef::Id(task.id), None).await;
        found.expect("an answer").expect("the task is there")
    }

    /// A queued task's token.
    pub async fn submitted(&self) -> String {
        let answer = self
            .post(RUN, r#"{"prompt": "a red circle", "seed": 7}"#)
            .await
            .json();
        answer["socketaccesstoken"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    pub async fn claimed(&self) -> Task {
        let claim = Claim {
            worker: WorkerId("test".to_owned()),
            limit: 1,
            lease_until: UnixMillis(i64::MAX / 2),
            max_attempts: 3,
        };
        let now = UnixMillis(1_734_513_810_000);
        let mut tasks = self.store.claim(claim, now).await.expect("a claim");
        tasks.pop().expect("a queued task")
    }

    pub async fn end(&self, task: &Task, outcome: Outcome) {
        let now = UnixMillis(1_734_513_816_000);
        self.store
            .complete(task.id, task.epoch, outcome, now)
            .await
            .expect("an end");
    }

    /// Ends the task with one picture, whose bytes are these.
    pub async fn succeed(&self, task: &Task, bytes: &'static [u8]) -> OutputFile {
        let output = OutputFile {
            id: FileId("6bc392c93856dfce3a7d1b4261e15af3".to_owned()),
            name: "0.png".to_owned(),
            content_type: "image/png".to_owned(),
            parent_id: task.output_folder.clone(),
            size_bytes: bytes.len() as u64,
            added_at: UnixMillis(1_734_513_815_000),
            modified_at: UnixMillis(1_734_513_815_000),
            access_key: AccessKey("dFKlMApaSgMeHKsJyaDeKrefcHahUK".to_owned()),
            directory: "6a6af820-c5050aee-40bd7b83-a2e186c6".to_owned(),
            blob_key: "outputs/1".to_owned(),
        };
        let payload = PutPayload::from_static(bytes);
        self.blobs
            .put(&output.blob_key.as_str().into(), payload)
            .await
            .expect("a blob");
        let outputs = vec![output.clone()];
        self.end(
            task,
            Outcome::Succeeded {
                outputs,
                withheld: 0,
                maker: None,
                debug_error: String::new(),
            },
        )
        .await;
        output
    }
}

/// A request with headers.
pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).expect("a request")
}

/// The documented signature: HMAC-SHA256 of secret and nonce under the key.
pub fn sign(keys: &ProjectKeys, nonce: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(keys.api_key.as_bytes()).expect("any length");
    mac.update(keys.api_secret.as_bytes());
    mac.update(nonce.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}
