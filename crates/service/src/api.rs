//! The types that cross the border between the server and the service.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use tintype_domain::{AuthKind, IdempotencyKey, ProjectId, Refusal, TaskId, TaskToken, ToolSlug};

/// What a client sent to prove itself, exactly as it arrived.
#[derive(Clone)]
pub struct Credentials {
    /// `x-api-key`.
    pub api_key: Option<String>,
    /// `x-nonce`.
    pub nonce: Option<String>,
    /// `x-signature`, perhaps with the prefix that `openssl dgst` prints.
    pub signature: Option<String>,
    /// Where the request came from.
    pub remote: IpAddr,
}

/// Without what was sent: what is debugged ends up in logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// A project that has proved itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The project.
    pub project: ProjectId,
    /// Its name, for logs.
    pub name: String,
}

/// Why a request is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No key, or one that no project has.
    #[error("Project authorization is not founded.")]
    UnknownKey,
    /// The project signs its requests and this one is not signed.
    #[error(
        "Project requires signature authentication. x-signature and x-nonce headers are required."
    )]
    SignatureRequired,
    /// The signature is wrong, or (with `strict_nonce`) the nonce was used before.
    #[error("Project authorization is not valid.")]
    Invalid,
    /// The project does not accept calls from there.
    #[error("Requested ip {0} is not allowed.")]
    ForbiddenAddress(IpAddr),
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] tintype_store::Error),
}

/// A file that came as a part of a multipart body.
#[derive(Debug, Clone)]
pub struct UploadedPart {
    /// The client's name for it.
    pub file_name: Option<String>,
    /// The client's label; never trusted.
    pub content_type: Option<String>,
    /// The bytes, already bounded by the server.
    pub bytes: Bytes,
}

impl UploadedPart {
    /// Browsers send a part without a name and without bytes for a file field that was left alone.
    pub fn was_left_alone(&self) -> bool {
        self.bytes.is_empty() && self.file_name.as_deref().unwrap_or_default().is_empty()
    }
}

/// One value of an input as it arrived.
#[derive(Debug, Clone)]
pub enum RawValue {
    /// From a JSON body; text fields of forms arrive as JSON strings.
    Json(serde_json::Value),
    /// From a multipart body.
    File(UploadedPart),
}

/// All inputs as they arrived, in order. A name may come more than once.
pub type RawInputs = Vec<(String, RawValue)>;

/// A run that a project asks for.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Which tool.
    pub tool: ToolSlug,
    /// Its inputs, and the envelope around them (`callbackUrl`).
    pub inputs: RawInputs,
    /// Where the addresses in a report of the end begin, if the operator named no address: the
    /// one that the client used. `None`: [`crate::Service::public_url`].
    pub base_url: Option<String>,
    /// With a key the request may be repeated: for a day it gives the first answer again.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// An accepted task. It is in the store already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// Its number.
    pub task: TaskId,
    /// The capability to watch it.
    pub token: TaskToken,
}

/// Why a run was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// There is no such tool (`slug-owner-project-not-exist`).
    #[error("slug-owner-project-not-exist")]
    UnknownTool,
    /// The inputs do not fit; one sentence for each fault.
    #[error("{}", .0.join(" "))]
    Invalid(Vec<String>),
    /// A limit of the project forbids it, or another request had its key.
    #[error("{0}")]
    Refused(Refusal),
    /// The operator requires moderation, and a moderator is missing.
    #[error("{0}")]
    NotModerated(String),
    /// Nothing was accepted, and the same call may work later.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Which of a project's tasks to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Only this tool's: `owner/model`, or `model` alone.
    pub model: Option<String>,
    /// Newest first, or oldest first.
    pub descending: bool,
    /// Tasks to skip.
    pub start: u64,
    /// Tasks at most; the store has a bound of its own.
    pub limit: u64,
}

