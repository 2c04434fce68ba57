//! What will be in memory, said before anything is loaded.

use std::fmt;
use std::sync::Arc;

use tintype_compute::{Device, WeightFormat};
use tintype_flux::pipeline::{Footprint, Pipeline, Residency, Settings, Work};

use tintype_words::Bytes;

use super::budget::Budget;
use super::memory::Room;
use super::{DeviceOptions, ModelSource, StartError};

/// A model, what it takes, and how it will be held.
#[derive(Debug, Clone)]
pub struct ModelPlan {
    /// The model's own defaults.
    pub settings: Settings,
    /// What its parts take.
    pub footprint: Footprint,
    /// What room is kept for.
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
        budget: &Budget,
    ) -> Result<Self, StartError> {
        let pipeline = prepare(source, options, options.measuring()?)?;
        let footprint = pipeline.footprint()?;
        let candidate = Candidate {
            pipeline: &pipeline,
            footprint: &footprint,
            source,
            options,
        };
        candidate.plan(&Need::usual(&pipeline), budget.room(0))
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

/// What a job takes beside the weights.
#[derive(Debug, Clone)]
pub(super) struct Need {
    /// What it asks for.
    pub work: Work,
    /// All LoRAs that it asks for.
    pub lora_bytes: u64,
}

impl Need {
    /// A picture of the model's own size and defaults.
    pub fn usual(pipeline: &Pipeline) -> Self {
        Self {
            work: pipeline.usual_work(),
            lora_bytes: 0,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Work {
            size,
            batch,
            reference_pixels,
            ..
        } = self.work;
        match batch {
            1 => write!(f, "a picture of {size}")?,
            _ => write!(f, "{batch} pictures of {size} at once")?,
        }
        if reference_pixels > 0 {
            let megapixels = reference_pixels as f64 / f64::from(1 << 20);
            write!(f, ", with {megapixels:.1} megapixels of references")?;
        }
        match self.lora_bytes {
            0 => Ok(()),
            bytes => write!(f, ", with LoRAs of {}", Bytes(bytes)),
        }
    }
}

/// A model for which there may be room.
pub(super) struct Candidate<'a> {
    pub pipeline: &'a Pipeline,
    pub footprint: &'a Footprint,
    pub source: &'a ModelSource,
    pub options: &'a DeviceOptions,
}

impl Candidate<'_> {
    /// How it is held for a job, if all other models go.
    ///
    /// # Errors
    /// That it does not fit: never, not for this job, or not now.
    pub fn plan(&self, need: &Need, room: Room) -> Result<ModelPlan, StartError> {
        let now_bytes = room.now_bytes.saturating_sub(need.lora_bytes);
        match self.footprint.residency_within(now_bytes, &need.work) {
            Some(residency) => Ok(ModelPlan {
                settings: self.pipeline.settings().clone(),
                footprint: self.footprint.clone(),
                work: need.work,
                residency,
            }),
            None => Err(self.refusal(need, room)),
        }
    }

    fn refusal(&self, need: &Need, room: Room) -> StartError {
        let needed_bytes = self.least_bytes(need);
        let usual = Need::usual(self.pipeline);
        let usual_bytes = self.least_bytes(&usual);
        let (model, room_bytes) = (self.source.to_string(), room.ever_bytes);
        if needed_bytes <= room_bytes {
            return StartError::NoRoomNow {
                model,
                needed_bytes,
                room_bytes: room.now_bytes,
            };
        }
        if usual_bytes <= room_bytes {
            return StartError::WorkTooLarge {
                what: need.to_string(),
                model,
                needed_bytes,
                room_bytes,
                advice: self.advice_for_work(need, room_bytes),
            };
        }
        StartError::TooLarge {
            model,
            size: usual.work.size.to_string(),
            parts: self.footprint.to_string(),
            needed_bytes: usual_bytes,
            room_bytes,
            advice: advice(self.source, self.options, room_bytes),
        }
    }

    fn least_bytes(&self, need: &Need) -> u64 {
        let parts = self.footprint.peak_bytes(Residency::OneByOne, &need.work);
        parts + need.lora_bytes
    }

    fn advice_for_work(&self, need: &Need, room_bytes: u64) -> String {
        const LESS: &str =
            "Ask for a smaller picture, or for fewer pictures, references or LoRAs at once";
        let left = room_bytes.saturating_sub(need.lora_bytes);
        match self.footprint.vae_bound_within(left, &need.work) {
            Some(bytes) => format!(
                "{LESS}; or let the VAE work in strips, with vae_memory_mb = {} under [compute]",
                bytes >> 20
            ),
            None => LESS.to_owned(),
        }
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
