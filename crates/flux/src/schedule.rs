//! The sigma schedule: at which noise levels the model is asked, and how a step is taken.
//!
//! Follows `FlowMatchEulerDiscreteScheduler` of `diffusers` as `FluxPipeline` calls it: sigmas
//! fall evenly from 1 to 1/steps and are then shifted towards noise, by a fixed factor (schnell)
//! or by one that grows with the number of image tokens (dev, Kontext).

use serde::Deserialize;

/// `scheduler/scheduler_config.json`. Keys that this schedule does not know are ignored; those
/// that would change it in a way that is not implemented are refused.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// The fixed shift, used without dynamic shifting.
    pub shift: f32,
    /// Whether the shift depends on the number of image tokens.
    pub use_dynamic_shifting: bool,
    /// `mu` at `base_image_seq_len`.
    pub base_shift: f64,
    /// `mu` at `max_image_seq_len`.
    pub max_shift: f64,
    /// Image tokens.
    pub base_image_seq_len: u32,
    /// Image tokens.
    pub max_image_seq_len: u32,
    /// Whether `mu` acts by its exponential or linearly.
    pub time_shift_type: TimeShift,
    /// Where the schedule shall end before the final 0, if it is stretched.
    pub shift_terminal: Option<f32>,
    use_karras_sigmas: bool,
    use_exponential_sigmas: bool,
    use_beta_sigmas: bool,
    invert_sigmas: bool,
    stochastic_sampling: bool,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            shift: 1.0,
            use_dynamic_shifting: false,
            base_shift: 0.5,
            max_shift: 1.15,
            base_image_seq_len: 256,
            max_image_seq_len: 4096,
            time_shift_type: TimeShift::Exponential,
            shift_terminal: None,
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            use_beta_sigmas: false,
            invert_sigmas: false,
            stochastic_sampling: false,
        }
    }
}

/// How `mu` becomes a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeShift {
    /// The shift is e to the power of `mu`.
    Exponential,
    /// The shift is `mu`.
    Linear,
}

/// Why a scheduler configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not what it should be.
    #[error("scheduler_config.json cannot be read")]
    Parse(#[from] serde_json::Error),
    /// A variant that FLUX models do not use.
    #[error("scheduler_config.json sets {0}, which is not supported")]
    Unsupported(&'static str),
}

impl SchedulerConfig {
    /// Reads `scheduler_config.json`.
    ///
    /// # Errors
    /// [`Error::Parse`] for broken JSON, [`Error::Unsupported`] for variants that are refused.
    pub fn from_json(json: &str) -> Result<Self, Error> {
        let config: Self = serde_json::from_str(json)?;
        let refused = [
            (config.use_karras_sigmas, "use_karras_sigmas"),
            (config.use_exponential_sigmas, "use_exponential_sigmas"),
            (config.use_beta_sigmas, "use_beta_sigmas"),
            (config.invert_sigmas, "invert_sigmas"),
            (config.stochastic_sampling, "stochastic_sampling"),
        ];
        match refused.iter().find(|(set, _)| *set) {
            Some((_, name)) => Err(Error::Unsupported(name)),
            None => Ok(config),
        }
    }

    /// The same with a fixed shift, whatever the size of the picture.
    #[must_use]
    pub fn with_shift(&self, shift: f32) -> Self {
        Self {
            shift,
            use_dynamic_shifting: false,
            ..self.clone()
        }
    }

    /// The sigmas of `steps` steps: `steps` falling numbers and a final 0.
    ///
    /// `image_tokens` counts the tokens of the picture to be drawn, without a reference's.
    pub fn sigmas(&self, steps: usize, image_tokens: usize) -> Vec<f32> {
        let mut sigmas: Vec<f32> = evenly_falling(steps);
        if self.use_dynamic_shifting {
            let mu = self.mu(image_tokens);
            let shift = match self.time_shift_type {
                TimeShift::Exponential => mu.exp(),
                TimeShift::Linear => mu,
            } as f32;
            for sigma in &mut sigmas {
                *sigma = shift / (shift + (1.0 / *sigma - 1.0));
            }
        } else {
            let slope = (f64::from(self.shift) - 1.0) as f32;
            for sigma in &mut sigmas {
                *sigma = self.shift * *sigma / (1.0 + slope * *sigma);
            }
        }
        if let Some(terminal) = self.shift_terminal.filter(|terminal| *terminal != 0.0) {
            stretch_to(terminal, &mut sigmas);
        }
        sigmas.push(0.0);
        sigmas
    }

    /// `calculate_shift` of `FluxPipeline`: linear in the number of image tokens.
    fn mu(&self, image_tokens: usize) -> f64 {
        let base = f64::from(self.base_image_seq_len);
        let slope = (self.max_shift - self.base_shift) / (f64::from(self.max_image_seq_len) - base);
        let intercept = self.base_shift - slope * base;
        image_tokens as f64 * slope + intercept
    }
}

/// `numpy.linspace(1.0, 1 / steps, steps)` rounded to f32.
fn evenly_falling(steps: usize) -> Vec<f32> {
    let last = 1.0 / steps as f64;
    let step = (last - 1.0) / (steps.max(2) - 1) as f64;
    (0..steps)
        .map(|i| match i {
            i if i > 0 && i + 1 == steps => last as f32,
            i => (1.0 + i as f64 * step) as f32,
        })
        .collect()
}

/// Stretches a schedule so that it ends at `terminal`.
fn stretch_to(terminal: f32, sigmas: &mut [f32]) {
    let Some(last) = sigmas.last().copied().filter(|last| *last < 1.0) else {
        return;
    };
    let factor = (1.0 - last) / ((1.0 - f64::from(terminal)) as f32);
    for sigma in sigmas {
        *sigma = 1.0 - (1.0 - *sigma) / factor;
    }
}

/// One Euler step along the velocity, in place: `latents += (next - sigma) * velocity`.
///
/// # Panics
/// If the two differ in length.
pub fn euler_step(latents: &mut [f32], velocity: &[f32], sigma: f32, next: f32) {
    assert_eq!(latents.len(), velocity.len(), "this is a bug");
    let step = next - sigma;
    for (latent, velocity) in latents.iter_mut().zip(velocity) {
        *latent += step * velocity;
    }
}
