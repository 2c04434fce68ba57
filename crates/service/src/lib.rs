//! The use cases: who may ask (`authenticate`), what is asked (`submit`, `detail`), how it is done
//! (the worker loop), and what a client may fetch (`output`). Knows no HTTP: the server crate
//! turns these types into answers.

pub mod api;

pub use api::{
    AuthError, Credentials, FileAnswer, NewProjectRequest, Principal, ProjectKeys, RawInputs,
    RawValue, ServiceError, SubmitError, Submitted, UploadedPart,
};
