//! For tests of this crate and of those above it: a stand-in of a hub, and of the other host that the
//! bytes of large files come from. Both misbehave when they are told to.
//!
//! They serve on free ports of this machine, and remember what they were asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::digest::FileDigest;
use crate::manifest::Manifest;

/// Bytes of a stand-in file that no test says anything about.
const FILLER_BYTES: usize = 600;

/// What one of the hosts does with the next request for a file's bytes.
#[derive(Debug, Clone)]
pub enum Misbehaviour {
    /// Breaks the connection off after so many bytes.
    Drop(usize),
    /// Sends so many bytes and then nothing, for ever.
    Stall(usize),
    /// Sends other bytes, as many.
    WrongBytes,
    /// Claims another length.
    Claim(u64),
    /// Sends more than it claims elsewhere, and no length.
    TooMuch,
    /// Sends everything, whatever part was asked for.
    IgnoreRange,
    /// Sends everything, broken off after so many bytes, whatever part was asked for.
    IgnoreRangeAndDrop(usize),
    /// Answers with this status, and perhaps `Retry-After`.
    Status(u16, Option<&'static str>),
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whether the other host was asked.
    pub elsewhere: bool,
    /// How.
    pub method: String,
    /// For what.
    pub path: String,
    /// From which byte on.
    pub from: u64,
    /// With which credentials.
    pub authorization: Option<String>,
}

#[derive(Debug, Clone)]
struct Stored {
    bytes: Bytes,
    large: bool,
}

#[derive(Debug, Default)]
struct Shelf {
    files: BTreeMap<String, Stored>,
    commits: BTreeMap<String, String>,
    gated: BTreeMap<String, String>,
    renamed: BTreeMap<String, String>,
    looping: BTreeSet<String>,
    listings: BTreeMap<String, Value>,
    licences: BTreeMap<String, String>,
    troubles: BTreeMap<String, VecDeque<Misbehaviour>>,
    metadata_troubles: VecDeque<StatusCode>,
    downgrade: bool,
    lengths: BTreeMap<String, u64>,
    asked: Vec<Asked>,
    cdn: String,
}

/// The stand-in.
#[derive(Debug)]
pub struct StandInHub {
    /// Where it is.
    pub url: String,
    shelf: Arc<Mutex<Shelf>>,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for StandInHub {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

impl StandInHub {
    /// Starts both hosts.
    pub async fn start() -> Self {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let cdn = Router::new()
            .route("/{owner}/{name}/{*path}", any(blob))
            .with_state(shelf.clone());
        let hub = Router::new()
            .route("/{owner}/{name}/resolve/{revision}/{*path}", any(resolve))
            .route(
                "/api/models/{owner}/{name}/revision/{revision}",
                get(listing),
            )
            .with_state(shelf.clone());
        let (cdn_url, cdn) = serve(cdn).await;
        let (url, hub) = serve(hub).await;
        lock(&shelf).cdn = cdn_url;
        Self {
            url,
            shelf,
            servers: vec![cdn, hub],
        }
    }

    /// Puts a large file on the shelf, or another in its place.
    pub fn add(&self, repository: &str, path: &str, bytes: impl Into<Vec<u8>>) {
        self.put(repository, path, bytes.into(), true);
    }

    /// Puts a small one there, that the hub sends itself.
    pub fn add_small(&self, repository: &str, path: &str, bytes: impl Into<Vec<u8>>) {
        self.put(repository, path, bytes.into(), false);
    }

    fn put(&self, repository: &str, path: &str, bytes: Vec<u8>, large: bool) {
        let mut shelf = lock(&self.shelf);
        let stored = Stored {
            bytes: bytes.into(),
            large,
        };
        shelf.files.insert(format!("{repository}/{path}"), stored);
        let commit = FileDigest::of(repository.as_bytes()).to_string();
        let commits = shelf.commits.entry(repository.to_owned());
        commits.or_insert_with(|| commit[..40].to_owned());
    }

    /// Puts small stand-ins of all files of a model there; what they hold is made from their names.
    /// The model comes back as if its manifest knew them.
    pub fn shelve(&self, model: &Manifest) -> Manifest {
        let mut model = model.clone();
        for file in &mut model.files {
            let (repository, path) = (file.repository.as_str(), file.source.as_str());
            let bytes = filler(&format!("{repository}/{path}"));
            let weights = path.ends_with(".safetensors") || path.ends_with(".gguf");
            self.put(repository, path, bytes.clone(), weights);
            file.size = crate::manifest::Size::Unknown;
            file.sha256 = None;
        }
        model
    }

    /// Lets a repository's files go only to who shows this token.
    pub fn gate(&self, repository: &str, token: &str) {
        let token = format!("Bearer {token}");
        lock(&self.shelf).gated.insert(repository.to_owned(), token);
    }

    /// Moves a repository; its old name leads to the new one.
    pub fn rename(&self, from: &str, to: &str) {
        lock(&self.shelf)
            .renamed
            .insert(from.to_owned(), to.to_owned());
    }

    /// Makes a repository lead from one address to the same again.
    pub fn send_in_circles(&self, repository: &str) {
        lock(&self.shelf).looping.insert(repository.to_owned());
    }

    /// Makes the hub lead to `ftp`.
    pub fn lead_astray(&self) {
        lock(&self.shelf).downgrade = true;
    }

    /// Says what happens with the next requests for a file's bytes, one for each.
    pub fn misbehave(&self, repository: &str, path: &str, troubles: &[Misbehaviour]) {
        let key = format!("{repository}/{path}");
        let mut shelf = lock(&self.shelf);
        shelf
            .troubles
            .entry(key)
            .or_default()
            .extend(troubles.iter().cloned());
    }

    /// Says how the next questions about files are answered.
    pub fn answer_questions(&self, statuses: &[u16]) {
        let statuses = statuses
            .iter()
            .filter_map(|&status| StatusCode::from_u16(status).ok());
        lock(&self.shelf).metadata_troubles.extend(statuses);
    }

    /// Makes the hub say another length of a file.
    pub fn claim_length(&self, repository: &str, path: &str, bytes: u64) {
        let key = format!("{repository}/{path}");
        lock(&self.shelf).lengths.insert(key, bytes);
    }

    /// Answers the question for a repository's files with this.
    pub fn list(&self, repository: &str, listing: Value) {
        lock(&self.shelf)
            .listings
            .insert(repository.to_owned(), listing);
    }

    /// What a repository's card says of its licence.
    pub fn license(&self, repository: &str, licence: &str) {
        let mut shelf = lock(&self.shelf);
        shelf
            .licences
            .insert(repository.to_owned(), licence.to_owned());
    }

    /// What came, in its order.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shelf).asked.clone()
    }

    /// From where on the bytes of a file were asked for, in the order of the questions.
    pub fn offsets(&self, repository: &str, path: &str) -> Vec<u64> {
        let large = format!("/{repository}/{path}");
        let small = format!("/{repository}/resolve/");
        let asked = self.asked().into_iter().filter(|asked| {
            let here = asked.path.starts_with(&small) && asked.path.ends_with(path);
            asked.method == "GET"
                && (asked.elsewhere && asked.path == large || here && !self.is_large(&large))
        });
        asked.map(|asked| asked.from).collect()
    }

    fn is_large(&self, path: &str) -> bool {
        let shelf = lock(&self.shelf);
        let stored = shelf.files.get(path.trim_start_matches('/'));
        stored.is_some_and(|stored| stored.large)
    }

    /// Forgets what came.
    pub fn forget(&self) {
        lock(&self.shelf).asked.clear();
    }
}

/// What a stand-in file holds.
pub fn filler(name: &str) -> Vec<u8> {
    let line = format!("stand-in of {name}\n");
    line.bytes().cycle().take(FILLER_BYTES).collect()
}

/// Bytes that do not repeat soon.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn lock(shelf: &Arc<Mutex<Shelf>>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(router: Router) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = async move { axum::serve(listener, router).await.unwrap() };
    (url, tokio::spawn(served))
}

fn note(shelf: &mut Shelf, elsewhere: bool, request: &Request) -> u64 {
    let text = |name| {
        let value = request.headers().get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    let range = text(header::RANGE).unwrap_or_default();
    let from = range.trim_start_matches("bytes=").trim_end_matches('-');
    let from = from.parse().unwrap_or_default();
    shelf.asked.push(Asked {
        elsewhere,
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        from,
        authorization: text(header::AUTHORIZATION),
    });
    from
}

type Shared = State<Arc<Mutex<Shelf>>>;

async fn resolve(
    State(shelf): Shared,
    Path((owner, name, revision, path)): Path<(String, String, String, String)>,
    request: Request,
) -> Response {
    let mut shelf = lock(&shelf);
    let from = note(&mut shelf, false, &request);
    let repository = format!("{owner}/{name}");
    if let Some(new) = shelf.renamed.get(&repository) {
        let to = format!("/{new}/resolve/{revision}/{path}");
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response();
    }
    if shelf.looping.contains(&repository) {
        let to = request.uri().path().to_owned();
        return (StatusCode::FOUND, [(header::LOCATION, to)]).into_response();
    }
    if request.method() == Method::HEAD
        && let Some(status) = shelf.metadata_troubles.pop_front()
    {
        return status.into_response();
    }
    if let Some(refused) = refused(&shelf, &repository, &request) {
        return refused;
    }
    let key = format!("{repository}/{path}");
    let commit = shelf.commits.get(&repository).cloned().unwrap_or_default();
    let stored = shelf.files.get(&key).cloned();
    let Some(stored) = stored.filter(|_| revision == "main" || revision == commit) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = if stored.large {
        let to = match shelf.downgrade {
            true => "ftp://elsewhere/file".to_owned(),
            false => format!("{}/{key}", shelf.cdn),
        };
        let size = shelf.lengths.get(&key).copied();
        let size = size.unwrap_or(stored.bytes.len() as u64).to_string();
        let etag = format!("\"{}\"", FileDigest::of(&stored.bytes));
        let headers = [
            ("location", to),
            ("x-linked-size", size),
            ("x-linked-etag", etag),
        ];
        (StatusCode::FOUND, headers).into_response()
    } else {
        let trouble = take_trouble(&mut shelf, &key, request.method());
        let etag = &FileDigest::of(&stored.bytes).to_string()[..40];
        send(&stored, (from, request.headers()), etag, trouble)
    };
    if let Ok(commit) = commit.parse() {
        response.headers_mut().insert("x-repo-commit", commit);
    }
    response
}

fn refused(shelf: &Shelf, repository: &str, request: &Request) -> Option<Response> {
    let wanted = shelf.gated.get(repository)?;
    let shown = request.headers().get(header::AUTHORIZATION);
    match shown.and_then(|shown| shown.to_str().ok()) {
        Some(shown) if shown == wanted => None,
        Some(_) => Some(StatusCode::FORBIDDEN.into_response()),
        None => Some(StatusCode::UNAUTHORIZED.into_response()),
    }
}

fn take_trouble(shelf: &mut Shelf, key: &str, method: &Method) -> Option<Misbehaviour> {
    let asked_for_bytes = method == Method::GET;
    let troubles = shelf.troubles.get_mut(key).filter(|_| asked_for_bytes)?;
    troubles.pop_front()
}

async fn blob(
    State(shelf): Shared,
    Path((owner, name, path)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    let mut shelf = lock(&shelf);
    let from = note(&mut shelf, true, &request);
    let key = format!("{owner}/{name}/{path}");
    let Some(stored) = shelf.files.get(&key).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let trouble = take_trouble(&mut shelf, &key, request.method());
    // Another host has etags of its own.
    let etag = &FileDigest::of(&stored.bytes).to_string()[..16];
    send(&stored, (from, request.headers()), etag, trouble)
}

fn send(
    stored: &Stored,
    (from, headers): (u64, &HeaderMap),
    etag: &str,
    trouble: Option<Misbehaviour>,
) -> Response {
    use Misbehaviour as M;
    if let Some(M::Status(status, retry_after)) = trouble {
        let status = StatusCode::from_u16(status).unwrap();
        let headers = retry_after.map(|seconds| [(header::RETRY_AFTER, seconds)]);
        return (status, headers.unwrap_or([(header::RETRY_AFTER, "")])).into_response();
    }
    let etag = format!("\"{etag}\"");
    let if_range = headers.get(header::IF_RANGE);
    let changed = if_range.is_some_and(|known| known.as_bytes() != etag.as_bytes());
    let ignore = matches!(trouble, Some(M::IgnoreRange | M::IgnoreRangeAndDrop(_)));
    let total = stored.bytes.len() as u64;
    let from = if ignore || changed { 0 } else { from };
    if from > 0 && from >= total {
        return StatusCode::RANGE_NOT_SATISFIABLE.into_response();
    }
    let mut rest = stored.bytes.slice(from as usize..);
    let mut builder = Response::builder().header(header::ETAG, etag);
    if from > 0 {
        let range = format!("bytes {from}-{}/{total}", total - 1);
        builder = builder
            .status(StatusCode::PARTIAL_CONTENT)
            .header(header::CONTENT_RANGE, range);
    }
    let mut length = Some(rest.len() as u64);
    let mut end = None;
    match trouble {
        Some(M::Drop(after) | M::IgnoreRangeAndDrop(after)) => {
            rest.truncate(after);
            end = Some(Ending::Break);
        }
        Some(M::Stall(after)) => {
            rest.truncate(after);
            end = Some(Ending::Silence);
        }
        Some(M::WrongBytes) => rest = rest.iter().map(|byte| !byte).collect(),
        Some(M::Claim(claimed)) => {
            length = Some(claimed);
            // To end early would break the connection, perhaps before the claim has left.
            end = (claimed > rest.len() as u64).then_some(Ending::Silence);
            rest.truncate(claimed as usize);
        }
        Some(M::TooMuch) => {
            length = None;
            rest = [&rest[..], b"and more"].concat().into();
        }
        _ => {}
    }
    if let Some(length) = length {
        builder = builder.header(header::CONTENT_LENGTH, length);
    }
    builder.body(body(rest, end)).unwrap()
}

/// What comes after the bytes.
enum Ending {
    Break,
    Silence,
}

fn body(bytes: Bytes, end: Option<Ending>) -> Body {
    // A stream says nothing of its length, so that headers can lie about it.
    let chunks: Vec<_> = bytes
        .chunks(100_000)
        .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
        .collect();
    let chunks = futures::stream::iter(chunks);
    match end {
        None => Body::from_stream(chunks),
        Some(Ending::Silence) => Body::from_stream(chunks.chain(futures::stream::pending())),
        Some(Ending::Break) => {
            // What was sent before must have left: the end of the connection may overtake it.
            let pause = futures::stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("the stand-in breaks off"))
            });
            Body::from_stream(chunks.chain(pause))
        }
    }
}

