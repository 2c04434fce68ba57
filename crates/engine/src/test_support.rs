//! For tests of this crate and of those above it: a stand-in of the provider's server, which also
//! misbehaves.
//!
//! It serves on a free port of this machine. What it does with the next submissions, polls and
//! fetches is said beforehand; without a word it is as the provider is on a good day.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What it does with a submission.
#[derive(Debug, Clone)]
pub enum Submit {
    /// Takes it.
    Accept,
    /// Takes it, and gives this address to ask at.
    AskAt(String),
    /// Answers something else.
    Else(Misbehaviour),
}

/// What it does with a poll.
#[derive(Debug, Clone)]
pub enum Poll {
    /// The picture is ready.
    Ready,
    /// The picture is ready, at this address.
    ReadyAt(String),
    /// Says this status, with these other fields.
    Status(&'static str, Value),
    /// Answers something else.
    Else(Misbehaviour),
}

/// What it does with a fetch.
#[derive(Debug, Clone)]
pub enum Fetch {
    /// Sends the picture.
    Picture,
    /// Sends the first half of it, and says that this is all.
    Truncated,
    /// Sends a page that claims to be a picture.
    Page,
    /// Answers something else.
    Else(Misbehaviour),
}

/// What no client hopes for.
#[derive(Debug, Clone)]
pub enum Misbehaviour {
    /// A status with a JSON body.
    Status(u16, Value),
    /// 429, and when to come again.
    Busy(Option<&'static str>),
    /// 200 with half of a JSON text.
    Malformed,
    /// A redirect.
    Redirect(String),
    /// No answer, ever.
    Hang,
}

/// A call that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its path, without what is asked.
    pub path: String,
    /// The key that came with it.
    pub key: Option<String>,
}

/// The stand-in. It goes away when it is dropped.
#[derive(Debug)]
pub struct StandIn {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Inner {
    submits: VecDeque<Submit>,
    polls: VecDeque<Poll>,
    fetches: VecDeque<Fetch>,
    pending: bool,
    orders: Vec<(String, Value)>,
    calls: Vec<Call>,
    active: BTreeMap<String, usize>,
    peaks: HashMap<String, usize>,
    done: Vec<bool>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    inner: Mutex<Inner>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StandIn {
    /// Starts one.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let shared = Arc::new(Shared {
            url: url.clone(),
            inner: Mutex::default(),
        });
        let router = Router::new()
            .route("/v1/get_result", get(poll))
            .route("/v1/{model}", post(submit))
            .route("/results/{name}", get(fetch))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self { url, shared, task }
    }

    /// Where it serves: the provider's `base_url`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it does with the next submission that nothing is said of.
    pub fn submit(&self, submit: Submit) {
        self.shared.inner().submits.push_back(submit);
    }

    /// The same for a poll.
    pub fn poll(&self, poll: Poll) {
        self.shared.inner().polls.push_back(poll);
    }

    /// The same for a fetch.
    pub fn fetch(&self, fetch: Fetch) {
        self.shared.inner().fetches.push_back(fetch);
    }

    /// Whether polls that nothing is said of find their job pending.
    pub fn keep_pending(&self, pending: bool) {
        self.shared.inner().pending = pending;
    }

    /// The models and bodies of the orders that it took.
    pub fn orders(&self) -> Vec<(String, Value)> {
        self.shared.inner().orders.clone()
    }

