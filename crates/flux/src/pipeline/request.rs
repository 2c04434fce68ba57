//! What a pipeline is asked for, and which requests it refuses.

use image::RgbImage;

use crate::lora::{Applied, MAX_WEIGHT};
use crate::size::Size;

use super::{Error, Kind, Settings};

/// Pixels of the largest picture or reference: four times what FLUX.1 was trained on. Attention
/// grows with the square of it.
pub const MAX_PIXELS: u64 = 4 * 1024 * 1024;

/// Denoising steps at most. FLUX.1 gains nothing after about fifty.
pub const MAX_STEPS: u32 = 200;

/// T5 tokens at most, as in `FluxPipeline`.
pub const MAX_SEQUENCE_LENGTH: usize = 512;

/// Pictures in one batch at most.
const MAX_BATCH: usize = 16;

/// Guidance scales at most; useful ones stay below ten.
const MAX_GUIDANCE: f32 = 100.0;

/// One picture of a batch.
#[derive(Debug, Clone)]
pub struct Item {
    /// What it shall show, or the instruction for an edit.
    pub prompt: String,
    /// The seed of its noise.
    pub seed: u64,
    /// The picture to edit. Either all items of a batch have one or none has.
    pub reference: Option<RgbImage>,
}

/// A batch of pictures of one size. What is `None` is as the model's [`Settings`] say.
#[derive(Debug, Clone)]
pub struct Request {
    /// The pictures.
    pub items: Vec<Item>,
    /// Their size; both sides multiples of the model's multiple.
    pub size: Size,
    /// Whether references are resized to the bucket of the first (`false`: each keeps its own
    /// size, rounded down to the model's multiple; in a batch all must then be of one size).
    pub resize_reference: bool,
    /// Denoising steps.
    pub steps: Option<u32>,
    /// Guidance scale of models with a guidance embedding; others ignore it.
    pub guidance: Option<f32>,
    /// Scale of classifier-free guidance against `negative_prompt`; up to 1 is none.
    pub true_cfg: Option<f32>,
    /// What the picture shall not show; counts only with classifier-free guidance.
    pub negative_prompt: Option<String>,
    /// T5 tokens of a prompt.
    pub max_sequence_length: Option<usize>,
    /// LoRAs for this request alone, opened by [`super::Pipeline::open_lora`] of the same pipeline.
    pub loras: Vec<Applied>,
}

impl Request {
    /// A request for one picture with the model's own defaults.
    pub fn new(prompt: impl Into<String>, seed: u64, size: Size) -> Self {
        Self {
            items: vec![Item {
                prompt: prompt.into(),
                seed,
                reference: None,
            }],
            size,
            resize_reference: true,
            steps: None,
            guidance: None,
            true_cfg: None,
            negative_prompt: None,
            max_sequence_length: None,
            loras: Vec::new(),
        }
    }

    /// Says whether a model with these settings would take the request.
    ///
    /// # Errors
    /// [`Error::Rejected`] with a sentence that says what to change.
    pub fn check(&self, settings: &Settings) -> Result<(), Error> {
        self.resolve(settings).map(drop)
    }

    /// The request with the model's defaults filled in.
    ///
    /// # Errors
    /// [`Error::Rejected`] with a sentence that says what to change.
    pub(super) fn resolve(&self, settings: &Settings) -> Result<Resolved, Error> {
        let resolved = Resolved {
            steps: self.steps.unwrap_or(settings.steps),
            guidance: self.guidance.unwrap_or(settings.guidance),
            true_cfg: self.true_cfg.unwrap_or(settings.true_cfg),
            max_sequence_length: self
                .max_sequence_length
                .unwrap_or(settings.max_sequence_length),
        };
        self.complaint(settings)
            .or_else(|| resolved.complaint())
            .map_or(Ok(resolved), |complaint| Err(Error::Rejected(complaint)))
    }

    fn has_empty_reference(&self) -> bool {
        let mut references = self.items.iter().filter_map(|i| i.reference.as_ref());
        references.any(|picture| picture.is_empty())
    }

    fn complaint(&self, settings: &Settings) -> Option<String> {
        let multiple = settings.native.multiple;
        let Size { width, height } = self.size;
        let with_reference = self.items.iter().filter(|i| i.reference.is_some()).count();
        if self.items.is_empty() || self.items.len() > MAX_BATCH {
            Some(format!("a batch has 1 to {MAX_BATCH} pictures"))
        } else if width == 0 || height == 0 {
            Some("a picture has at least one pixel each way".to_owned())
        } else if self.size.area() > MAX_PIXELS {
            Some(format!(
                "{} is too large: at most {MAX_PIXELS} pixels",
                self.size
            ))
        } else if !width.is_multiple_of(multiple) || !height.is_multiple_of(multiple) {
            Some(format!(
                "{}: both sides must be multiples of {multiple}",
                self.size
            ))
        } else if self.has_empty_reference() {
            Some("the reference picture has no pixels".to_owned())
        } else if with_reference > 0 && settings.kind == Kind::Text {
            Some(format!(
                "the model {} draws from text only; editing needs a Kontext model",
                settings.name
            ))
        } else if with_reference != 0 && with_reference != self.items.len() {
            Some("either all pictures of a batch have a reference or none has".to_owned())
        } else {
            self.complaint_of_loras()
        }
    }

    fn complaint_of_loras(&self) -> Option<String> {
        let range = -MAX_WEIGHT..=MAX_WEIGHT;
        let wrong = |applied: &&Applied| !range.contains(&applied.weight);
        self.loras.iter().find(wrong).map(|applied| {
            format!(
                "the LoRA {} has weight {}; weights are between -{MAX_WEIGHT} and {MAX_WEIGHT}",
                applied.lora.name(),
                applied.weight
            )
        })
    }
}

/// A request's numbers with the defaults filled in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resolved {
    pub steps: u32,
    pub guidance: f32,
    pub true_cfg: f32,
    pub max_sequence_length: usize,
}

impl Resolved {
    fn complaint(&self) -> Option<String> {
        if !(1..=MAX_STEPS).contains(&self.steps) {
            Some(format!("steps must be between 1 and {MAX_STEPS}"))
        } else if !(0.0..=MAX_GUIDANCE).contains(&self.guidance) {
            Some(format!("guidance must be between 0 and {MAX_GUIDANCE}"))
        } else if !(0.0..=MAX_GUIDANCE).contains(&self.true_cfg) {
            Some(format!("true_cfg must be between 0 and {MAX_GUIDANCE}"))
        } else if !(1..=MAX_SEQUENCE_LENGTH).contains(&self.max_sequence_length) {
            Some(format!(
                "max_sequence_length must be between 1 and {MAX_SEQUENCE_LENGTH}"
            ))
        } else {
            None
        }
    }
}
