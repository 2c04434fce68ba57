//! A job in, pictures and progress out.
//!
//! The worker calls [`Engine`] and does not know which model runs behind it. No tensor type
//! crosses this border: pictures are 8-bit RGB.

#[cfg(feature = "bfl")]
pub mod bfl;
mod breaker;
mod cancellation;
mod chain;
mod error;
mod loras;
#[cfg(feature = "native")]
pub mod native;
mod receipt;
#[cfg(feature = "test-support")]
pub mod test_support;
pub mod upsampling;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

pub use breaker::{Breaker, BreakerChange, BreakerObserver, BreakerState, Pass};
pub use cancellation::Cancellation;
pub use chain::{AbsentEngine, Chain, Link};
pub use error::{Error, Moderated, Reason, Stage, Unavailable};
pub use loras::{LoraSource, LoraWish};
pub use receipt::Receipt;

/// Which table of sizes an aspect ratio is looked up in (see `tintype_flux::size`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeTable {
    /// The 17 preferred Kontext sizes.
    Kontext,
    /// Multiples of 32 with sides of at most 1440, as FLUX1.1 \[pro\] offers.
    Pro,
}

/// What size the picture shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// The bucket of the reference picture; without one, 1:1.
    MatchReference,
    /// A ratio, width to height, looked up in a table and scaled to the model's native area.
    Ratio {
        /// Width part.
        width: u32,
        /// Height part.
        height: u32,
    },
    /// Pixels. Rounded down to the model's multiple.
    Exact {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
}

/// What to draw. Fields that are `None` take the model's own default.
#[derive(Debug, Clone)]
pub struct Job {
    /// What the picture shall show, or the instruction for an edit.
    pub prompt: String,
    /// The pictures to edit or to take things from, the first one first; none draws from the prompt
    /// alone.
    pub references: Vec<image::RgbImage>,
    /// Whether references are resized to their buckets (`false`: each keeps its own size, rounded
    /// down to the model's multiple).
    pub resize_reference: bool,
    /// The picture that the drawing starts from instead of noise alone.
    pub start: Option<StartPicture>,
    /// Any 64-bit seed, with the meaning of `torch.Generator("cpu").manual_seed`.
    pub seed: u64,
    /// Pictures that are drawn: of the noise that follows from the seed in one draw, as
    /// `num_images_per_prompt` of diffusers has it. The first is what one alone would be.
    pub pictures: u32,
    /// Size of the result.
    pub size: Size,
    /// Where ratios are looked up.
    pub size_table: SizeTable,
    /// How the sampler is to run, as far as it was asked for.
    pub sampling: Sampling,
    /// What the operator set for the tool: counts where nothing was asked for, and for the models of
    /// this program only.
    pub defaults: Sampling,
    /// T5 tokens at most.
    pub max_sequence_length: Option<u32>,
    /// LoRAs that were asked for; `None`: those of `default_loras`.
    pub loras: Option<Vec<LoraWish>>,
    /// LoRAs of the tool, for engines that have LoRAs.
    pub default_loras: Vec<LoraWish>,
    /// The tool that it is for, `owner/model`: engines that have several models choose by it.
    pub tool: Option<String>,
    /// 0 lets the least through, 6 the most. For engines that moderate by themselves.
    pub safety_tolerance: Option<u8>,
    /// Whether the engine shall rewrite the prompt, if it can.
    pub prompt_upsampling: bool,
    /// The file type that the result will be kept in: an engine that has files rather than pixels
    /// delivers this one, if it can.
    pub file_type: FileType,
    /// What the engine was promised elsewhere in an earlier try of this very job.
    pub receipt: Receipt,
    /// Whether previews are wanted. May change while the job runs.
    pub previews: PreviewWish,
}

impl Job {
    /// A job with nothing but a prompt and a seed: everything else as the model has it.
    pub fn new(prompt: impl Into<String>, seed: u64) -> Self {
        Self {
            prompt: prompt.into(),
            references: Vec::new(),
            resize_reference: true,
            start: None,
            seed,
            pictures: 1,
            size: Size::MatchReference,
            size_table: SizeTable::Kontext,
            sampling: Sampling::default(),
            defaults: Sampling::default(),
            max_sequence_length: None,
            loras: None,
            default_loras: Vec::new(),
            tool: None,
            safety_tolerance: None,
            prompt_upsampling: false,
            file_type: FileType::Png,
            receipt: Receipt::default(),
            previews: PreviewWish::new(),
        }
    }
}

/// How a sampler is to run. What is `None` is as the model has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// Denoising steps.
    pub steps: Option<u32>,
    /// Guidance scale (distilled guidance; ignored by models without a guidance embedding).
    pub guidance: Option<f32>,
    /// How far the steps are moved towards noise, the same for every size.
    pub shift: Option<f32>,
    /// Scale of classifier-free guidance; up to 1 is none. It takes twice the time.
    pub true_cfg: Option<f32>,
    /// What the picture shall not show: what classifier-free guidance steers away from.
    pub negative_prompt: Option<String>,
}

