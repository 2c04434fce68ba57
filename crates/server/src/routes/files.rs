//! `GET /{directory}/{name}`: output files and uploads. The unguessable directory is the
//! permission, so no key is asked for.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tintype_service::FileAnswer;

use crate::app::App;
use crate::errors::{ApiError, Kind};
use crate::openapi::{Endpoint, Gives, Section, Takes, Verb};

/// The bytes behind an address never change, but their owner may delete them: a day, and not in
/// caches that others share.
const CACHE_CONTROL: HeaderValue = HeaderValue::from_static("private, max-age=86400, immutable");

/// Uploads come from strangers: a browser shall not run what is in them.
const CONTENT_SECURITY_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");

pub(super) const FILE: Endpoint = Endpoint {
    verb: Verb::Get,
    path: "/{directory}/{name}",
    section: Section::Files,
    name: "file",
    summary: "Fetch a file",
    description: "The address stands in `outputs` of a task, and in the answer to an upload. The directory cannot be \
        guessed, so no key is asked for.",
    takes: Takes::Nothing,
    gives: Gives::File,
    refusals: &[Kind::UnknownPath, Kind::Unavailable],
};

pub(super) async fn file(
    State(app): State<App>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let unknown = || ApiError::new(Kind::UnknownPath);
    let Path((directory, name)) = path.map_err(|_| unknown())?;
    let file = app
        .service
        .output_file(&directory, &name)
        .await?
        .ok_or_else(unknown)?;
    Ok(answer(file, &headers))
}

fn answer(file: FileAnswer, request_headers: &HeaderMap) -> Response {
    let tag = format!("\"{:x}-{:x}\"", file.modified_at.0, file.bytes.len());
    let known = request_headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let unchanged = known.is_some_and(|known| known == "*" || known.contains(&tag));
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Body::from(file.bytes).into_response()
    };
    let headers = response.headers_mut();
    let fallback = HeaderValue::from_static("application/octet-stream");
    let content_type = HeaderValue::from_str(&file.content_type).unwrap_or(fallback);
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, CACHE_CONTROL);
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("cross-origin"),
    );
    let modified = UNIX_EPOCH + Duration::from_millis(file.modified_at.0.max(0).unsigned_abs());
    for (name, text) in [
        (header::ETAG, tag),
        (header::LAST_MODIFIED, httpdate::fmt_http_date(modified)),
    ] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(name, value);
        }
    }
    response
}
