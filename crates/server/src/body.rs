//! Reading bodies: bounded in bytes and time, then taken apart by what literally arrived.
//!
//! The `Content-Type` header is a hint at most. Clients send raw JSON under a multipart header
//! without a boundary, so a body whose first non-blank byte is `{` is JSON whatever the header
//! says; real multipart, urlencoded forms and empty bodies follow.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::Value;
use tintype_service::{RawInputs, RawValue, UploadedPart};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::errors::{ApiError, Kind};
use crate::lenient::read_flat_object;
use crate::limits::{
    DISCARD_BYTES, DISCARD_TIME, INPUTS, LARGE_BODIES, LARGE_BODY_BYTES, Limits, TASK_BODY_BYTES,
};

/// What a body is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The inputs of a run, or an upload: strict, and large enough for pictures.
    Run,
    /// The name of a task: small, and read leniently when it is not JSON.
    Task,
    /// A question that names no task: small, and strict.
    Question,
}

/// The inputs of one request, and its share of the memory for large bodies.
pub struct Inputs {
    /// The inputs in their order.
    pub raw: RawInputs,
    /// Held as long as the bytes are.
    pub memory: Option<OwnedSemaphorePermit>,
}

/// Reads bodies within the limits.
#[derive(Debug, Clone)]
pub struct BodyReader {
    limits: Limits,
    large_bodies: Arc<Semaphore>,
}

impl BodyReader {
    /// With these limits.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            large_bodies: Arc::new(Semaphore::new(LARGE_BODIES)),
        }
    }

    /// The inputs in the body of a request.
    ///
    /// # Errors
    /// [`Kind::BodyTooLarge`], [`Kind::BodyTooSlow`] or [`Kind::UnreadableBody`].
    pub async fn read(
        &self,
        headers: &HeaderMap,
        mut body: Body,
        purpose: Purpose,
    ) -> Result<Inputs, ApiError> {
        let content_type = ContentType::of(headers);
        let limit = match purpose {
            Purpose::Task | Purpose::Question => TASK_BODY_BYTES,
            Purpose::Run if content_type == ContentType::Multipart => self.limits.multipart_bytes,
            Purpose::Run => self.limits.body_bytes,
        };
        if body.size_hint().lower() > limit as u64 {
            refuse(headers, body).await;
            return Err(too_large(limit));
        }
        match self.collect(&mut body, limit).await {
            Ok((bytes, memory)) => {
                let raw = take_apart(headers, content_type, bytes, purpose).await?;
                Ok(Inputs { raw, memory })
            }
            Err(error) => {
                discard(body).await;
                Err(error)
            }
        }
    }

    async fn collect(
        &self,
        body: &mut Body,
        limit: usize,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ApiError> {
        let deadline = Instant::now() + self.limits.body_total();
        let mut bytes = BytesMut::new();
        let mut memory = None;
        while let Some(data) = self.next_data(body, deadline).await? {
            if bytes.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            if memory.is_none() && bytes.len() + data.len() > LARGE_BODY_BYTES {
                memory = Some(self.memory_by(deadline).await?);
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), memory))
    }

    async fn next_data(
        &self,
        body: &mut Body,
        deadline: Instant,
    ) -> Result<Option<Bytes>, ApiError> {
        loop {
            let idle_until = (Instant::now() + self.limits.body_idle()).min(deadline);
            let frame = timeout_at(idle_until, body.frame())
                .await
                .map_err(|_| ApiError::new(Kind::BodyTooSlow))?;
            match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(unreadable()),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    async fn memory_by(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, ApiError> {
        match timeout_at(deadline, self.large_bodies.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ApiError::new(Kind::Unavailable)),
        }
    }
}

/// Disposes of a body that nobody has begun to read. A client that asked first
/// (`Expect: 100-continue`) has not sent it and is answered at once.
pub async fn refuse(headers: &HeaderMap, body: Body) {
    if !headers.contains_key(header::EXPECT) {
        discard(body).await;
    }
}

/// Reads what is left of a refused request's body, within bounds, so that the client hears why.
async fn discard(mut body: Body) {
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DISCARD_BYTES {
                break;
            }
        }
    };
    // A client that is still sending after that meets a closed connection.
    let _ = timeout(DISCARD_TIME, read).await;
}

fn unreadable() -> ApiError {
    ApiError::new(Kind::UnreadableBody)
}

fn too_large(limit: usize) -> ApiError {
    let sentence = format!("The request body is larger than {limit} bytes.");
    ApiError::with_sentences(Kind::BodyTooLarge, vec![sentence])
}

/// What the header promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentType {
    Multipart,
    Form,
    Other,
}

impl ContentType {
    fn of(headers: &HeaderMap) -> Self {
        let value = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let essence = value.unwrap_or("").split(';').next().unwrap_or("").trim();
        match essence.to_ascii_lowercase().as_str() {
            "multipart/form-data" => Self::Multipart,
            "application/x-www-form-urlencoded" => Self::Form,
            _ => Self::Other,
        }
    }
}