impl Sampling {
    /// The same, with `defaults` where it says nothing.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        let default_prompt = || defaults.negative_prompt.clone();
        Self {
            steps: self.steps.or(defaults.steps),
            guidance: self.guidance.or(defaults.guidance),
            shift: self.shift.or(defaults.shift),
            true_cfg: self.true_cfg.or(defaults.true_cfg),
            negative_prompt: self.negative_prompt.or_else(default_prompt),
        }
    }
}

/// A picture that a drawing starts from.
#[derive(Debug, Clone)]
pub struct StartPicture {
    /// 8-bit sRGB. Brought to the size of the result: cut at its sides to the same ratio, then
    /// resized.
    pub image: image::RgbImage,
    /// How far the drawing goes away from it, from 0 (exclusive) to 1: the part of the steps that
    /// are made. `None`: as diffusers has it.
    pub strength: Option<f64>,
}

/// The type of a picture file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// `image/jpeg`
    Jpeg,
    /// `image/png`
    Png,
}

/// What a running job reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// The model is resident and the job is at the head of the line.
    Started,
    /// A denoising step is done.
    Step {
        /// Steps done, from 1.
        step: u32,
        /// Steps in all.
        steps: u32,
    },
    /// What the picture is turning into, small. Comes after some of the steps but the last, while
    /// [`Job::previews`] is raised.
    Preview {
        /// Steps done.
        step: u32,
        /// 8-bit sRGB, no side longer than [`PREVIEW_PIXELS`].
        image: image::RgbImage,
    },
}

/// The longest side of a preview: enough to recognise a picture, and small on the wire.
pub const PREVIEW_PIXELS: u32 = 256;

/// Seconds spent in each stage of a job.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StageSeconds {
    /// Text encoders.
    pub text: f64,
    /// Encoding of the reference.
    pub encode: f64,
    /// All denoising steps.
    pub denoise: f64,
    /// Decoding.
    pub decode: f64,
}

/// A picture as bytes of a file.
#[derive(Debug, Clone)]
pub struct PictureFile {
    /// Its type, as its bytes say.
    pub file_type: FileType,
    /// The whole file.
    pub bytes: Bytes,
}

/// A finished picture.
#[derive(Debug, Clone)]
pub struct Picture {
    /// 8-bit sRGB pixels.
    pub image: image::RgbImage,
    /// The same as a file, from an engine that was given one: kept as it is, if it is of the type
    /// that was asked for.
    pub file: Option<PictureFile>,
}

/// What a job ends with.
#[derive(Debug, Clone)]
pub struct Drawing {
    /// As many as were asked for, in the order of their noise.
    pub pictures: Vec<Picture>,
    /// The engine that drew it.
    pub engine_name: String,
    /// The model that drew it.
    pub model_name: String,
    /// Whether the engine rewrote the prompt, as [`Job::prompt_upsampling`] asked.
    pub prompt_upsampled: bool,
    /// The seed that was used.
    pub seed: u64,
    /// Denoising steps that were made.
    pub steps: u32,
    /// Where the time went.
    pub seconds: StageSeconds,
    /// What of the job the engine passed over: sentences for the person who asked.
    pub remarks: Vec<String>,
}

/// A flag that says whether anybody looks at previews. Cheap to clone; all clones are one flag. A
/// job that nobody watches pays one look at it for each step.
#[derive(Debug, Clone, Default)]
pub struct PreviewWish(Arc<AtomicBool>);

impl PreviewWish {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises or lowers the flag; counts from the next step on.
    pub fn set(&self, wanted: bool) {
        self.0.store(wanted, Ordering::Release);
    }

    /// Whether previews are wanted.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Receives progress. Called from the thread that owns the device: it must not block.
pub type ProgressSink = Box<dyn Fn(Progress) + Send + Sync>;

/// Something that turns jobs into pictures.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The model's name, for logs and records.
    fn model_name(&self) -> &str;

    /// Jobs that it works on at a time: one, unless the work is done elsewhere.
    fn places(&self) -> usize {
        1
    }

    /// A number that engines have in common which draw on one device, one job at a time: their places
    /// are counted once. `None`: it shares with nobody.
    fn shared_device(&self) -> Option<usize> {
        None
    }

    /// What keeps it from drawing, as far as it knows without a job.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Runs one job. Jobs are run in the order in which they arrive.
    ///
    /// # Errors
    /// [`Error::Rejected`] for a job that can never run, [`Error::Moderated`] for one that is not
    /// let through, [`Error::Cancelled`] within one denoising step of a raised flag,
    /// [`Error::Unavailable`] when it may run elsewhere or later, [`Error::Failed`] for the rest.
    async fn run(
        &self,
        job: Job,
        progress: ProgressSink,
        cancellation: Cancellation,
    ) -> Result<Drawing, Error>;
}
