//! What this program computes with and what it may take, one for all models of a process: those that draw,
//! the one that rewrites prompts, the one that judges pictures.

use std::sync::Arc;

use tintype_engine::native::{Budget, DeviceOptions, MemoryLimit, WeightFormat};

use crate::settings::Settings;

/// The machine, as far as this program may use it.
#[derive(Debug, Clone)]
pub struct Machine {
    /// How the engine computes.
    pub engine: DeviceOptions,
    /// The memory that all share.
    pub budget: Arc<Budget>,
}

impl Machine {
    /// As the settings say.
    ///
    /// # Errors
    /// Those of [`crate::compute_settings::ComputeSettings::device_options`].
    pub fn of(settings: &Settings) -> anyhow::Result<Self> {
        let engine = DeviceOptions {
            threads: settings.threads.unwrap_or(0),
            lora_folder: Some(settings.models.lora_folder(&settings.data)),
            ..settings.compute.device_options()?
        };
        Ok(Self {
            budget: Budget::new(engine.memory),
            engine,
        })
    }

    /// With nothing said but a limit.
    pub fn with(memory: MemoryLimit) -> Self {
        let engine = DeviceOptions {
            memory,
            ..DeviceOptions::default()
        };
        Self {
            budget: Budget::new(memory),
            engine,
        }
    }

    /// How something small computes while pictures are drawn: with the same instructions, on threads of its
    /// own, no more than the engine's and tied to no core. It shares no threads with the engine: either
    /// would wait for ops of the other, and those that draw take a hundred times as long. Weights are kept
    /// as they come, whatever is saved on the models that draw.
    pub fn beside(&self, threads: usize) -> DeviceOptions {
        let most = match self.engine.threads {
            0 => threads,
            most => most,
        };
        DeviceOptions {
            threads: threads.min(most),
            pin: false,
            weights: WeightFormat::Exact,
            ..self.engine.clone()
        }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::with(MemoryLimit::Machine)
    }
}