async fn listing(
    State(shelf): Shared,
    Path((owner, name, revision)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    let mut shelf = lock(&shelf);
    note(&mut shelf, false, &request);
    let repository = format!("{owner}/{name}");
    if let Some(refused) = refused(&shelf, &repository, &request) {
        return refused;
    }
    if let Some(listing) = shelf.listings.get(&repository) {
        return listing.to_string().into_response();
    }
    let commit = shelf
        .commits
        .get(&repository)
        .filter(|&commit| revision == "main" || revision == *commit);
    let Some(commit) = commit else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let prefix = format!("{repository}/");
    let files = shelf.files.iter().filter_map(|(key, stored)| {
        let path = key.strip_prefix(&prefix)?;
        let size = stored.bytes.len();
        let sha256 = FileDigest::of(&stored.bytes).to_string();
        let lfs = stored
            .large
            .then(|| json!({ "sha256": sha256, "size": size, "pointerSize": 130 }));
        Some(json!({ "rfilename": path, "size": size, "lfs": lfs }))
    });
    let files: Vec<Value> = files.collect();
    let licence = shelf.licences.get(&repository);
    json!({ "sha": commit, "siblings": files, "cardData": { "license": licence } })
        .to_string()
        .into_response()
}

/// A manifest's text, without sizes and digests: what an operator writes to have a known model from
/// elsewhere.
pub fn unpinned_text(model: &Manifest) -> String {
    let licence = &model.licence;
    let mut text = format!(
        "title = {:?}\nkind = \"{}\"\n[licence]\nname = {:?}\nurl = {:?}\nacknowledge = {}\n",
        model.title, model.kind, licence.name, licence.url, licence.acknowledge
    );
    for file in &model.files {
        let (path, repository, source) = (&file.path, &file.repository, &file.source);
        text += &format!(
            "[[file]]\npath = \"{path}\"\nrepository = \"{repository}\"\nsource = \"{source}\"\n"
        );
    }
    text
}
