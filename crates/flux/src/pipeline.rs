//! A whole model: prompts and seeds in, pictures out.
//!
//! [`Pipeline::open`] loads a `diffusers` folder; [`Pipeline::start`] prepares a [`Request`] and
//! returns a [`Run`], a state machine that the caller steps once for each denoising step. Between
//! two steps the caller may report progress, look at the latents or drop the run.
//!
//! ```text
//! let mut run = pipeline.start(&request)?;
//! while !run.is_done() { run.step()?; }
//! let finished = run.finish()?;
//! ```
//!
//! The arithmetic is that of `FluxPipeline`, `FluxImg2ImgPipeline` and `FluxKontextPipeline` of
//! `diffusers`, so that a seed gives the picture that it gives there. A picture depends on its own prompt, seed and
//! reference only, never on what else stands in its batch.

mod files;
mod footprint;
mod parts;
mod preview;
mod request;
mod run;
mod settings;
mod start;
mod text_cache;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tintype_compute::Device;

use crate::config::{ClipConfig, T5Config, TransformerConfig, VaeConfig};
use crate::latents::PATCH;
use crate::lora::{self, Lora, Targets};
use crate::noise::NoiseType;
use crate::schedule::{self, SchedulerConfig};
use crate::tokenizer::{self, Tokenizer};
use crate::weights;
use footprint::Geometry;
use parts::Parts;
use text_cache::TextCache;

pub use files::ModelFiles;
pub use footprint::Footprint;
pub use parts::{LoadWatch, Loading, Residency};
pub use request::{Item, MAX_PIXELS, MAX_REFERENCES, MAX_SEQUENCE_LENGTH, MAX_STEPS, Request};
pub use run::{Finished, Run, StageSeconds};
pub use settings::{Kind, Settings};
pub use text_cache::TextCacheStatistics;
pub use work::Work;

/// Why there is no model, or no picture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder is not a model at all.
    #[error(
        "{place} is not a model: it holds no model_index.json and no files of weights. Give the folder \
         that `save_pretrained` of a FLUX pipeline wrote, or one with a transformer's file, \
         ae.safetensors, text encoders and tokenizers"
    )]
    NotAModel {
        /// The folder.
        place: String,
    },
    /// A file that the layout requires is not there.
    #[error("the model in {place} is incomplete: {path} is missing")]
    MissingFile {
        /// The folder.
        place: String,
        /// Path inside it.
        path: String,
    },
    /// A model of single files that lacks some.
    #[error(
        "the model in {place} is incomplete. It lacks: {lacks}. Put that into the folder, or say under \
         `files` in its tintype.json where it lies (docs/models.md)"
    )]
    Incomplete {
        /// The folder, or the transformer's file.
        place: String,
        /// All that is lacking, and what was found instead.
        lacks: String,
    },
    /// A file or folder that is something else than it should be.
    #[error("{path} cannot be used: {reason}", path = path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not say what it should.
    #[error("{path} of the model in {place} cannot be used: {reason}")]
    BrokenFile {
        /// The folder.
        place: String,
        /// Path inside it.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A component's configuration or weights.
    #[error("the model's {component} cannot be loaded")]
    Component {
        /// `transformer`, `vae`, `text_encoder` or `text_encoder_2`.
        component: &'static str,
        /// Why.
        source: weights::Error,
    },
    /// Whoever watched a component load wants it no more.
    #[error("loading was stopped")]
    Stopped,
    /// A tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
    /// The scheduler's configuration.
    #[error(transparent)]
    Scheduler(#[from] schedule::Error),
    /// Components that do not belong together.
    #[error("the model's components do not fit together: {0}")]
    Mismatch(String),
    /// The request can never be run; the caller's fault.
    #[error("{0}")]
    Rejected(String),
    /// The model produced infinities or NaN.
    #[error(
        "the model {model} gave numbers that are not finite in step {step}; its weights may be damaged"
    )]
    NotFinite {
        /// The model's name.
        model: String,
        /// The step, from 1.
        step: usize,
    },
}

/// The type that a model's weights are held in, and its noise is drawn in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Weights as precise as they are stored; noise in f32.
    #[default]
    F32,
    /// Weights and noise rounded to bf16. Arithmetic stays in f32, so pictures are close to those
    /// of a pipeline in bf16, not equal to them.
    Bf16,
}

impl Precision {
    fn noise_type(self) -> NoiseType {
        match self {
            Self::F32 => NoiseType::F32,
            Self::Bf16 => NoiseType::Bf16,
        }
    }
}

/// How a model is loaded.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The type of weights and noise.
    pub precision: Precision,
    /// The folder where packed layers are kept, so that the next start neither reads the weights nor
    /// packs them; as large as the packed model. Trouble with it is a warning, never an error.
    pub packed_cache: Option<PathBuf>,
    /// Which components are held at a time. Pictures are the same.
    pub residency: Residency,
    /// A bound on the memory of the VAE's pictures; see [`crate::vae::Vae::within`].
    pub vae_memory_bytes: Option<usize>,
}

