//! `POST /v1/Run/{owner}/{model}`: accepts a task.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::HeaderValue;
use tintype_domain::idempotency::MAX_KEY_CHARS;
use tintype_domain::{IdempotencyKey, KeyError, ToolSlug};
use tintype_service::RunRequest;

use crate::app::App;
use crate::body::Purpose;
use crate::errors::{ApiError, Kind};
use crate::openapi::{Endpoint, Gives, Header, Section, Shape, Takes, Verb, samples};
use crate::routes::RUN;
use crate::wire::RunAnswer;

pub(super) const ENDPOINT: Endpoint = Endpoint {
    verb: Verb::Post,
    path: RUN,
    section: Section::Runs,
    name: "run",
    summary: "Run",
    description: "Accepts a task and answers at once with its number and its token. What is accepted is \
                  on disk and will be run, even if the service is killed the next moment.",
    takes: Takes::ToolInputs {
        headers: &[Header {
            name: "Idempotency-Key",
            description: "For 24 hours, the same request with the same key gives the first answer again and \
                          runs nothing. Another request with the key is refused.",
            longest: MAX_KEY_CHARS,
            pattern: "^[!-~]+$",
        }],
    },
    gives: Gives::Json {
        shape: Shape::of::<RunAnswer>(),
        example: samples::accepted,
    },
    refusals: &[
        Kind::UnknownTool,
        Kind::InvalidInputs,
        Kind::ConcurrencyLimit,
        Kind::InsufficientBalance,
        Kind::KeyReused,
        Kind::NotModerated,
    ],
};

/// With it a client may send a request again whose answer it did not see.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub(super) async fn run(
    State(app): State<App>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Json<RunAnswer>, ApiError> {
    let Path((owner, model)) = path.map_err(|_| ApiError::new(Kind::UnknownPath))?;
    let keys: Vec<HeaderValue> = request
        .headers()
        .get_all(IDEMPOTENCY_KEY)
        .iter()
        .cloned()
        .collect();
    let call = app.admit(remote, request, Purpose::Run).await?;
    // What the operator configured may change until the task ends; what a client used may not.
    let from_request = call.base_url != app.service.public_url();
    let request = RunRequest {
        idempotency_key: key(keys)?,
        tool: ToolSlug::new(owner, model),
        inputs: call.inputs.raw,
        base_url: from_request.then_some(call.base_url),
    };
    let submitted = app.service.submit(&call.principal, request).await?;
    Ok(Json(RunAnswer {
        errors: [],
        taskid: submitted.task.to_string(),
        socketaccesstoken: submitted.token.0,
        result: true,
    }))
}

/// The one key that a client sent, if it sent any.
fn key(values: Vec<HeaderValue>) -> Result<Option<IdempotencyKey>, ApiError> {
    let [value] = values.as_slice() else {
        return values.first().map_or(Ok(None), |_| Err(unusable_key()));
    };
    let key = IdempotencyKey::parse(value.as_bytes());
    key.map(Some).map_err(|_| unusable_key())
}

fn unusable_key() -> ApiError {
    let sentence = format!("{} {KeyError}", Kind::InvalidInputs.row().sentence);
    ApiError::with_sentences(Kind::InvalidInputs, vec![sentence])
}
