//! The one table of errors: code, HTTP status and sentence of everything that can go wrong.
//!
//! Every answer that is not a success is made here, so a client sees one envelope whatever broke.
//! Only credentials, paths and bodies have HTTP statuses of their own: existing clients take any
//! other status than 2xx as a failed task, so a logical error is a 200 with `result: false`.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tintype_domain::Refusal;
use tintype_service::{AuthError, DeleteError, ServiceError, StopError, SubmitError, UploadError};
use utoipa::ToSchema;

use crate::openapi::words;

/// What can go wrong, as a client can tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Missing, unknown or wrong credentials, or a caller from a network that is not allowed.
    Credentials,
    /// No such path, or not with this method.
    UnknownPath,
    /// The websocket's address, asked for in another way.
    SocketExpected,
    /// No place for one more websocket.
    TooManySockets,
    /// A body that cannot be read as anything.
    UnreadableBody,
    /// A body over the limit.
    BodyTooLarge,
    /// A body that did not arrive in time.
    BodyTooSlow,
    /// Inputs that the tool does not take; one sentence for each fault.
    InvalidInputs,
    /// No such tool.
    UnknownTool,
    /// A task endpoint was called without naming a task.
    TaskNotNamed,
    /// No such task in this project.
    UnknownTask,
    /// A task that a worker has, or that has ended, cannot be taken out of the queue.
    NotCancellable,
    /// A task that is not running cannot be killed.
    NotKilled,
    /// No such task in this project, to those who want to delete its files.
    NoFilesOfTask,
    /// The files of a task that waits or runs cannot be deleted.
    NotEnded,
    /// An upload without a file.
    FileRequired,
    /// No such folder in this project.
    UnknownFolder,
    /// As many tasks of the project as allowed wait or run.
    ConcurrencyLimit,
    /// The project's balance does not cover the run.
    InsufficientBalance,
    /// Another request was sent with the same idempotency key.
    KeyReused,
    /// The operator requires moderation, and a moderator is missing.
    NotModerated,
    /// The service cannot do its part right now; the same call may work later.
    Unavailable,
    /// A fault of the service.
    Internal,
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// What went wrong.
    pub kind: Kind,
    /// The number in `errors[].code`.
    pub code: u32,
    /// The HTTP status.
    pub status: StatusCode,
    /// The sentence in `errors[].message`, where the error does not bring its own.
    pub sentence: &'static str,
}

const fn row(kind: Kind, code: u32, status: StatusCode, sentence: &'static str) -> Row {
    Row {
        kind,
        code,
        status,
        sentence,
    }
}

/// The table.
pub const TABLE: [Row; 23] = [
    row(
        Kind::Credentials,
        0,
        StatusCode::UNAUTHORIZED,
        "Project authorization is not valid.",
    ),
    row(
        Kind::UnknownPath,
        0,
        StatusCode::NOT_FOUND,
        "Error parsing url.",
    ),
    row(
        Kind::SocketExpected,
        0,
        StatusCode::UPGRADE_REQUIRED,
        "This is the address of the websocket: connect to it with a websocket client.",
    ),
    row(
        Kind::TooManySockets,
        0,
        StatusCode::SERVICE_UNAVAILABLE,
        "Too many websockets are open. Please try again later.",
    ),
    row(
        Kind::UnreadableBody,
        0,
        StatusCode::OK,
        "Request parameters are invalid.",
    ),
    row(
        Kind::BodyTooLarge,
        0,
        StatusCode::PAYLOAD_TOO_LARGE,
        "The request body is too large.",
    ),
    row(
        Kind::BodyTooSlow,
        0,
        StatusCode::REQUEST_TIMEOUT,
        "The request body did not arrive in time.",
    ),
    row(
        Kind::InvalidInputs,
        0,
        StatusCode::OK,
        "Request parameters are invalid.",
    ),
    row(
        Kind::UnknownTool,
        1,
        StatusCode::OK,
        "slug-owner-project-not-exist",
    ),
    row(
        Kind::TaskNotNamed,
        0,
        StatusCode::OK,
        "taskid or socketaccesstoken is required",
    ),
    row(
        Kind::UnknownTask,
        1,
        StatusCode::OK,
        "There is no task yet.",
    ),
    row(
        Kind::NotCancellable,
        1,
        StatusCode::OK,
        "Task is not in a cancellable state.",
    ),
    row(
        Kind::NotKilled,
        1,
        StatusCode::OK,
        "Task could not be killed: {reason}",
    ),
    row(Kind::NoFilesOfTask, 1, StatusCode::OK, "task-not-exist"),
    row(
        Kind::NotEnded,
        0,
        StatusCode::OK,
        "Task must be completed or cancelled before deleting files",
    ),
    row(
        Kind::FileRequired,
        0,
        StatusCode::OK,
        "Request files [file] required",
    ),
    row(
        Kind::UnknownFolder,
        1,
        StatusCode::OK,
        "There is no such folder.",
    ),
    row(
        Kind::ConcurrencyLimit,
        96,
        StatusCode::OK,
        "You have reached your concurrent task limit.",
    ),
    row(
        Kind::InsufficientBalance,
        97,
        StatusCode::OK,
        "Insufficient balance.",
    ),
    row(
        Kind::KeyReused,
        0,
        StatusCode::OK,
        "The Idempotency-Key was used for another request.",
    ),
    row(
        Kind::NotModerated,
        0,
        StatusCode::OK,
        "This service runs only what it can moderate, and a moderator is missing.",
    ),
    row(
        Kind::Unavailable,
        0,
        StatusCode::SERVICE_UNAVAILABLE,
        "The service cannot do this right now, and nothing was changed. Please try again later.",
    ),
    row(
        Kind::Internal,
        0,
        StatusCode::INTERNAL_SERVER_ERROR,
        "Something went wrong inside the service. The log of the server says what.",
    ),
];

