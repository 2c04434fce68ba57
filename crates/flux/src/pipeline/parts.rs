//! A pipeline's components: loaded when they are asked for, and dropped when others need the memory.
//!
//! How many are held at a time is a matter of memory alone ([`Residency`]): a component computes the same
//! bits whenever it was loaded.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tintype_compute::Device;

use crate::clip::ClipTextEncoder;
use crate::mmdit::Mmdit;
use crate::t5::T5Encoder;
use crate::vae::Vae;
use crate::weights::{self, Meter, TakenBytes, Weights};

use super::footprint::{Footprint, Geometry};
use super::{Error, LoadOptions, ModelFiles, Precision};

/// Which of a model's components are in memory at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Residency {
    /// All of them, all the time.
    #[default]
    Resident,
    /// Text encoders, or transformer and VAE: the first are loaded for a prompt that is not among the
    /// recent ones, and go before the others come.
    TextApart,
    /// Text encoders, transformer or VAE. There are no previews: they take the VAE.
    OneByOne,
}

impl Residency {
    /// All of them, the one that takes most memory first.
    pub const ALL: [Self; 3] = [Self::Resident, Self::TextApart, Self::OneByOne];
}

impl fmt::Display for Residency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resident => "all of it stays in memory",
            Self::TextApart => "the text encoders are loaded for new prompts, apart from the rest",
            Self::OneByOne => "text encoders, transformer and VAE are loaded one at a time",
        })
    }
}

/// A component that is being loaded, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loading {
    /// `transformer`, `vae`, `text_encoder` or `text_encoder_2`.
    pub component: &'static str,
    /// Bytes of its weights that were taken, and of all of them.
    pub bytes: TakenBytes,
}

/// Is told of every tensor that is loaded; [`ControlFlow::Break`] stops the load, which then fails with
/// [`Error::Stopped`] and leaves nothing half loaded.
pub type LoadWatch = Arc<dyn Fn(Loading) -> ControlFlow<()> + Send + Sync>;

/// Both text encoders: no prompt needs only one.
#[derive(Debug)]
pub(super) struct TextEncoders {
    pub clip: ClipTextEncoder,
    pub t5: T5Encoder,
}

/// The components, each in memory or not.
pub(super) struct Parts {
    files: ModelFiles,
    options: LoadOptions,
    /// At the moment.
    residency: Mutex<Residency>,
    device: Arc<dyn Device>,
    watch: Mutex<Option<LoadWatch>>,
    loads: AtomicU64,
    text: Slot<TextEncoders>,
    mmdit: Slot<Mmdit>,
    vae: Slot<Vae>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("options", &self.options)
            .field("residency", &self.residency())
            .field("text", &self.text.is_loaded())
            .field("transformer", &self.mmdit.is_loaded())
            .field("vae", &self.vae.is_loaded())
            .finish()
    }
}

impl Parts {
    /// Nothing is loaded yet.
    pub fn new(files: ModelFiles, options: LoadOptions, device: Arc<dyn Device>) -> Self {
        Self {
            files,
            residency: Mutex::new(options.residency),
            options,
            device,
            watch: Mutex::default(),
            loads: AtomicU64::new(0),
            text: Slot::default(),
            mmdit: Slot::default(),
            vae: Slot::default(),
        }
    }

    pub fn precision(&self) -> Precision {
        self.options.precision
    }

    /// Between two requests. What may no more be in memory goes at once; what may be there again comes when
    /// it is needed.
    pub fn hold(&self, residency: Residency) {
        *lock(&self.residency) = residency;
        match residency {
            Residency::Resident => {}
            Residency::TextApart => self.text.drop_it(),
            Residency::OneByOne => self.keep_only(None),
        }
    }

    pub fn residency(&self) -> Residency {
        *lock(&self.residency)
    }

    /// The weights in memory now, of all that the footprint counts.
    pub fn held_bytes(&self, footprint: &Footprint) -> u64 {
        let of = |loaded: bool, bytes: u64| if loaded { bytes } else { 0 };
        of(self.text.is_loaded(), footprint.text_bytes)
            + of(self.mmdit.is_loaded(), footprint.transformer_bytes)
            + of(self.vae.is_loaded(), footprint.vae_bytes)
    }

    /// Lets go of all components but one.
    fn keep_only(&self, wanted: Option<Component>) {
        if wanted != Some(Component::Text) {
            self.text.drop_it();
        }
        if wanted != Some(Component::Transformer) {
            self.mmdit.drop_it();
        }
        if wanted != Some(Component::Vae) {
            self.vae.drop_it();
        }
    }

    /// Components that were loaded so far, each time they were.
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// From now on this one is told of loads.
    pub fn watch(&self, watch: Option<LoadWatch>) {
        *lock(&self.watch) = watch;
    }

    /// Loads everything, if everything is held at a time.
    pub fn load(&self) -> Result<(), Error> {
        if self.residency() == Residency::Resident {
            self.text()?;
            self.mmdit()?;
            self.vae()?;
        }
        Ok(())
    }

