//! What will be in memory, said before anything is loaded.

use std::fmt;
use std::sync::Arc;

use tintype_compute::{Device, WeightFormat};
use tintype_flux::pipeline::{Footprint, Pipeline, Residency, Settings, Work};

use tintype_words::Bytes;

use super::memory::{MemoryProbe, Room};
use super::{DeviceOptions, ModelSource, StartError};

/// A model, what it takes, and how it will be held.
#[derive(Debug, Clone)]
pub struct ModelPlan {
    /// The model's own defaults.
    pub settings: Settings,
    /// What its parts take.
    pub footprint: Footprint,
    /// What room is kept for: a picture of the model's own size and defaults.
    pub work: Work,
    /// How it is held.
    pub residency: Residency,
}

impl ModelPlan {
    /// Looks at a model's files, and at nothing but their headers where they are large.
    ///
    /// # Errors
    /// A model that cannot be opened or does not fit into memory.
    pub fn of(
        source: &ModelSource,
        options: &DeviceOptions,
        probe: &MemoryProbe,
    ) -> Result<Self, StartError> {
        let pipeline = prepare(source, options, options.measuring()?)?;
        Self::of_prepared(&pipeline, source, options, &Rivals::none(), probe)
    }

    /// The same of a pipeline whose components are not loaded yet.
    pub(super) fn of_prepared(
        pipeline: &Pipeline,
        source: &ModelSource,
        options: &DeviceOptions,
        rivals: &Rivals,
        probe: &MemoryProbe,
    ) -> Result<Self, StartError> {
        let footprint = pipeline.footprint()?;
        let work = pipeline.usual_work();
        let room = options.memory.room(rivals.held_bytes, probe);
        let Room {
            ever_bytes,
            now_bytes,
        } = room;
        let least_bytes = footprint.peak_bytes(Residency::OneByOne, &work);
        match footprint.residency_within(now_bytes, &work) {
            Some(residency) => Ok(Self {
                settings: pipeline.settings().clone(),
                footprint,
                work,
                residency,
            }),
            None if least_bytes <= ever_bytes => Err(StartError::NoRoomNow {
                model: source.to_string(),
                needed_bytes: least_bytes,
                room_bytes: now_bytes,
            }),
            None => Err(StartError::TooLarge {
                model: source.to_string(),
                parts: footprint.to_string(),
                needed_bytes: least_bytes,
                room_bytes: ever_bytes,
                advice: advice(source, options, ever_bytes),
            }),
        }
    }

    /// Weights and work together at the moment when they are most.
    pub fn peak_bytes(&self) -> u64 {
        self.footprint.peak_bytes(self.residency, &self.work)
    }
}

impl fmt::Display for ModelPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, peak) = (self.work.size, Bytes(self.peak_bytes()));
        write!(
            f,
            "{} ({}; {peak} at most while it draws {size})",
            self.footprint, self.residency
        )
    }
}

/// What other models hold.
pub(super) struct Rivals {
    /// Bytes that would be free if they were evicted.
    pub held_bytes: u64,
}

impl Rivals {
    pub fn none() -> Self {
        Self { held_bytes: 0 }
    }
}

/// A pipeline without its weights.
pub(super) fn prepare(
    source: &ModelSource,
    options: &DeviceOptions,
    device: Arc<dyn Device>,
) -> Result<Pipeline, StartError> {
    let files = source.files()?;
    Ok(Pipeline::prepare(&options.load_options(), &files, device)?)
}

/// What would fit.
fn advice(source: &ModelSource, options: &DeviceOptions, room_bytes: u64) -> String {
    const SMALLER: &str = "Take a smaller file of the model, such as a Q4 one, or a machine with \
                           more memory";
    if options.weights == WeightFormat::Int8 {
        return SMALLER.to_owned();
    }
    let options = DeviceOptions {
        weights: WeightFormat::Int8,
        ..options.clone()
    };
    let in_int8 = || {
        let pipeline = prepare(source, &options, options.measuring()?)?;
        let footprint = pipeline.footprint()?;
        Ok::<_, StartError>(footprint.peak_bytes(Residency::OneByOne, &pipeline.usual_work()))
    };
    match in_int8() {
        Ok(bytes) if bytes <= room_bytes => {
            let bytes = Bytes(bytes);
            format!("With weights = \"int8\" under [compute] it needs {bytes}, which fits")
        }
        Ok(_) | Err(_) => SMALLER.to_owned(),
    }
}
