//! A prompt in, a better prompt out: the trait of those who rewrite prompts.
//!
//! It stands beside [`crate::Engine`], at the same border: the service asks and does not know what
//! answers. Those that ask a language model share the texts that tell it what to do
//! ([`SystemPrompts`]) and the way its answers are read ([`read_answer`]).

mod answer;
mod prompts;

use std::time::Duration;

use async_trait::async_trait;

pub use answer::read_answer;
pub use prompts::{MAX_SYSTEM_PROMPT_BYTES, SystemPrompts};

/// Characters of a prompt that is rewritten at most: text encoders read 512 tokens, some 2,500
/// characters, and one that is longer than this leaves nothing open.
pub const MAX_PROMPT_CHARS: usize = 2_000;

/// Characters of a rewriting at most: what text encoders read, and a little more.
pub const MAX_UPSAMPLED_CHARS: usize = 3_000;

/// What a prompt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// It describes a picture.
    Picture,
    /// It says what shall change in a picture.
    Edit,
}

/// What is to be rewritten.
#[derive(Clone, PartialEq, Eq)]
pub struct Wish {
    /// The prompt as it was sent.
    pub prompt: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Decides what is left to chance.
    pub seed: u64,
}

/// Without the prompt.
impl std::fmt::Debug for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wish")
            .field("purpose", &self.purpose)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Why there is no rewriting. Its `Display` goes on after "the upsampler", and names nothing that
/// is no client's business.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUpsampled {
    /// No answer in time.
    #[error("gave no answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// No connection, or a broken one.
    #[error("cannot be reached")]
    Unreachable,
    /// An HTTP status that is no success.
    #[error("answered with the status {0}")]
    Status(u16),
    /// An answer that is no rewriting.
    #[error("gave an answer that cannot be used: {0}")]
    Unusable(&'static str),
    /// The language model would not.
    #[error("declined to rewrite it")]
    Declined,
    /// The prompt is not in the upsampler's language.
    #[error("knows the bundled model's own language alone")]
    Foreign,
    /// The prompt is too long to be rewritten.
    #[error("takes prompts of at most {MAX_PROMPT_CHARS} characters")]
    TooLong,
    /// Too many wait already.
    #[error("has too many prompts waiting")]
    Busy,
    /// It failed again and again, and is left alone for a while.
    #[error("failed several times and is left alone for a while")]
    Resting,
    /// Anything else; the log says what.
    #[error("failed")]
    Failed,
}

impl NotUpsampled {
    /// Whether a second try may do better.
    pub fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Status(status) => *status >= 500 || matches!(status, 408 | 429),
            Self::TimedOut(_) | Self::Unreachable | Self::Unusable(_) | Self::Declined => true,
            Self::Foreign | Self::TooLong | Self::Busy | Self::Resting | Self::Failed => false,
        }
    }

    /// Whether it is what was answered that is wrong: with the same seed it would come again.
    pub fn is_about_the_answer(&self) -> bool {
        matches!(self, Self::Unusable(_) | Self::Declined)
    }
}

/// Rewrites prompts.
#[async_trait]
pub trait Upsampler: Send + Sync + 'static {
    /// What it is, for logs and for people.
    fn name(&self) -> &str;

    /// Rewrites a prompt: at most [`MAX_UPSAMPLED_CHARS`] characters, in bounded time. The same wish
    /// gives the same rewriting as far as what is behind it allows. Dropping the call stops the
    /// work.
    ///
    /// # Errors
    /// [`NotUpsampled`], with the reason.
    async fn rewrite(&self, wish: &Wish) -> Result<String, NotUpsampled>;
}