    /// All calls that came in.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.inner().calls.clone()
    }

    /// The most jobs of a model that it had in hand at a time.
    pub fn peak(&self, model: &str) -> usize {
        self.shared
            .inner()
            .peaks
            .get(model)
            .copied()
            .unwrap_or_default()
    }

    /// The file that it sends for a job.
    pub fn file(format: &str) -> Vec<u8> {
        picture(format)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn submit(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let said = {
        let mut inner = shared.inner();
        inner.called(format!("/v1/{model}"), &headers);
        inner.submits.pop_front().unwrap_or(Submit::Accept)
    };
    let asked_at = match said {
        Submit::Else(misbehaviour) => return misbehaviour.answer().await,
        Submit::Accept => None,
        Submit::AskAt(address) => Some(address),
    };
    let id = shared.inner().take(model, body);
    let asked_at = asked_at.unwrap_or_else(|| format!("{}/v1/get_result?id={id}", shared.url));
    Json(json!({ "id": id.to_string(), "polling_url": asked_at })).into_response()
}

async fn poll(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let id: usize = query
        .get("id")
        .and_then(|id| id.parse().ok())
        .unwrap_or(usize::MAX);
    let (said, format) = {
        let mut inner = shared.inner();
        inner.called("/v1/get_result".to_owned(), &headers);
        let usual = if inner.pending {
            Poll::Status("Pending", json!({}))
        } else {
            Poll::Ready
        };
        let format = inner
            .orders
            .get(id)
            .map(|(_, body)| body["output_format"].clone());
        (inner.polls.pop_front().unwrap_or(usual), format)
    };
    let Some(format) = format else {
        return Json(json!({ "id": id.to_string(), "status": "Task not found" })).into_response();
    };
    let sample = match said {
        Poll::Else(misbehaviour) => return misbehaviour.answer().await,
        Poll::Status(status, mut fields) => {
            fields["status"] = status.into();
            return Json(fields).into_response();
        }
        Poll::ReadyAt(address) => address,
        Poll::Ready => {
            let format = format.as_str().unwrap_or("png");
            format!("{}/results/{id}.{format}?sig=signature", shared.url)
        }
    };
    shared.inner().finish(id);
    let result = json!({ "sample": sample, "seed": 4242 });
    Json(json!({ "id": id.to_string(), "status": "Ready", "result": result })).into_response()
}

async fn fetch(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let said = {
        let mut inner = shared.inner();
        inner.called("/results".to_owned(), &headers);
        inner.fetches.pop_front().unwrap_or(Fetch::Picture)
    };
    let format = name.rsplit('.').next().unwrap_or("png");
    let file = picture(format);
    let bytes = match said {
        Fetch::Else(misbehaviour) => return misbehaviour.answer().await,
        Fetch::Picture => file,
        Fetch::Truncated => file[..file.len() / 2].to_vec(),
        Fetch::Page => b"<html>come back later</html>".to_vec(),
    };
    let content_type = format!("image/{format}");
    ([(header::CONTENT_TYPE, content_type)], bytes).into_response()
}

impl Inner {
    fn called(&mut self, path: String, headers: &HeaderMap) {
        let key = headers.get("x-key").and_then(|key| key.to_str().ok());
        self.calls.push(Call {
            path,
            key: key.map(str::to_owned),
        });
    }

    /// Takes an order; its number.
    fn take(&mut self, model: String, body: Value) -> usize {
        let active = self.active.entry(model.clone()).or_default();
        *active += 1;
        let peak = self.peaks.entry(model.clone()).or_default();
        *peak = (*peak).max(*active);
        self.orders.push((model, body));
        self.done.push(false);
        self.orders.len() - 1
    }

    fn finish(&mut self, id: usize) {
        let first = self
            .done
            .get_mut(id)
            .is_some_and(|done| !std::mem::replace(done, true));
        if first && let Some(active) = self.active.get_mut(&self.orders[id].0) {
            *active -= 1;
        }
    }
}

impl Misbehaviour {
    async fn answer(self) -> Response {
        match self {
            Self::Status(status, body) => (status_of(status), Json(body)).into_response(),
            Self::Busy(None) => StatusCode::TOO_MANY_REQUESTS.into_response(),
            Self::Busy(Some(wait)) => {
                (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, wait)]).into_response()
            }
            Self::Malformed => Body::from("{\"id\": \"1\", \"polling_u").into_response(),
            Self::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
            Self::Hang => std::future::pending().await,
        }
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status")
}

/// Something that does not pack to nothing.
fn picture(format: &str) -> Vec<u8> {
    let colour = |x: u32, y: u32| Rgb([(x * 37 % 251) as u8, (y * 91 % 241) as u8, (x ^ y) as u8]);
    let format = match format {
        "jpeg" => ImageFormat::Jpeg,
        _ => ImageFormat::Png,
    };
    let mut file = Cursor::new(Vec::new());
    let picture = RgbImage::from_fn(96, 64, colour);
    picture
        .write_to(&mut file, format)
        .expect("a picture of this size");
    file.into_inner()
}