/// Takes a whole body apart, whatever its headers say of it.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) async fn take_apart_anything(
    headers: &HeaderMap,
    bytes: Bytes,
    purpose: Purpose,
) -> Result<RawInputs, ApiError> {
    take_apart(headers, ContentType::of(headers), bytes, purpose).await
}

async fn take_apart(
    headers: &HeaderMap,
    content_type: ContentType,
    bytes: Bytes,
    purpose: Purpose,
) -> Result<RawInputs, ApiError> {
    let text = bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(&bytes)
        .trim_ascii();
    let inputs = match text.first() {
        None => Vec::new(),
        Some(b'{') => from_json(text, purpose)?,
        Some(_) if content_type == ContentType::Form => from_form(text),
        Some(_) if content_type == ContentType::Multipart => from_multipart(headers, bytes).await?,
        Some(_) => return Err(unreadable()),
    };
    if inputs.len() > INPUTS {
        Err(unreadable())
    } else {
        Ok(inputs)
    }
}

fn from_json(text: &[u8], purpose: Purpose) -> Result<RawInputs, ApiError> {
    match serde_json::from_slice::<serde_json::Map<String, Value>>(text) {
        Ok(object) => Ok(object
            .into_iter()
            .map(|(name, value)| (name, RawValue::Json(value)))
            .collect()),
        Err(_) if purpose == Purpose::Task => std::str::from_utf8(text)
            .ok()
            .and_then(read_flat_object)
            .map(|pairs| pairs.into_iter().map(text_input).collect())
            .ok_or_else(unreadable),
        Err(_) => Err(unreadable()),
    }
}

fn from_form(text: &[u8]) -> RawInputs {
    form_urlencoded::parse(text)
        .take(INPUTS + 1)
        .map(|(name, value)| text_input((name.into_owned(), value.into_owned())))
        .collect()
}

fn text_input((name, value): (String, String)) -> (String, RawValue) {
    (name, RawValue::Json(Value::String(value)))
}

async fn from_multipart(headers: &HeaderMap, bytes: Bytes) -> Result<RawInputs, ApiError> {
    let mut request = Request::new(Body::from(bytes.clone()));
    // The body is bounded already; without this the extractor stops at 2 MB.
    DefaultBodyLimit::disable().apply(&mut request);
    let content_type = match headers.get(header::CONTENT_TYPE) {
        Some(value) if names_boundary(value.as_bytes()) => value.clone(),
        _ => format!("multipart/form-data; boundary={}", first_boundary(&bytes)?)
            .parse()
            .map_err(|_| unreadable())?,
    };
    request
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    let mut multipart = Multipart::from_request(request, &())
        .await
        .map_err(|_| unreadable())?;
    let mut inputs = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(|_| unreadable())? {
        if inputs.len() == INPUTS {
            return Err(unreadable());
        }
        let name = field.name().unwrap_or_default().to_owned();
        let file_name = field.file_name().map(str::to_owned);
        let content_type = field.content_type().map(str::to_owned);
        let bytes = field.bytes().await.map_err(|_| unreadable())?;
        inputs.push((name, part_value(file_name, content_type, bytes)?));
    }
    Ok(inputs)
}

fn names_boundary(content_type: &[u8]) -> bool {
    content_type
        .to_ascii_lowercase()
        .windows(9)
        .any(|window| window == b"boundary=")
}

/// Some clients write the multipart header by hand and forget the boundary: the body's first
/// line has it.
fn first_boundary(bytes: &Bytes) -> Result<&str, ApiError> {
    let line = bytes
        .split(|byte| *byte == b'\r' || *byte == b'\n')
        .next()
        .unwrap_or_default();
    let boundary = line.strip_prefix(b"--").ok_or_else(unreadable)?;
    // RFC 2046 allows 70 characters; quoting is left to clients that send the header.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_-./:=?".contains(byte);
    if boundary.is_empty() || boundary.len() > 70 || !boundary.iter().all(plain) {
        return Err(unreadable());
    }
    std::str::from_utf8(boundary).map_err(|_| unreadable())
}

/// A part is a file if it has a file's name, or a type that is not text and something in it. A
/// form sent without choosing a file has an empty part with an empty name: that is an empty text.
fn part_value(
    file_name: Option<String>,
    content_type: Option<String>,
    bytes: Bytes,
) -> Result<RawValue, ApiError> {
    let named = file_name.as_deref().is_some_and(|name| !name.is_empty());
    let typed = content_type
        .as_deref()
        .is_some_and(|label| !label.starts_with("text/"));
    if named || (typed && !bytes.is_empty()) {
        return Ok(RawValue::File(UploadedPart {
            file_name,
            content_type,
            bytes,
        }));
    }
    let text = String::from_utf8(bytes.into()).map_err(|_| unreadable())?;
    Ok(RawValue::Json(Value::String(text)))
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
