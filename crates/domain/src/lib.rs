//! The words of the house: ids, task states, the pure transition function, events.
//!
//! Every other service crate speaks in these types. Nothing here performs I/O, reads a clock or
//! draws random numbers by itself: time and randomness are arguments. The names on the wire
//! (`task_postprocess_end` …) belong to the server crate.

pub mod account;
pub mod blob;
pub mod fairness;
pub mod file;
pub mod id;
pub mod idempotency;
pub mod lora;
pub mod money;
pub mod project;
pub mod task;
pub mod time;
pub mod tool;
pub mod webhook;

pub use account::{Account, Price, Priced, Refusal};
pub use blob::BlobKey;
pub use file::{FileRecord, Folder, NewFile, OutputFile, safe_name};
pub use id::{
    AccessKey, DIRECTORY_LENGTH, Epoch, FileId, ProjectId, TaskId, TaskToken, ToolSlug, WorkerId,
    random_directory,
};
pub use idempotency::{Fingerprint, Idempotency, IdempotencyKey, KeyError};
pub use lora::{LoraChoice, LoraError, LoraName, MAX_LORA_WEIGHT, MAX_LORAS};
pub use project::{AuthKind, Project};
pub use task::{
    Event, EventKind, ExitCode, Maker, NewTask, Outcome, Stage, Task, TaskRef, TaskState,
    TaskTimes, TransitionError,
};
pub use time::UnixMillis;
pub use tool::ToolStats;
pub use webhook::{AttemptAnswer, AttemptReport, Webhook, WebhookAttempt, WebhookId, WebhookState};
