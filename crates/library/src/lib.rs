//! The models on a machine: which ones are known, which are installed, and fetching them from a hub.
//!
//! A model is a folder under the library's own (`{data}/models/NAME`) that is there only when it is
//! whole: files are fetched into a staging folder, checked, and the folder is renamed into place. What
//! two models share is stored once, as one file with two names (hard links), so that the file system
//! counts who still needs it. Knows nothing of tensors, tasks or the service.

pub mod digest;
mod error;
pub mod hub;
mod installed;
mod known;
mod library;
mod lock;
pub mod manifest;
pub mod names;
pub mod pull;
mod space;
#[cfg(feature = "test-support")]
#[expect(
    clippy::unwrap_used,
    reason = "code for tests: a panic is how a test fails"
)]
pub mod test_support;
mod verify;

pub use error::Error;
pub use installed::{Origin, Record, RecordedFile};
pub use known::Known;
pub use library::{Condition, Library, Listed, Removed};
pub use manifest::{Kind, Licence, Manifest};
pub use names::{ModelName, RelativePath, Repository, Revision};
pub use verify::{Fault, Wrong};
