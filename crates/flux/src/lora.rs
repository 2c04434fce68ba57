//! LoRAs: small files that change what a model draws (Hu et al. 2021), under the names of diffusers, PEFT,
//! Kohya, Black Forest Labs and XLabs.
//!
//! `Lora::open` reads a file against the layers of one model and packs it for that model's device. A
//! request names those that it wants ([`Applied`]); they are applied on the fly, so that the next request
//! may have others at no cost. A file that does not fit, or holds more than plain LoRAs, is one error.

mod file;
mod metadata;
mod names;
mod packing;
mod summary;

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tintype_compute::Device;

use crate::{
    adapted::{LowRank, Target},
    clip,
    config::{ClipConfig, TransformerConfig},
    mmdit,
    weights::{self, Weights},
};

pub use summary::Summary;

/// Ranks at most: a third of FLUX.1's width. What is larger is no small file any more, and a sign that
/// the file is not what it says.
pub const MAX_RANK: usize = 1024;

/// The weight of a LoRA at most, up and down. Useful ones are below two; those that are made as sliders go
/// to ten.
pub const MAX_WEIGHT: f32 = 20.0;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error(transparent)]
    Weights(#[from] weights::Error),
    /// It holds nothing.
    #[error("{file} holds no tensors: it is no LoRA")]
    Empty {
        /// The file.
        file: String,
    },
    /// A tensor is not what it should be.
    #[error("{file}: `{tensor}` {reason}")]
    Tensor {
        /// The file.
        file: String,
        /// Its name there.
        tensor: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
}

/// One LoRA, ready to be applied to one model on one device.
pub struct Lora {
    name: String,
    id: u64,
    /// What it was opened for.
    targets: Targets,
    /// By [`Target::key`].
    parts: HashMap<String, Arc<LowRank>>,
    changes_text: bool,
    bytes: usize,
}

/// A LoRA and how much of it.
#[derive(Clone, Debug)]
pub struct Applied {
    /// Which one.
    pub lora: Arc<Lora>,
    /// 1 as it was trained, 0 not at all, below 0 away from it; at most [`MAX_WEIGHT`] up and down.
    pub weight: f32,
}

/// The layers of a model that LoRAs are applied to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Targets {
    transformer: Vec<Target>,
    clip: Vec<Target>,
}

impl Targets {
    /// Those of a model of these configurations.
    pub fn of(transformer: &TransformerConfig, clip: &ClipConfig) -> Self {
        Self {
            transformer: mmdit::targets(transformer),
            clip: clip::targets(clip),
        }
    }
}

impl Lora {
    /// Reads a safetensors file for a model of these layers; the file's stem is its name.
    ///
    /// # Errors
    /// [`Error`] for the first tensor that does not fit.
    pub(crate) fn open(path: &Path, targets: &Targets, device: &dyn Device) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let weights = Weights::open(path)?;
        let packed = packing::pack(weights, targets, device)?;
        let stem = path.file_stem().unwrap_or_default();
        let is_clip = |target: &Target| packed.parts.contains_key(target.key());
        Ok(Self {
            name: stem.to_string_lossy().into_owned(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            changes_text: targets.clip.iter().any(is_clip),
            targets: targets.clone(),
            parts: packed.parts,
            bytes: packed.bytes,
        })
    }

    /// What [`Lora::open`] would keep in memory, at most; no matrix is read.
    ///
    /// # Errors
    /// [`Error`] for the first tensor that does not fit.
    pub(crate) fn measure(path: &Path, targets: &Targets) -> Result<usize, Error> {
        packing::measure(Weights::open(path)?, targets)
    }

    /// The same for a transformer alone, for measurements.
    ///
    /// # Errors
    /// [`Error`] for the first tensor that does not fit.
    pub fn open_for_transformer(
        path: &Path,
        config: &TransformerConfig,
        device: &dyn Device,
    ) -> Result<Self, Error> {
        let targets = Targets {
            transformer: mmdit::targets(config),
            clip: Vec::new(),
        };
        Self::open(path, &targets, device)
    }

    /// The file's name without its ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of memory that it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Layers that it changes; queries, keys and values count as one.
    pub fn layers(&self) -> usize {
        self.parts.len()
    }

    /// Whether it was opened for a model of these layers.
    pub(crate) fn is_for(&self, targets: &Targets) -> bool {
        self.targets == *targets
    }

    /// What it has for the layer of this [`Target::key`].
    pub(crate) fn part(&self, key: &str) -> Option<&Arc<LowRank>> {
        self.parts.get(key)
    }
}

impl fmt::Debug for Lora {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lora({}, {} layers)", self.name, self.parts.len())
    }
}

/// What of these LoRAs changes the text encoder, and how: what it makes of a prompt is the same where this
/// is the same.
pub(crate) fn text_variant(loras: &[Applied]) -> Vec<(u64, u32)> {
    let counts = |applied: &&Applied| applied.lora.changes_text && applied.weight != 0.0;
    let marks = loras.iter().filter(counts);
    marks.map(|a| (a.lora.id, a.weight.to_bits())).collect()
}