    /// What they will take, by the headers of their files. A component that could not be loaded is an
    /// error here already, unless its tensors hold wrong values.
    pub fn footprint(&self, geometry: &Geometry) -> Result<Footprint, Error> {
        let device = || self.device.clone();
        let clip = self.measure("text_encoder", |config, weights| {
            ClipTextEncoder::load(config, weights, device()).map(drop)
        })?;
        let t5 = self.measure("text_encoder_2", |config, weights| {
            T5Encoder::load(config, weights, device()).map(drop)
        })?;
        Ok(Footprint {
            text_bytes: clip + t5,
            transformer_bytes: self.measure("transformer", |config, weights| {
                Mmdit::load(config, weights, device()).map(drop)
            })?,
            vae_bytes: self.measure("vae", |config, weights| {
                Vae::load(config, weights, device()).map(drop)
            })?,
            convolution_bytes: geometry.convolution_bytes(&*self.device),
            geometry: geometry.clone(),
            vae_memory_bytes: self.options.vae_memory_bytes,
        })
    }

    fn measure(
        &self,
        component: &'static str,
        load: impl FnOnce(&str, Weights) -> Result<(), weights::Error>,
    ) -> Result<u64, Error> {
        let config = self.files.text(&format!("{component}/config.json"))?;
        let meter = Meter::new();
        let weights = self.stored(component)?.metered(&meter);
        load(&config, weights).map_err(|source| Error::Component { component, source })?;
        Ok(meter.bytes())
    }

    /// The text encoders. Where they are held apart, [`Self::prompts_are_read`] lets go of them.
    pub fn text(&self) -> Result<Arc<TextEncoders>, Error> {
        match self.residency() {
            Residency::Resident => {}
            Residency::TextApart => self.mmdit.drop_it(),
            Residency::OneByOne => self.keep_only(Some(Component::Text)),
        }
        self.text.get(|| {
            let device = || self.device.clone();
            let clip = self.load_one("text_encoder", |config, weights| {
                ClipTextEncoder::load(config, weights, device())
            })?;
            let t5 = self.load_one("text_encoder_2", |config, weights| {
                T5Encoder::load(config, weights, device())
            })?;
            Ok(TextEncoders { clip, t5 })
        })
    }

    /// All prompts of a request are encoded.
    pub fn prompts_are_read(&self) {
        if self.residency() != Residency::Resident {
            self.text.drop_it();
        }
    }

    /// The transformer.
    pub fn mmdit(&self) -> Result<Arc<Mmdit>, Error> {
        match self.residency() {
            Residency::Resident => {}
            // A request that failed in the middle of its prompts may have left them.
            Residency::TextApart => self.text.drop_it(),
            Residency::OneByOne => self.keep_only(Some(Component::Transformer)),
        }
        self.mmdit.get(|| {
            self.load_one("transformer", |config, weights| {
                Mmdit::load(config, weights, self.device.clone())
            })
        })
    }

    /// The VAE.
    pub fn vae(&self) -> Result<Arc<Vae>, Error> {
        if self.residency() == Residency::OneByOne {
            self.keep_only(Some(Component::Vae));
        }
        self.vae.get(|| {
            let vae = self.load_one("vae", |config, weights| {
                Vae::load(config, weights, self.device.clone())
            })?;
            Ok(vae.within(self.options.vae_memory_bytes))
        })
    }

    /// The VAE for a preview: nothing where it would have to push the transformer out.
    pub fn vae_for_preview(&self) -> Option<Arc<Vae>> {
        match self.residency() {
            Residency::OneByOne => None,
            Residency::Resident | Residency::TextApart => self.vae().ok(),
        }
    }

    fn load_one<T>(
        &self,
        component: &'static str,
        load: impl FnOnce(&str, Weights) -> Result<T, weights::Error>,
    ) -> Result<T, Error> {
        // What earlier work left idle would stand beside the weights.
        self.device.release_idle();
        let config = self.files.text(&format!("{component}/config.json"))?;
        let loaded = load(&config, self.weights(component)?);
        let loaded = loaded.map_err(|source| match source {
            weights::Error::Stopped => Error::Stopped,
            source => Error::Component { component, source },
        })?;
        self.loads.fetch_add(1, Ordering::Relaxed);
        Ok(loaded)
    }

    fn stored(&self, component: &'static str) -> Result<Weights, Error> {
        let weights = self.files.weights(component)?;
        Ok(match self.precision() {
            Precision::F32 => weights,
            Precision::Bf16 => weights.rounded_to_bf16(),
        })
    }

    fn weights(&self, component: &'static str) -> Result<Weights, Error> {
        let mut weights = self.stored(component)?;
        if let Some(watch) = lock(&self.watch).clone() {
            weights = weights.watched(Arc::new(move |bytes| watch(Loading { component, bytes })));
        }
        if let Some(folder) = &self.options.packed_cache {
            weights = weights.with_packed_cache(folder, &*self.device);
        }
        Ok(weights)
    }
}

/// What is loaded and dropped as one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Component {
    Text,
    Transformer,
    Vae,
}

/// A component that is in memory or not. A run that uses one keeps it until it is done with it.
struct Slot<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Slot<T> {
    fn get(&self, load: impl FnOnce() -> Result<T, Error>) -> Result<Arc<T>, Error> {
        let mut held = lock(&self.0);
        if let Some(held) = &*held {
            return Ok(held.clone());
        }
        let loaded = Arc::new(load()?);
        *held = Some(loaded.clone());
        Ok(loaded)
    }

    fn drop_it(&self) {
        let held = lock(&self.0).take();
        drop(held);
    }

    fn is_loaded(&self) -> bool {
        lock(&self.0).is_some()
    }
}

/// Every change is one assignment: a panic leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
