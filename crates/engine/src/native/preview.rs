//! Previews within a budget: whoever watches must not slow the picture down.

use std::time::{Duration, Instant};

use tintype_flux::pipeline::Run;

use crate::{PREVIEW_PIXELS, Progress, ProgressSink};

/// The part of a run's time that its previews may take.
const SHARE: f64 = 0.1;

/// What all previews of a run may take beyond that, the more of it the nearer its end. A small model
/// draws its whole picture in little more than this, and would show nothing otherwise; of a large
/// one nobody notices it.
const GRACE: Duration = Duration::from_millis(100);

/// Makes a run's previews, as many as the budget allows.
pub struct Previewer {
    started: Instant,
    budget: Budget,
}

impl Previewer {
    /// For a run that starts now.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            budget: Budget::default(),
        }
    }

    /// Reports a preview of the latest step, unless it is too early for another one. Of the last
    /// step there is none: the picture itself comes next.
    pub fn look_at(&mut self, run: &Run<'_>, progress: &ProgressSink) {
        let progress_made = run.steps_done() as f64 / run.steps() as f64;
        let allowed = allowance(self.started.elapsed(), progress_made);
        if run.is_done() || !self.budget.has_room(allowed) {
            return;
        }
        let began = Instant::now();
        let image = run.preview(PREVIEW_PIXELS);
        self.budget.charge(began.elapsed());
        if let Some(image) = image.into_iter().flatten().next() {
            let step = run.steps_done() as u32;
            progress(Progress::Preview { step, image });
        }
    }
}

/// What the previews of a run may have cost until now.
fn allowance(elapsed: Duration, progress_made: f64) -> Duration {
    elapsed.mul_f64(SHARE) + GRACE.mul_f64(progress_made)
}

/// What previews have cost so far.
#[derive(Debug, Default)]
struct Budget {
    spent: Duration,
    dearest: Duration,
}

impl Budget {
    /// Whether one more preview stays within the allowance. The first, whose price is not known
    /// yet, always does.
    fn has_room(&self, allowed: Duration) -> bool {
        self.spent + self.dearest <= allowed
    }

    fn charge(&mut self, cost: Duration) {
        self.spent += cost;
        self.dearest = self.dearest.max(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps after which a preview is made, and how long the run took.
    fn shown(steps: u32, step_cost: Duration, preview_cost: Duration) -> (Vec<u32>, Duration) {
        let (mut budget, mut elapsed, mut shown) = (Budget::default(), Duration::ZERO, vec![]);
        for step in 1..=steps {
            elapsed += step_cost;
            let allowed = allowance(elapsed, f64::from(step) / f64::from(steps));
            if step < steps && budget.has_room(allowed) {
                elapsed += preview_cost;
                budget.charge(preview_cost);
                shown.push(step);
            }
        }
        (shown, elapsed)
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_large_model_shows_every_step_and_loses_little_time() {
        let (shown, _) = shown(28, 10_000 * MS, 300 * MS);
        assert_eq!(shown, (1..28).collect::<Vec<_>>());
    }

    #[test]
    fn dear_previews_take_a_tenth_of_the_time_and_the_grace() {
        let (shown, elapsed) = shown(200, 100 * MS, 100 * MS);
        assert!((18..=24).contains(&shown.len()), "{shown:?}");
        let spent = 100 * MS * shown.len() as u32;
        assert!(spent <= elapsed.mul_f64(SHARE) + GRACE, "{spent:?}");
    }

    #[test]
    fn a_small_model_shows_a_few_steps_of_its_whole_life() {
        // The bundled model: 16 steps, and decoding costs four of them.
        let (shown, _) = shown(16, 6 * MS, 25 * MS);
        assert_eq!(shown.len(), 4, "{shown:?}");
        assert!(shown[3] > 10, "{shown:?}");
    }
}
