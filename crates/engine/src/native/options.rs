//! Which model, on which device.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use tintype_compute::{CpuDevice, CpuOptions, Device, Isa, ReferenceDevice, WeightFormat};
use tintype_flux::pipeline::{LoadOptions, ModelFiles, Precision};
use tintype_flux::sources::Inspection;

use super::{MemoryLimit, StartError};

/// Where a model comes from. Parsed from what a user says: `nano`, or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// The model that ships inside the program.
    Nano,
    /// A folder in diffusers layout.
    Directory(PathBuf),
}

impl FromStr for ModelSource {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(match name {
            tintype_nano::NAME => Self::Nano,
            folder => Self::Directory(folder.into()),
        })
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nano => f.write_str(tintype_nano::NAME),
            Self::Directory(path) => path.display().fmt(f),
        }
    }
}

impl ModelSource {
    /// What it is and what it would take in memory; nothing but headers is read.
    ///
    /// # Errors
    /// It cannot be read, or is no part of a model.
    pub fn inspect(&self) -> Result<Inspection, StartError> {
        Ok(match self {
            Self::Nano => Inspection::of_embedded(&tintype_nano::model())?,
            Self::Directory(path) => Inspection::of(path)?,
        })
    }

    pub(super) fn files(&self) -> Result<ModelFiles, StartError> {
        match self {
            Self::Nano => Ok(tintype_nano::model()),
            Self::Directory(path) if path.exists() => Ok(ModelFiles::open(path)?),
            Self::Directory(path) => Err(StartError::UnknownModel(path.display().to_string())),
        }
    }
}

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// The fastest device that this machine has.
    #[default]
    Auto,
    /// Plain loops: slow, readable, the oracle of the others.
    Reference,
    /// The processor's vector units.
    Cpu,
}

/// The type that weights are held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// As precise as they are stored.
    #[default]
    F32,
    /// Rounded to bf16; arithmetic stays in f32.
    Bf16,
}

impl Dtype {
    pub(super) fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

/// How to compute.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceOptions {
    /// What computes.
    pub device: DeviceKind,
    /// Threads; 0 means as many as the machine has. Their number changes no picture.
    pub threads: usize,
    /// The type that weights are held in.
    pub dtype: Dtype,
    /// The processor's instruction set; `None` means the fastest that it has.
    pub isa: Option<Isa>,
    /// How the processor's device packs weights.
    pub weights: WeightFormat,
    /// Megabytes that the VAE's pictures may take; it works in strips where they would take more, to the
    /// same bits. `None` bounds nothing.
    pub vae_memory_mb: Option<u32>,
    /// Whether each thread is tied to a core of its own (see [`CpuOptions::pin`]).
    pub pin: bool,
    /// The folder where packed weights are kept from start to start (see [`LoadOptions::packed_cache`]).
    pub packed_cache: Option<PathBuf>,
    /// The folder in which LoRAs are looked up by their names.
    pub lora_folder: Option<PathBuf>,
    /// How much memory models may take together.
    pub memory: MemoryLimit,
}

impl DeviceOptions {
    fn vae_memory_bytes(&self) -> Option<usize> {
        self.vae_memory_mb
            .map(|megabytes| (megabytes as usize) << 20)
    }

    pub(super) fn load_options(&self) -> LoadOptions {
        LoadOptions {
            precision: self.dtype.precision(),
            packed_cache: self.packed_cache.clone(),
            vae_memory_bytes: self.vae_memory_bytes(),
            ..LoadOptions::default()
        }
    }

    /// A device that packs as this one does and computes nothing: it has no threads of its own.
    ///
    /// # Errors
    /// [`StartError::Isa`].
    pub fn measuring(&self) -> Result<Arc<dyn Device>, StartError> {
        let alone = Self {
            threads: 1,
            pin: false,
            ..self.clone()
        };
        alone.open()
    }

    /// A device of its own.
    ///
    /// # Errors
    /// [`StartError::Isa`].
    pub fn open(&self) -> Result<Arc<dyn Device>, StartError> {
        Ok(match self.device {
            DeviceKind::Auto | DeviceKind::Cpu => Arc::new(CpuDevice::with_options(CpuOptions {
                threads: self.threads,
                isa: self.isa,
                weights: self.weights,
                pin: self.pin,
            })?),
            DeviceKind::Reference => Arc::new(ReferenceDevice),
        })
    }
}