/// Why a task was not stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The project has no such task.
    #[error("there is no such task")]
    UnknownTask,
    /// It is not in the queue.
    #[error("the task is not in the queue any more")]
    NotQueued,
    /// It is not running, or it came to another end first; the text says which.
    #[error("{0}")]
    NotRunning(&'static str),
    /// Nothing was changed, and the same call may work later.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Why a file was not kept, or a folder not made.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The file has no bytes.
    #[error("Request parameters are invalid. [file] is empty: it has 0 bytes")]
    Empty,
    /// The file is larger than this many megabytes.
    #[error("Request parameters are invalid. [file] is larger than {0} MB")]
    TooLarge(usize),
    /// Folders are called otherwise: this many characters at most.
    #[error(
        "Request parameters are invalid. [name] may have letters, digits, _ and - only, and {0} of \
         them at most"
    )]
    FolderName(usize),
    /// The project has no such folder.
    #[error("there is no such folder")]
    UnknownFolder,
    /// Nothing was changed, and the same call may work later.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Why a task's files were not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The project has no such task.
    #[error("there is no such task")]
    UnknownTask,
    /// It waits or runs.
    #[error("the task has not ended")]
    Unfinished,
    /// They are off the record and nobody can fetch them, but bytes are left; the same call
    /// removes them later.
    #[error("bytes are left: {0}")]
    BytesLeft(ServiceError),
    /// Nothing was changed, and the same call may work later.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// Why the service could not do its part. Never the client's fault.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The task store.
    #[error(transparent)]
    Store(#[from] tintype_store::Error),
    /// The blob store.
    #[error("the file store cannot be used right now: {0}")]
    Blobs(String),
}

/// A file to be sent to a client.
#[derive(Debug, Clone)]
pub struct FileAnswer {
    /// The media type.
    pub content_type: String,
    /// The bytes.
    pub bytes: Bytes,
    /// When they last changed.
    pub modified_at: tintype_domain::UnixMillis,
}

/// A project to be made.
#[derive(Debug, Clone)]
pub struct NewProjectRequest {
    /// A name for people, unique.
    pub name: String,
    /// How it proves itself.
    pub auth: AuthKind,
    /// Networks it may call from, in CIDR notation; empty or `*` means all.
    pub allowed_networks: Vec<String>,
    /// Whether a nonce may be used once only.
    pub strict_nonce: bool,
}

/// A project's keys, shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct ProjectKeys {
    /// Its name.
    pub name: String,
    /// Sent as `x-api-key`; the HMAC key.
    pub api_key: String,
    /// Never sent; part of the signed message.
    pub api_secret: String,
    /// What receivers verify webhooks with. Derived from the API secret, and shown at any time.
    pub webhook_secret: String,
}

/// Without the keys: what is debugged ends up in logs.
impl fmt::Debug for ProjectKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectKeys")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a project was not made.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The name is taken.
    #[error("a project named \"{0}\" exists already: choose another name")]
    Exists(String),
    /// The name is of no use.
    #[error("a project's name must have 1 to {max} characters, and no control characters")]
    Name {
        /// Characters at most.
        max: usize,
    },
    /// An entry of the allow-list cannot be understood.
    #[error("\"{0}\" is not a network: write it like 10.0.0.0/8, 192.0.2.7, 2001:db8::/32 or *")]
    Network(String),
    /// There is no project of this name.
    #[error("there is no project named \"{0}\": `tintype project list` shows all")]
    Unknown(String),
    /// A weight out of bounds.
    #[error("a weight must be from 1 to {max}")]
    Weight {
        /// The largest.
        max: u32,
    },
    /// A priority out of bounds.
    #[error("a priority must be from -{max} to {max}")]
    Priority {
        /// The highest.
        max: i32,
    },
    /// A price for a tool that is not offered.
    #[error("there is no tool \"{0}\"; write the price of all tools as *=AMOUNT")]
    UnknownTool(String),
    /// Something is to be added to a balance that is unlimited.
    #[error("the project has no balance to add to: set one with --balance")]
    NoBalance,
    /// Nothing was made, and the same call may work later.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_show_what_proves_a_project() {
        let hush = || "hush".to_owned();
        let credentials = Credentials {
            api_key: Some(hush()),
            nonce: Some(hush()),
            signature: Some(hush()),
            remote: IpAddr::from([192, 0, 2, 7]),
        };
        let keys = ProjectKeys {
            name: "shop".to_owned(),
            api_key: hush(),
            api_secret: hush(),
            webhook_secret: hush(),
        };
        let shown = format!("{credentials:?} {keys:?}");
        assert!(
            shown.contains("192.0.2.7") && shown.contains("shop"),
            "{shown}"
        );
        assert!(!shown.contains("hush"), "{shown}");
    }
}
