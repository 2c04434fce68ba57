//! A linear layer that low-rank adapters (Hu et al. 2021, LoRA) can be hung on: `y = W x + b + Σ B (s ∘ A x)`.
//!
//! The layer's own weight stays as it is packed, in whatever type; an adapter is two narrow layers beside
//! it. A copy of a layer, and so of a model, shares the weight: a model with adapters costs nothing but
//! their two products a layer, and those without run as if there were none such.

use std::sync::Arc;

use tintype_compute::{Device, Epilogue, Linear, Tensor};

use crate::lora::Applied;
use crate::weights::{
    Error,
    layers::{Loader, Width},
};

/// One linear layer, or several over one input that are computed as one.
#[derive(Clone, Debug)]
pub(crate) struct AdaptedLinear {
    base: Arc<Linear>,
    /// [`Target::key`]
    key: Arc<str>,
    adapters: Vec<Adapter>,
}

/// What a layer is, before it is loaded: all that an adapter has to know of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    /// diffusers' names of the layers that it consists of, in the order of their outputs.
    pub names: Vec<String>,
    /// Of each of them.
    pub width: Width,
}

/// The two narrow layers of one adapter, in the form of its device.
#[derive(Debug)]
pub(crate) struct LowRank {
    /// `A`: input to rank.
    pub down: Linear,
    /// `B`: rank to output.
    pub up: Linear,
    /// `(rank)`: what stands between them, the adapter's own `alpha / rank`.
    pub scales: Vec<f32>,
}

/// An adapter at a weight.
#[derive(Clone, Debug)]
struct Adapter {
    low_rank: Arc<LowRank>,
    /// `s`, the weight included.
    scales: Vec<f32>,
}

impl AdaptedLinear {
    /// `torch.nn.Linear` with a bias, or several as one ([`Loader::joined`]).
    pub fn load(loader: &mut Loader<'_>, target: &Target) -> Result<Self, Error> {
        Self::load_under("", loader, target)
    }

    /// The same from weights where all names have a prefix.
    pub fn load_under(
        prefix: &str,
        loader: &mut Loader<'_>,
        target: &Target,
    ) -> Result<Self, Error> {
        let names = target.names.iter().map(|name| format!("{prefix}{name}"));
        let names: Vec<String> = names.collect();
        Ok(Self {
            base: Arc::new(loader.joined(&names, target.width, true)?),
            key: target.key().into(),
            adapters: Vec::new(),
        })
    }

    /// Hangs those adapters on it that have a part for it, and takes off what hung there. At weight zero
    /// there is nothing to hang.
    pub fn adapt(&mut self, loras: &[Applied]) {
        self.adapters.clear();
        for Applied { lora, weight } in loras.iter().filter(|applied| applied.weight != 0.0) {
            if let Some(low_rank) = lora.part(&self.key) {
                self.adapters.push(Adapter {
                    low_rank: low_rank.clone(),
                    scales: low_rank.scales.iter().map(|s| s * weight).collect(),
                });
            }
        }
    }

    /// The layer over `(batch, rows, in)`, then its epilogue; see [`Device::linear`].
    pub fn run(&self, device: &dyn Device, x: &Tensor, epilogue: Epilogue<'_>) -> Tensor {
        self.run_concat(device, &[x], epilogue)
    }

    /// The layer over the features of all `inputs` side by side; see [`Device::linear_concat`].
    pub fn run_concat(
        &self,
        device: &dyn Device,
        inputs: &[&Tensor],
        epilogue: Epilogue<'_>,
    ) -> Tensor {
        match self.added(device, inputs) {
            None => device.linear_concat(&self.base, inputs, epilogue),
            Some(added) => device.linear_added(&self.base, inputs, &added, epilogue),
        }
    }

    /// What all adapters add, one after the other.
    fn added(&self, device: &dyn Device, inputs: &[&Tensor]) -> Option<Tensor> {
        let mut sum: Option<Tensor> = None;
        for Adapter { low_rank, scales } in &self.adapters {
            let mut inner = device.linear_concat(&low_rank.down, inputs, Epilogue::None);
            for row in inner.data_mut().chunks_exact_mut(scales.len()) {
                row.iter_mut().zip(scales).for_each(|(x, s)| *x *= s);
            }
            let epilogue = sum.as_ref().map_or(Epilogue::None, Epilogue::Residual);
            sum = Some(device.linear(&low_rank.up, &inner, epilogue));
        }
        sum
    }
}

impl Target {
    /// A single layer.
    pub fn new(name: impl Into<String>, width: Width) -> Self {
        Self {
            names: vec![name.into()],
            width,
        }
    }

    /// The layer as one word: by it an adapter's part is found.
    pub fn key(&self) -> &str {
        &self.names[0]
    }
}
