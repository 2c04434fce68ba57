//! Where the sampler starts: noise, or a picture with noise on it.

use tintype_compute::Tensor;

use crate::latents::{self, PATCH};
use crate::noise::Generator;
use crate::picture;
use crate::vae::Vae;

use super::run::Grid;
use super::{Error, Item, Pipeline, Request};

impl Pipeline {
    /// Every picture's latents before the first step, packed: (batch, tokens, 4 * channels).
    ///
    /// An item's generator draws as diffusers' does: with a picture to start from, the noise of its
    /// latents first (`retrieve_latents` samples the VAE's posterior); then that of all pictures of
    /// the item in one draw.
    pub(super) fn first_latents(
        &self,
        request: &Request,
        grid: Grid,
        sigma: f32,
    ) -> Result<Tensor, Error> {
        let channels = self.vae_config.latent_channels;
        let (height, width) = (grid.rows * PATCH, grid.columns * PATCH);
        let (each, plane) = (request.pictures_each, channels * height * width);
        let mut tokens = Vec::with_capacity(request.batch() * plane);
        for item in &request.items {
            let mut generator = Generator::new(item.seed);
            let start = self.start_tokens(request, item, &mut generator)?;
            let noise = generator.normal(each * plane, self.parts.precision().noise_type());
            for noise in noise.chunks_exact(plane) {
                let mut noise = latents::pack_planes(noise, channels, height, width);
                if let Some(start) = &start {
                    mix(&mut noise, start.data(), sigma);
                }
                tokens.extend(noise);
            }
        }
        let shape = [
            request.batch(),
            grid.rows * grid.columns,
            channels * PATCH * PATCH,
        ];
        // In the device's workspace: what the steps cut from it and join to it stays there.
        let mut latents = self.device.tensor(&shape);
        latents.data_mut().copy_from_slice(&tokens);
        Ok(latents)
    }

    /// The tokens of the picture that an item starts from: (1, tokens, 4 * channels).
    fn start_tokens(
        &self,
        request: &Request,
        item: &Item,
        generator: &mut Generator,
    ) -> Result<Option<Tensor>, Error> {
        let Some(start) = &item.start else {
            return Ok(None);
        };
        let resized = picture::resize(start, request.size);
        let vae = self.parts.vae()?;
        let posterior = vae.encode(&picture::to_tensor(&[resized]));
        let [_, height, width, channels] = posterior.mean.rank4();
        let noise = generator.normal(
            channels * height * width,
            self.parts.precision().noise_type(),
        );
        let sample = posterior.sample(&from_planes(&noise, channels, height, width));
        Ok(Some(latents::pack(&scaled(&vae, sample))))
    }
}

/// Noise in torch's order, `(channels, height, width)`, as `(1, height, width, channels)`.
fn from_planes(noise: &[f32], channels: usize, height: usize, width: usize) -> Tensor {
    let plane = height * width;
    let pixels = (0..plane).flat_map(|pixel| (0..channels).map(move |c| noise[c * plane + pixel]));
    Tensor::from_vec([1, height, width, channels], pixels.collect())
}

/// `scale_noise` of `FlowMatchEulerDiscreteScheduler`, in place of the noise.
fn mix(noise: &mut [f32], start: &[f32], sigma: f32) {
    for (noise, start) in noise.iter_mut().zip(start) {
        *noise = sigma * *noise + (1.0 - sigma) * start;
    }
}

/// Latents as the transformer has them.
pub(super) fn scaled(vae: &Vae, mut latents: Tensor) -> Tensor {
    for value in latents.data_mut() {
        *value = (*value - vae.shift_factor) * vae.scaling_factor;
    }
    latents
}

/// One sample of a batch, as a batch of one.
pub(super) fn sample(batch: &Tensor, index: usize) -> Tensor {
    let mut shape = batch.shape().to_vec();
    shape[0] = 1;
    Tensor::from_vec(shape, batch.sample(index).to_vec())
}

/// Each sample several times, one after the other.
pub(super) fn repeat_samples(batch: &Tensor, times: usize) -> Tensor {
    let samples = (0..batch.dim(0)).map(|index| batch.sample(index).repeat(times));
    let mut shape = batch.shape().to_vec();
    shape[0] *= times;
    Tensor::from_vec(shape, samples.collect::<Vec<_>>().concat())
}