/// The sentence of an unavailable service that has done half of what it was asked.
const BYTES_LEFT: &str = "The files cannot be fetched any more, but not all of their bytes could be \
                          removed. Please try again later.";

/// After this many seconds a client may try again when the service was unavailable.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

impl Kind {
    /// Its row of [`TABLE`].
    pub fn row(self) -> &'static Row {
        TABLE
            .iter()
            .find(|row| row.kind == self)
            .expect("every kind has a row; this is a bug")
    }
}

/// An error on its way to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    kind: Kind,
    sentences: Vec<String>,
    /// The answer ends the connection and asks to wait this long before the next try.
    throttled_for: Option<Duration>,
}

/// Stands in the extensions of an answer to somebody who fails again and again: not worth a line
/// in the log each time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Throttled;

impl ApiError {
    /// With the table's own sentence.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            sentences: vec![kind.row().sentence.to_owned()],
            throttled_for: None,
        }
    }

    /// With sentences that say more; without any, the table's.
    pub fn with_sentences(kind: Kind, sentences: Vec<String>) -> Self {
        if sentences.is_empty() {
            Self::new(kind)
        } else {
            Self {
                sentences,
                ..Self::new(kind)
            }
        }
    }

    /// With the table's own sentence, and the reason in its place.
    fn because(kind: Kind, reason: &str) -> Self {
        Self {
            kind,
            sentences: vec![kind.row().sentence.replace("{reason}", reason)],
            ..Self::new(kind)
        }
    }

    /// The same to somebody who should wait before the next try.
    pub(crate) fn throttled_for(self, wait: Duration) -> Self {
        Self {
            throttled_for: Some(wait),
            ..self
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// One thing that went wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorEntry {
    /// What kind of thing: see the table of errors.
    code: u32,
    /// What went wrong, for people.
    message: String,
}

/// The answer of a call that did nothing: why, and `result: false`, whatever the HTTP status is.
#[derive(Serialize, ToSchema)]
#[schema(as = Failure)]
pub(crate) struct ErrorEnvelope {
    /// What went wrong, at least one thing.
    #[schema(min_items = 1)]
    errors: Vec<ErrorEntry>,
    /// Always `false`.
    #[schema(schema_with = words::no)]
    result: bool,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let row = self.kind.row();
        let errors = self
            .sentences
            .into_iter()
            .map(|message| ErrorEntry {
                code: row.code,
                message,
            })
            .collect();
        let body = axum::Json(ErrorEnvelope {
            errors,
            result: false,
        });
        let mut response = (row.status, body).into_response();
        if self.kind == Kind::Unavailable {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        if let Some(wait) = self.throttled_for {
            let seconds = wait.as_secs_f64().ceil() as u64;
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            response.extensions_mut().insert(Throttled);
        }
        response
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Store(error) => ServiceError::from(error).into(),
            refused => Self::with_sentences(Kind::Credentials, vec![refused.to_string()]),
        }
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::UnknownTool => Self::new(Kind::UnknownTool),
            SubmitError::Invalid(sentences) => Self::with_sentences(Kind::InvalidInputs, sentences),
            SubmitError::Refused(refusal) => {
                let kind = match refusal {
                    Refusal::ConcurrencyLimit { .. } => Kind::ConcurrencyLimit,
                    Refusal::InsufficientBalance { .. } => Kind::InsufficientBalance,
                    Refusal::KeyReused => Kind::KeyReused,
                };
                Self::with_sentences(kind, vec![refusal.to_string()])
            }
            SubmitError::NotModerated(reason) => {
                Self::with_sentences(Kind::NotModerated, vec![reason])
            }
            SubmitError::Service(error) => error.into(),
        }
    }
}

impl From<StopError> for ApiError {
    fn from(error: StopError) -> Self {
        match error {
            StopError::UnknownTask => Self::new(Kind::UnknownTask),
            StopError::NotQueued => Self::new(Kind::NotCancellable),
            StopError::NotRunning(reason) => Self::because(Kind::NotKilled, reason),
            StopError::Service(error) => error.into(),
        }
    }
}

impl From<DeleteError> for ApiError {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::UnknownTask => Self::new(Kind::NoFilesOfTask),
            DeleteError::Unfinished => Self::new(Kind::NotEnded),
            DeleteError::BytesLeft(error) => {
                tracing::error!(error = %error, "deleted pictures left bytes behind");
                Self::with_sentences(Kind::Unavailable, vec![BYTES_LEFT.to_owned()])
            }
            DeleteError::Service(error) => error.into(),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::UnknownFolder => Self::new(Kind::UnknownFolder),
            UploadError::Service(error) => error.into(),
            refused => Self::with_sentences(Kind::InvalidInputs, vec![refused.to_string()]),
        }
    }
}

impl From<ServiceError> for ApiError {
    fn from(error: ServiceError) -> Self {
        tracing::error!(error = %error, "a request could not be served");
        Self::new(Kind::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_in_the_table_once() {
        for row in &TABLE {
            assert_eq!(
                TABLE.iter().filter(|other| other.kind == row.kind).count(),
                1
            );
        }
    }

    #[test]
    fn the_table_reads_as_published() {
        let text: Vec<String> = TABLE
            .iter()
            .map(|row| {
                format!(
                    "{:?}: {} code {} {:?}",
                    row.kind, row.status, row.code, row.sentence
                )
            })
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
