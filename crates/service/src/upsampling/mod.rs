//! Who rewrites prompts, tool by tool, and what follows from it.
//!
//! The worker asks once for each task that wishes it: one attempt and one retry, in bounded time.
//! What comes of it is on record before anything is drawn.

mod endpoint;
mod endpoint_answer;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tintype_domain::ToolSlug;
use tintype_engine::upsampling::{MAX_PROMPT_CHARS, NotUpsampled, Upsampler, Wish};
use tokio::time::{sleep, timeout};

pub use endpoint::{ChatEndpoint, ChatEndpointConfig, NoChatEndpoint};

/// For both tries, whatever an upsampler says of its own time: the task holds a place meanwhile.
const LONGEST: Duration = Duration::from_secs(150);

/// Before a second call to a server that failed: what is overloaded gets a moment.
const PAUSE: Duration = Duration::from_millis(500);

/// How the prompts of one tool are rewritten.
#[derive(Clone, Default)]
pub struct ToolUpsampling {
    /// Who rewrites them; `None`: nobody here (an engine may do it by itself).
    pub upsampler: Option<Arc<dyn Upsampler>>,
    /// Whether a task that wishes it fails when that is not possible.
    pub required: bool,
}

/// Without what is behind it, which is code.
impl fmt::Debug for ToolUpsampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upsampler = self.upsampler.as_ref();
        f.debug_struct("ToolUpsampling")
            .field("upsampler", &upsampler.map(|upsampler| upsampler.name()))
            .field("required", &self.required)
            .finish()
    }
}

/// What the operator decided, tool by tool. Cheap enough to clone.
#[derive(Debug, Clone, Default)]
pub struct Upsampling(HashMap<ToolSlug, ToolUpsampling>);

impl Upsampling {
    /// Nobody rewrites anything.
    pub fn none() -> Self {
        Self::default()
    }

    /// How the prompts of this tool are rewritten.
    pub fn of(&self, tool: &ToolSlug) -> ToolUpsampling {
        self.0.get(tool).cloned().unwrap_or_default()
    }
}

impl FromIterator<(ToolSlug, ToolUpsampling)> for Upsampling {
    fn from_iter<I: IntoIterator<Item = (ToolSlug, ToolUpsampling)>>(tools: I) -> Self {
        Self(tools.into_iter().collect())
    }
}

/// Rewrites a prompt: one attempt, and one retry where that may help. What was answered and cannot
/// be used is asked for with another seed, which follows from the first.
///
/// # Errors
/// [`NotUpsampled`] of the last try.
pub async fn rewrite(upsampler: &dyn Upsampler, wish: Wish) -> Result<String, NotUpsampled> {
    if wish.prompt.chars().count() > MAX_PROMPT_CHARS {
        return Err(NotUpsampled::TooLong);
    }
    let both = async {
        let first = match upsampler.rewrite(&wish).await {
            Err(why) if why.is_worth_a_retry() => why,
            done => return done,
        };
        tracing::info!(upsampler.name = upsampler.name(), reason = %first, "an upsampler is asked again");
        let seed = if first.is_about_the_answer() {
            wish.seed.wrapping_add(1)
        } else {
            sleep(PAUSE).await;
            wish.seed
        };
        upsampler.rewrite(&Wish { seed, ..wish }).await
    };
    let done = timeout(LONGEST, both).await;
    done.unwrap_or(Err(NotUpsampled::TimedOut(LONGEST)))
}
