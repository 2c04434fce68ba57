//! The use cases: who may ask ([`Service::authenticate`]), what is asked ([`Service::submit`],
//! [`Service::detail`], [`Service::list`]), how it is done ([`worker`]), and what a client may fetch
//! ([`Service::output_file`]). Knows no HTTP answers: the server crate turns these types into them.

mod accounts;
pub mod api;
mod attempts;
mod authentication;
mod breaker;
mod clock;
mod control;
mod files;
mod guarded;
pub mod janitor;
pub mod moderation;
mod networks;
mod operators_server;
mod outlook;
mod preprocess;
mod projects;
mod repeats;
mod samples;
mod sealing;
mod service;
mod submit;
#[cfg(feature = "test-support")]
pub mod test_support;
mod tools;
mod uploads;
pub mod upsampling;
pub mod watch;
pub mod webhooks;
pub mod worker;

pub use accounts::ProjectReport;
pub use api::{
    AuthError, Credentials, DeleteError, FileAnswer, NewProjectRequest, Page, Principal,
    ProjectError, ProjectKeys, RawInputs, RawValue, RunRequest, ServiceError, StopError,
    SubmitError, Submitted, UploadError, UploadedPart,
};
pub use clock::{Clock, SystemClock};

/// Pictures in files, bounded: what the worker and the command line share.
pub mod picture {
    /// Where artefacts stop being visible; beyond it files only grow.
    pub const JPEG_QUALITY: u8 = 95;

    pub use crate::preprocess::decode::{MAX_MEGAPIXELS, excessive_size, read_pixels};
}
pub use guarded::{AllowedTargets, GuardConfig, NotATarget};
pub use networks::{Networks, NotANetwork};
pub use outlook::{Outlook, QUEUE_SEEN};
pub use sealing::{KEY_FILE_NAME, SealingError, SealingKey};
pub use service::{Parts, Service, ServiceConfig};
pub use tools::{ToolPage, ToolReport};
pub use webhooks::ShownProject;
