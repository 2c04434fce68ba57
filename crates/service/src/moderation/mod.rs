//! Who judges what is asked for and what is drawn, and what follows from it.
//!
//! The worker asks at three places: the prompt before anything is fetched, the input picture when
//! it was fetched, the output before it is kept. Nothing else knows who judges. A judge that fails
//! is not taken for one that has nothing against it: see [`OnFailure`].

mod endpoint;
mod endpoint_answer;

use std::fmt;
use std::sync::Arc;

use image::RgbImage;
use tintype_moderation::{
    Category, PictureModerator, Scores, TextModerator, Thresholds, Tolerance, Unjudged,
};

pub use endpoint::{Endpoint, EndpointConfig};

/// Whether anything is moderated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing is.
    Off,
    /// What there are judges for.
    #[default]
    On,
    /// Texts and pictures are: without a judge for each no run is accepted.
    Required,
}

/// What becomes of a task that a judge could not judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It fails.
    #[default]
    FailClosed,
    /// It goes on, with a note.
    FailOpen,
}

/// What the operator decided about moderation. Cheap to clone.
#[derive(Clone)]
pub struct Moderation {
    /// Whether anything is moderated.
    pub mode: Mode,
    /// What becomes of a task that a judge could not judge. [`Mode::Required`] fails it always.
    pub on_failure: OnFailure,
    /// Which score is too high.
    pub thresholds: Thresholds,
    /// Judges of prompts, the cheap ones first: what one of them stops the next is not asked for.
    pub texts: Vec<Arc<dyn TextModerator>>,
    /// Judges of pictures.
    pub pictures: Vec<Arc<dyn PictureModerator>>,
}

impl Moderation {
    /// Nothing is moderated.
    pub fn off() -> Self {
        Self {
            mode: Mode::Off,
            on_failure: OnFailure::default(),
            thresholds: Thresholds::default(),
            texts: Vec::new(),
            pictures: Vec::new(),
        }
    }

    /// Whether pictures are judged.
    pub fn judges_pictures(&self) -> bool {
        self.mode != Mode::Off && !self.pictures.is_empty()
    }

    /// Whether prompts are judged.
    pub fn judges_texts(&self) -> bool {
        self.mode != Mode::Off && !self.texts.is_empty()
    }

    /// What is not moderated, for the operator; `None` if everything is.
    pub fn gap(&self) -> Option<&'static str> {
        match (self.judges_texts(), self.judges_pictures()) {
            (true, true) => None,
            (true, false) => Some("pictures are not moderated"),
            (false, true) => Some("prompts are not moderated"),
            (false, false) => Some("nothing is moderated"),
        }
    }

    /// Why no run can be accepted, for clients; `None` if runs can be.
    pub fn refusal(&self) -> Option<String> {
        let gap = self.gap().filter(|_| self.mode == Mode::Required)?;
        Some(format!(
            "This service runs only what it can moderate, and {gap}. Its operator has to set a \
             moderator up."
        ))
    }

    /// Judges a prompt.
    pub(crate) async fn judge_text(&self, text: &str, tolerance: Tolerance) -> Verdict {
        let mut verdict = Verdict::Pass;
        for judge in self.texts.iter().filter(|_| self.judges_texts()) {
            let said = judge.judge_text(text).await;
            verdict = verdict.and(self.weigh(said, tolerance));
            if verdict.is_moderated() {
                break;
            }
        }
        verdict
    }

    /// Judges a picture.
    pub(crate) async fn judge_picture(&self, picture: &RgbImage, tolerance: Tolerance) -> Verdict {
        let mut verdict = Verdict::Pass;
        for judge in self.pictures.iter().filter(|_| self.judges_pictures()) {
            let said = judge.judge_picture(picture).await;
            verdict = verdict.and(self.weigh(said, tolerance));
            if verdict.is_moderated() {
                break;
            }
        }
        verdict
    }

    fn weigh(&self, said: Result<Scores, Unjudged>, tolerance: Tolerance) -> Verdict {
        match said {
            Ok(scores) => match self.thresholds.reached(&scores, tolerance) {
                Some(category) => Verdict::Moderated(category),
                None => Verdict::Pass,
            },
            Err(why) => {
                tracing::warn!(reason = %why, "a moderator could not judge");
                let closed =
                    self.mode == Mode::Required || self.on_failure == OnFailure::FailClosed;
                if closed {
                    Verdict::Refused(why)
                } else {
                    Verdict::PassUnjudged(why)
                }
            }
        }
    }
}

impl Default for Moderation {
    fn default() -> Self {
        Self::off()
    }
}

/// Without the judges, which are code.
impl fmt::Debug for Moderation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moderation")
            .field("mode", &self.mode)
            .field("on_failure", &self.on_failure)
            .field("texts", &self.texts.len())
            .field("pictures", &self.pictures.len())
            .finish_non_exhaustive()
    }
}

/// What the judges came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on although a judge failed.
    PassUnjudged(Unjudged),
    /// It ends because a judge failed.
    Refused(Unjudged),
    /// It ends because of what it is about.
    Moderated(Category),
}

impl Verdict {
    /// This judge's word and another's: the graver one.
    fn and(self, other: Self) -> Self {
        if other.gravity() > self.gravity() {
            other
        } else {
            self
        }
    }

    fn gravity(&self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::PassUnjudged(_) => 1,
            Self::Refused(_) => 2,
            Self::Moderated(_) => 3,
        }
    }

    fn is_moderated(&self) -> bool {
        matches!(self, Self::Moderated(_))
    }
}
