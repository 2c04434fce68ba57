//! Those who judge. Each gives a score by category; who asks decides what is too much.

use std::time::Duration;

use async_trait::async_trait;
use image::RgbImage;

use crate::Scores;

/// Why there is no judgement. Names no host and quotes no text: clients read it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unjudged {
    /// No answer came in time.
    #[error("it did not answer within {0:?}")]
    TimedOut(Duration),
    /// There is no connection.
    #[error("it cannot be reached")]
    Unreachable,
    /// It refused to judge.
    #[error("it answered with status {0}")]
    Status(u16),
    /// Its answer makes no sense.
    #[error("its answer cannot be used: {0}")]
    Unusable(&'static str),
    /// It failed again and again just now and is given a rest.
    #[error("it failed several times and is not asked for a while")]
    Resting,
    /// It is part of this program and failed.
    #[error("it failed")]
    Failed,
}

/// Judges texts.
#[async_trait]
pub trait TextModerator: Send + Sync {
    /// What it sees in a text.
    ///
    /// # Errors
    /// [`Unjudged`].
    async fn judge_text(&self, text: &str) -> Result<Scores, Unjudged>;
}

/// Judges pictures.
#[async_trait]
pub trait PictureModerator: Send + Sync {
    /// What it sees in a picture, 8-bit sRGB of any size.
    ///
    /// # Errors
    /// [`Unjudged`].
    async fn judge_picture(&self, picture: &RgbImage) -> Result<Scores, Unjudged>;
}
