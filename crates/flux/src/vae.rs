//! The VAE between pictures and latents (diffusers 0.42, autoencoder_kl.py and vae.py).
//!
//! Pictures and latents are `(batch, height, width, channels)` throughout; PyTorch's `(batch, channels,
//! height, width)` exists only in the weight files.

mod decoder;
mod encoder;
mod parts;
mod strips;

use std::sync::Arc;

use tintype_compute::{
    Activation, Conv2d, ConvGeometry, Device, GroupNorm, GroupSums, Padding, Strip, Tensor,
};

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use parts::{MidBlock, Resnet, SpatialAttention};

use crate::{
    config::VaeConfig,
    weights::{
        Error, Weights,
        layers::{Loader, Width},
    },
};

/// An `AutoencoderKL`, ready to run on one device.
#[derive(Debug)]
pub struct Vae {
    /// What latents are multiplied by before diffusion: `(latent - shift_factor) * scaling_factor`.
    pub scaling_factor: f32,
    /// What is subtracted from latents before they are scaled.
    pub shift_factor: f32,
    config: VaeConfig,
    device: Arc<dyn Device>,
    encoder: Encoder,
    decoder: Decoder,
    quant: Option<Conv2d>,
    post_quant: Option<Conv2d>,
    memory: Memory,
}

/// What the encoder knows of latents: a normal distribution for each value.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// The most probable latents: `(batch, height / f, width / f, latent_channels)`.
    pub mean: Tensor,
    /// The logarithm of the variance, as the encoder gives it: of the same shape.
    pub log_variance: Tensor,
}

impl Posterior {
    /// The latents that standard normal noise of the same shape stands for
    /// (`DiagonalGaussianDistribution.sample` of diffusers).
    ///
    /// # Panics
    /// If there are fewer noise values than latents.
    pub fn sample(&self, noise: &Tensor) -> Tensor {
        assert_eq!(noise.shape(), self.mean.shape(), "this is a bug");
        let moments = self.mean.data().iter().zip(self.log_variance.data());
        let sample = moments
            .zip(noise.data())
            .map(|((mean, log_variance), noise)| {
                let deviation = (0.5 * log_variance.clamp(-30.0, 20.0)).exp();
                mean + deviation * noise
            });
        Tensor::from_vec(self.mean.shape(), sample.collect())
    }
}

/// What the pictures between the layers may take together.
#[derive(Clone, Copy, Debug)]
struct Memory {
    bytes: usize,
}

impl Memory {
    const UNBOUNDED: Self = Self { bytes: usize::MAX };
}

/// A 3 × 3 convolution that keeps the size.
const SAME: ConvGeometry = ConvGeometry {
    stride: 1,
    padding: Padding::all(1),
    upsample: false,
};

/// A 1 × 1 convolution.
const POINT: ConvGeometry = ConvGeometry {
    stride: 1,
    padding: Padding::all(0),
    upsample: false,
};

impl Vae {
    /// Builds the autoencoder that `config_json` describes and takes all of `weights`.
    pub fn load(
        config_json: &str,
        mut weights: Weights,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let config = VaeConfig::parse(config_json)?;
        let mut loader = Loader {
            weights: &mut weights,
            device: &*device,
        };
        let point = |loader: &mut Loader<'_>, name: &str, channels, wanted| {
            let width = Width {
                input: channels,
                output: channels,
            };
            match wanted {
                true => loader.conv(name, width, 1, POINT).map(Some),
                false => Ok(None),
            }
        };
        let latent = config.latent_channels;
        let quant = point(&mut loader, "quant_conv", 2 * latent, config.use_quant_conv)?;
        let post_quant = point(
            &mut loader,
            "post_quant_conv",
            latent,
            config.use_post_quant_conv,
        )?;
        let encoder = Encoder::load(&mut loader, &config, device.clone())?;
        let decoder = Decoder::load(&mut loader, &config, device.clone())?;
        weights.finish()?;
        Ok(Self {
            scaling_factor: config.scaling_factor,
            shift_factor: config.shift_factor.unwrap_or(0.0),
            config,
            device,
            encoder,
            decoder,
            quant,
            post_quant,
            memory: Memory::UNBOUNDED,
        })
    }

    /// The same, with a bound on the memory of the pictures between its layers. Levels that would take
    /// more are computed in strips: to the same bits, in about twice the time, with little more than
    /// the level's input and output in memory. That is the least; a smaller bound is not an error.
    /// Weights and the threads' buffers come on top. Without a bound nothing is computed twice.
    #[must_use]
    pub fn within(mut self, memory_bytes: Option<usize>) -> Self {
        self.memory = memory_bytes.map_or(Memory::UNBOUNDED, |bytes| Memory { bytes });
        self
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The encoder, for tests that look inside.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The decoder, for tests that look inside.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// What latents of pictures in -1..1 are like, `(batch, height, width, 3)`, whose sides are
    /// multiples of [`VaeConfig::downscale`]. Neither shifted nor scaled.
    pub fn encode(&self, pictures: &Tensor) -> Posterior {
        let mut moments = self.encoder.forward_within(pictures, self.memory);
        if let Some(quant) = &self.quant {
            moments = self.device.conv2d(quant, &moments, None);
        }
        // The first half of the channels is the mean, the second the logarithm of the variance.
        let [batch, height, width, channels] = moments.rank4();
        let latent = self.config.latent_channels;
        let part = |range: std::ops::Range<usize>| {
            let pixels = moments.data().chunks_exact(channels);
            let part = pixels.flat_map(|pixel| &pixel[range.clone()]);
            Tensor::from_vec([batch, height, width, latent], part.copied().collect())
        };
        Posterior {
            mean: part(0..latent),
            log_variance: part(latent..2 * latent),
        }
    }

    /// The pictures of latents that are neither shifted nor scaled, `(batch, height, width,
    /// latent_channels)`. Returns `(batch, height * f, width * f, 3)`, about -1..1 and not clamped.
    pub fn decode(&self, latents: &Tensor) -> Tensor {
        match &self.post_quant {
            Some(layer) => {
                let latents = self.device.conv2d(layer, latents, None);
                self.decoder.forward_within(&latents, self.memory)
            }
            None => self.decoder.forward_within(latents, self.memory),
        }
    }
}

/// A group norm with SiLU, applied to what the convolution reads.
fn norm_and_convolve(device: &dyn Device, norm: &GroupNorm, layer: &Conv2d, x: &Tensor) -> Tensor {
    let mut sums = GroupSums::new(x.dim(0), norm.groups);
    device.add_group_sums(&mut sums, x);
    let norm = sums.normalisation(norm, Some(Activation::Silu));
    strips::convolve(device, layer, Strip::whole(x), Some(&norm), 0..x.dim(1))
}

#[cfg(test)]
mod tests;