/// A model on one device. Its components are loaded as [`LoadOptions::residency`] says.
#[derive(Debug)]
pub struct Pipeline {
    device: Arc<dyn Device>,
    text_cache: TextCache,
    settings: Settings,
    scheduler: SchedulerConfig,
    clip_tokenizer: Tokenizer,
    t5_tokenizer: Tokenizer,
    vae_config: VaeConfig,
    geometry: Geometry,
    lora_targets: Targets,
    parts: Parts,
}

impl Pipeline {
    /// Loads a model onto a device, in f32.
    ///
    /// # Errors
    /// One clear [`Error`] for the first file, tensor or setting that is missing or wrong.
    pub fn open(files: &ModelFiles, device: Arc<dyn Device>) -> Result<Self, Error> {
        Self::open_in(Precision::F32, files, device)
    }

    /// Loads a model onto a device in the given precision.
    ///
    /// # Errors
    /// Those of [`Pipeline::open`].
    pub fn open_in(
        precision: Precision,
        files: &ModelFiles,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let options = LoadOptions {
            precision,
            ..LoadOptions::default()
        };
        Self::open_with(&options, files, device)
    }

    /// Loads a model onto a device as the options say.
    ///
    /// # Errors
    /// Those of [`Pipeline::open`].
    pub fn open_with(
        options: &LoadOptions,
        files: &ModelFiles,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let pipeline = Self::prepare(options, files, device)?;
        pipeline.load()?;
        Ok(pipeline)
    }

    /// Reads everything small and loads no weights: they come with [`Pipeline::load`], or with the first
    /// request that needs them.
    ///
    /// # Errors
    /// Those of [`Pipeline::open`] that are not about weights.
    pub fn prepare(
        options: &LoadOptions,
        files: &ModelFiles,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let plan = Plan::read(files)?;
        Ok(Self {
            text_cache: TextCache::default(),
            settings: plan.settings,
            scheduler: plan.scheduler,
            clip_tokenizer: plan.clip_tokenizer,
            t5_tokenizer: plan.t5_tokenizer,
            geometry: Geometry::new(plan.transformer, plan.t5, plan.vae.clone()),
            vae_config: plan.vae,
            lora_targets: plan.lora_targets,
            parts: Parts::new(files.clone(), options.clone(), device.clone()),
            device,
        })
    }

    /// Loads what is missing of a model that is held whole; of one that is not, nothing.
    ///
    /// # Errors
    /// Those of [`Pipeline::open`]; [`Error::Stopped`] if its watch says so.
    pub fn load(&self) -> Result<(), Error> {
        self.parts.load()
    }

    /// The same, its components held in another way.
    #[must_use]
    pub fn held(self, residency: Residency) -> Self {
        self.hold(residency);
        self
    }

    /// Has its components held in another way from now on; not while it draws. What may no more be in
    /// memory goes at once. Pictures are the same.
    pub fn hold(&self, residency: Residency) {
        self.parts.hold(residency);
    }

    /// The weights that it holds in memory now, of all that `footprint` counts.
    pub fn held_bytes(&self, footprint: &Footprint) -> u64 {
        self.parts.held_bytes(footprint)
    }

    /// How its components are held.
    pub fn residency(&self) -> Residency {
        self.parts.residency()
    }

    /// Has `watch` told of all loads from now on, instead of whoever was told before.
    pub fn watch_loads(&self, watch: Option<LoadWatch>) {
        self.parts.watch(watch);
    }

    /// What the model takes in memory, whether it is loaded or not.
    ///
    /// # Errors
    /// Those of [`Pipeline::load`], as far as the headers of the files show them.
    pub fn footprint(&self) -> Result<Footprint, Error> {
        self.parts.footprint(&self.geometry)
    }

    /// How often a component was loaded so far.
    pub fn loads(&self) -> u64 {
        self.parts.loads()
    }

    /// The same with another bound on what is kept of recent prompts; 0 keeps nothing. Pictures are the
    /// same.
    pub fn with_text_cache_bytes(self, bytes: usize) -> Self {
        Self {
            text_cache: TextCache::with_limit(bytes),
            ..self
        }
    }

    /// What was kept, and found again, of recent prompts.
    pub fn text_cache(&self) -> TextCacheStatistics {
        self.text_cache.statistics()
    }

    /// Reads a LoRA for this model; requests may then name it ([`Request::loras`]). The model itself need
    /// not be loaded.
    ///
    /// # Errors
    /// If it is none, or made for another model.
    pub fn open_lora(&self, path: &Path) -> Result<Lora, lora::Error> {
        Lora::open(path, &self.lora_targets, &*self.device)
    }

    /// What a LoRA takes in memory at most, by the headers of its file.
    ///
    /// # Errors
    /// Those of [`Pipeline::open_lora`], as far as the headers show them.
    pub fn measure_lora(&self, path: &Path) -> Result<usize, lora::Error> {
        Lora::measure(path, &self.lora_targets)
    }

