//! Why there is no picture.

use std::fmt;
use std::time::Duration;

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The job itself cannot be run: the caller's fault, never worth a retry.
    #[error("{0}")]
    Rejected(String),
    /// What was asked for, or what came of it, is not let through at the job's tolerance. No other
    /// engine is to be asked for it.
    #[error("{0}")]
    Moderated(Moderated),
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The engine cannot draw now; the job may run elsewhere or later.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// The model failed on a job that it should have been able to run.
    #[error("{0}")]
    Failed(String),
}

/// What was not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The prompt or the input picture.
    Request,
    /// The finished picture.
    Content,
}

/// A job that moderation stopped. It reads `Request moderated: <category>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moderated {
    /// What was not let through.
    pub stage: Stage,
    /// The category that it falls under, if it is known; never the words themselves.
    pub category: Option<String>,
}

impl fmt::Display for Moderated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Request => "Request",
            Stage::Content => "Content",
        };
        let category = self.category.as_deref().unwrap_or("category not named");
        write!(f, "{stage} moderated: {category}")
    }
}

/// An engine that cannot draw now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// What kind of trouble it is.
    pub reason: Reason,
    /// The same for people, with what to do next.
    pub message: String,
    /// When it is worth trying again, if the engine knows.
    pub retry_after: Option<Duration>,
}

/// What keeps an engine from drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is shutting down.
    ShuttingDown,
    /// Its model is not there, or cannot be opened.
    NoWeights,
    /// Its model would fit into memory, but something else has that now.
    NoMemory,
    /// It has more to do than it may.
    OverLimits,
    /// Nobody pays for it any more, or its key is not accepted.
    OutOfCredit,
    /// It does not answer, or not sensibly.
    Down,
}

impl Reason {
    /// Whether waiting may help without anybody doing anything.
    pub fn is_temporary(self) -> bool {
        matches!(
            self,
            Self::ShuttingDown | Self::NoMemory | Self::OverLimits | Self::Down
        )
    }
}

impl Unavailable {
    /// For a reason, in words.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            retry_after: None,
        }
    }

    /// The engine is shutting down.
    pub fn shutting_down() -> Self {
        Self::new(Reason::ShuttingDown, "the engine is shutting down")
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Unavailable> for Error {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}
