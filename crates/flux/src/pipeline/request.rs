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

/// References of one picture at most: each adds as many tokens as the picture itself has, and
/// attention grows with the square of them.
pub const MAX_REFERENCES: usize = 4;

/// How far a drawing goes away from the picture that it starts from, as `FluxImg2ImgPipeline` has it.
const USUAL_STRENGTH: f64 = 0.6;

/// The scale of a negative prompt that came without one, for models that use none by themselves:
/// enough to be seen, little enough for models that were distilled with guidance.
const USUAL_TRUE_CFG: f32 = 2.0;

/// Shifts at most. The published models have 1 and 3, and 3.2 by their size.
const MAX_SHIFT: f32 = 100.0;

/// Guidance scales at most; useful ones stay below ten.
const MAX_GUIDANCE: f32 = 100.0;

/// One prompt of a batch.
#[derive(Debug, Clone, Default)]
pub struct Item {
    /// What it shall show, or the instruction for an edit.
    pub prompt: String,
    /// The seed of its noise.
    pub seed: u64,
    /// The pictures to edit or to take things from. All items of a batch have the same number.
    ///
    /// Their tokens follow those of the picture in one sequence. The first coordinate of their ids
    /// is 1 for the first, as `FluxKontextPipeline` has it, which takes one; 2, 3 … for the others.
    pub references: Vec<RgbImage>,
    /// The picture to start from, resized to the request's size. Either all items of a batch have
    /// one or none has.
    pub start: Option<RgbImage>,
}

/// A batch of pictures of one size. What is `None` is as the model's [`Settings`] say.
#[derive(Debug, Clone)]
pub struct Request {
    /// The pictures.
    pub items: Vec<Item>,
    /// Their size; both sides multiples of the model's multiple.
    pub size: Size,
    /// Pictures of each item: of the noise that its seed gives in one draw for all of them, as
    /// `num_images_per_prompt` has it.
    pub pictures_each: usize,
    /// Whether references are resized to the bucket of the first item's (`false`: each keeps its
    /// own size, rounded down to the model's multiple; in a batch all must then be of one size).
    pub resize_reference: bool,
    /// Denoising steps. With a picture to start from, those of the whole schedule.
    pub steps: Option<u32>,
    /// Guidance scale of models with a guidance embedding; others ignore it.
    pub guidance: Option<f32>,
    /// How far the schedule is moved towards noise, instead of what the model's scheduler does.
    pub shift: Option<f32>,
    /// Scale of classifier-free guidance against `negative_prompt`; up to 1 is none.
    pub true_cfg: Option<f32>,
    /// What the picture shall not show; counts only with classifier-free guidance, which it turns on
    /// where neither the request nor the model has a scale.
    pub negative_prompt: Option<String>,
    /// How far the drawing goes away from the picture that it starts from, above 0 and up to 1.
    pub strength: Option<f64>,
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
                ..Item::default()
            }],
            size,
            pictures_each: 1,
            resize_reference: true,
            steps: None,
            guidance: None,
            shift: None,
            true_cfg: None,
            negative_prompt: None,
            strength: None,
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
            shift: self.shift,
            true_cfg: self.true_cfg.unwrap_or(match self.negative_prompt {
                Some(_) if settings.true_cfg <= 1.0 => USUAL_TRUE_CFG,
                _ => settings.true_cfg,
            }),
            strength: self.strength.unwrap_or(USUAL_STRENGTH),
            starts: self.items.iter().any(|item| item.start.is_some()),
            max_sequence_length: self
                .max_sequence_length
                .unwrap_or(settings.max_sequence_length),
        };
        self.complaint(settings)
            .or_else(|| resolved.complaint())
            .map_or(Ok(resolved), |complaint| Err(Error::Rejected(complaint)))
    }

    /// Pictures in all.
    pub(super) fn batch(&self) -> usize {
        self.items.len().saturating_mul(self.pictures_each)
    }

    /// References of each picture.
    pub(super) fn references_each(&self) -> usize {
        self.items.first().map_or(0, |item| item.references.len())
    }

    fn has_empty_picture(&self) -> bool {
        let pictures = |item: &'_ Item| {
            item.references
                .iter()
                .chain(&item.start)
                .any(|p| p.is_empty())
        };
        self.items.iter().any(pictures)
    }

    fn complaint(&self, settings: &Settings) -> Option<String> {
        let multiple = settings.native.multiple;
        let Size { width, height } = self.size;
        let references = self.references_each();
        let starts = self
            .items
            .iter()
            .filter(|item| item.start.is_some())
            .count();
        if self.batch() == 0 || self.batch() > MAX_BATCH {
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
        } else if self.has_empty_picture() {
            Some("the input picture has no pixels".to_owned())
        } else if references > MAX_REFERENCES {
            Some(format!(
                "at most {MAX_REFERENCES} reference pictures are taken"
            ))
        } else if references > 0 && settings.kind == Kind::Text {
            Some(format!(
                "the model {} draws from text only; editing needs a Kontext model",
                settings.name
            ))
        } else if self
            .items
            .iter()
            .any(|item| item.references.len() != references)
        {
            Some("all pictures of a batch have the same number of references".to_owned())
        } else if starts != 0 && starts != self.items.len() {
            Some("either all pictures of a batch start from a picture or none does".to_owned())
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
    pub shift: Option<f32>,
    pub true_cfg: f32,
    pub strength: f64,
    /// Whether there is a picture to start from: else the strength says nothing.
    pub starts: bool,
    pub max_sequence_length: usize,
}

impl Resolved {
    /// Steps at the beginning of the schedule that are not made (`get_timesteps` of
    /// `FluxImg2ImgPipeline`, in f64 as there).
    pub fn skipped(&self) -> usize {
        if !self.starts {
            return 0;
        }
        let steps = f64::from(self.steps);
        (steps - (steps * self.strength).min(steps)) as usize
    }

    fn complaint(&self) -> Option<String> {
        if !(1..=MAX_STEPS).contains(&self.steps) {
            Some(format!("steps must be between 1 and {MAX_STEPS}"))
        } else if !(0.0..=MAX_GUIDANCE).contains(&self.guidance) {
            Some(format!("guidance must be between 0 and {MAX_GUIDANCE}"))
        } else if !(0.0..=MAX_GUIDANCE).contains(&self.true_cfg) {
            Some(format!("true_cfg must be between 0 and {MAX_GUIDANCE}"))
        } else if self
            .shift
            .is_some_and(|shift| !(shift > 0.0 && shift <= MAX_SHIFT))
        {
            Some(format!("shift must be above 0 and at most {MAX_SHIFT}"))
        } else if !(self.strength > 0.0 && self.strength <= 1.0) {
            Some("strength must be above 0 and at most 1".to_owned())
        } else if self.skipped() == self.steps as usize {
            Some(format!(
                "a strength of {} leaves none of {} steps: give more of either",
                self.strength, self.steps
            ))
        } else if !(1..=MAX_SEQUENCE_LENGTH).contains(&self.max_sequence_length) {
            Some(format!(
                "max_sequence_length must be between 1 and {MAX_SEQUENCE_LENGTH}"
            ))
        } else {
            None
        }
    }
}