    /// Whether a LoRA that was opened by a pipeline on the same device fits this model, too: models of
    /// one geometry share them.
    pub fn takes_lora(&self, lora: &Lora) -> bool {
        lora.is_for(&self.lora_targets)
    }

    /// The model's own defaults.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// Everything small, read and checked before the weights are touched.
struct Plan {
    settings: Settings,
    scheduler: SchedulerConfig,
    clip_tokenizer: Tokenizer,
    t5_tokenizer: Tokenizer,
    transformer: TransformerConfig,
    t5: T5Config,
    vae: VaeConfig,
    lora_targets: Targets,
}

impl Plan {
    fn read(files: &ModelFiles) -> Result<Self, Error> {
        if files.read("model_index.json")?.is_none() {
            return Err(Error::NotAModel {
                place: files.place(),
            });
        }
        let config = |component: &'static str| files.text(&format!("{component}/config.json"));
        let wrap = |component| {
            move |source: crate::config::Error| Error::Component {
                component,
                source: source.into(),
            }
        };
        let transformer =
            TransformerConfig::parse(&config("transformer")?).map_err(wrap("transformer"))?;
        let vae = VaeConfig::parse(&config("vae")?).map_err(wrap("vae"))?;
        let clip = ClipConfig::parse(&config("text_encoder")?).map_err(wrap("text_encoder"))?;
        let t5 = T5Config::parse(&config("text_encoder_2")?).map_err(wrap("text_encoder_2"))?;
        check_widths(&transformer, &vae, &clip, &t5)?;
        let scheduler =
            SchedulerConfig::from_json(&files.text("scheduler/scheduler_config.json")?)?;
        let token_pixels = (vae.downscale() * PATCH) as u32;
        let settings = Settings::load(files, &transformer, &scheduler, token_pixels)?;
        let clip_tokenizer = open_tokenizer(files, "tokenizer", Tokenizer::clip)?;
        let t5_tokenizer = open_tokenizer(files, "tokenizer_2", Tokenizer::t5)?;
        check_vocabulary("tokenizer", &clip_tokenizer, clip.vocab_size)?;
        check_vocabulary("tokenizer_2", &t5_tokenizer, t5.vocab_size)?;
        if clip_tokenizer.clip_length() > clip.max_position_embeddings {
            return Err(Error::Mismatch(format!(
                "tokenizer pads to {} tokens, text_encoder takes {}",
                clip_tokenizer.clip_length(),
                clip.max_position_embeddings
            )));
        }
        Ok(Self {
            settings,
            scheduler,
            clip_tokenizer,
            t5_tokenizer,
            lora_targets: Targets::of(&transformer, &clip),
            transformer,
            t5,
            vae,
        })
    }
}

fn open_tokenizer(
    files: &ModelFiles,
    folder: &str,
    open: impl Fn(tokenizer::Files<'_>) -> Result<Tokenizer, tokenizer::Error>,
) -> Result<Tokenizer, Error> {
    let read = |name: &str| files.read(&format!("{folder}/{name}"));
    Ok(open(tokenizer::Files {
        tokenizer_json: read("tokenizer.json")?.as_deref(),
        vocab_json: read("vocab.json")?.as_deref(),
        merges_txt: read("merges.txt")?.as_deref(),
        tokenizer_config_json: read("tokenizer_config.json")?.as_deref(),
    })?)
}

fn check_widths(
    transformer: &TransformerConfig,
    vae: &VaeConfig,
    clip: &ClipConfig,
    t5: &T5Config,
) -> Result<(), Error> {
    let token_channels = vae.latent_channels * PATCH * PATCH;
    let pairs = [
        (
            "transformer.in_channels",
            transformer.in_channels,
            "four times vae.latent_channels",
            token_channels,
        ),
        (
            "the transformer's output",
            transformer.output_features(),
            "its input",
            transformer.in_channels,
        ),
        (
            "transformer.joint_attention_dim",
            transformer.joint_attention_dim,
            "text_encoder_2.d_model",
            t5.d_model,
        ),
        (
            "transformer.pooled_projection_dim",
            transformer.pooled_projection_dim,
            "text_encoder.hidden_size",
            clip.hidden_size,
        ),
    ];
    match pairs.iter().find(|(_, a, _, b)| a != b) {
        Some((left, a, right, b)) => Err(Error::Mismatch(format!("{left} is {a}, {right} is {b}"))),
        None => Ok(()),
    }
}

fn check_vocabulary(folder: &str, tokenizer: &Tokenizer, vocab_size: usize) -> Result<(), Error> {
    match tokenizer.ids() {
        ids if ids > vocab_size => Err(Error::Mismatch(format!(
            "{folder} gives ids up to {}, its text encoder knows {vocab_size}",
            ids - 1
        ))),
        _ => Ok(()),
    }
}
