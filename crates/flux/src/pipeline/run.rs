//! The sampler: one request on its way from noise to pictures.

use std::sync::Arc;
use std::time::Instant;

use image::RgbImage;
use tintype_compute::{RopeTable, Tensor};

use crate::latents::{self, PATCH, Role};
use crate::lora::{self, Applied};
use crate::mmdit::{Condition, Mmdit};
use crate::picture;
use crate::schedule::euler_step;
use crate::size::Size;
use crate::vae::Vae;

use super::request::Resolved;
use super::text_cache::{Encoded, TextKind};
use super::{Error, Item, Pipeline, Request, start};

/// Seconds spent in each stage.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StageSeconds {
    /// Text encoders, and what the transformer computes from the prompts once.
    pub text: f64,
    /// Encoding of the references.
    pub encode: f64,
    /// All denoising steps.
    pub denoise: f64,
    /// Decoding.
    pub decode: f64,
}

/// What a run ends with.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The pictures of each item of the request, item by item.
    pub pictures: Vec<RgbImage>,
    /// Where the time went.
    pub seconds: StageSeconds,
}

/// A request between two denoising steps.
#[derive(Debug)]
pub struct Run<'a> {
    pipeline: &'a Pipeline,
    /// The pipeline's own, or one that has the request's LoRAs.
    mmdit: Arc<Mmdit>,
    size: Size,
    /// One for each step, and a final 0.
    sigmas: Vec<f32>,
    done: usize,
    /// (batch, tokens, 4 * channels)
    latents: Tensor,
    /// That of the latest step: (batch, tokens, 4 * channels)
    velocity: Option<Tensor>,
    /// (batch, reference tokens, 4 * channels)
    reference: Option<Tensor>,
    rope: RopeTable,
    positive: Guide,
    /// The prompt to steer away from, and how strongly.
    negative: Option<(Guide, f32)>,
    seconds: StageSeconds,
}

/// What a prompt makes of the transformer, computed once for all steps.
#[derive(Debug)]
struct Guide {
    /// (batch, text tokens, hidden)
    text: Tensor,
    /// One for each step.
    conditions: Vec<Condition>,
}

/// How prompts are read.
#[derive(Clone, Copy)]
struct Reading<'a> {
    /// T5 tokens.
    tokens: usize,
    loras: &'a [Applied],
}

impl Pipeline {
    /// Prepares a request: encodes prompts and references, draws the noise.
    ///
    /// # Errors
    /// [`Error::Rejected`] if the request can never be run.
    pub fn start(&self, request: &Request) -> Result<Run<'_>, Error> {
        let resolved = request.resolve(&self.settings)?;
        let mut seconds = StageSeconds::default();
        let started = Instant::now();
        let reference_sizes = self.reference_sizes(request)?;
        let reference = self.encode_references(request, &reference_sizes)?;
        let grid = self.grid(request.size);
        let sigmas = self.sigmas(grid, resolved);
        let latents = self.first_latents(request, grid, sigmas[0])?;
        seconds.encode = started.elapsed().as_secs_f64();

        let started = Instant::now();
        let prompts: Vec<&str> = request.items.iter().map(|i| i.prompt.as_str()).collect();
        let prompts = repeated(&prompts, request.pictures_each);
        // All prompts are read before the transformer comes: both need not be in memory together.
        let reading = Reading {
            tokens: resolved.max_sequence_length,
            loras: &request.loras,
        };
        let positive = self.read(&prompts, reading)?;
        let negative = if resolved.true_cfg > 1.0 {
            let text = request.negative_prompt.as_deref().unwrap_or("");
            Some(self.read(&vec![text; prompts.len()], reading)?)
        } else {
            None
        };
        self.parts.prompts_are_read();
        let mut mmdit = self.parts.mmdit()?;
        if !request.loras.is_empty() {
            mmdit = Arc::new(mmdit.adapted(&request.loras));
        }
        let guide = |encoded| guide(&mmdit, &encoded, &sigmas, resolved);
        let positive = guide(positive);
        let negative = negative.map(|encoded| (guide(encoded), resolved.true_cfg));
        seconds.text = started.elapsed().as_secs_f64();

        let text_ids = latents::text_ids(resolved.max_sequence_length);
        let mut image_ids = latents::image_ids(Role::Target, grid.rows, grid.columns);
        for (index, &size) in reference_sizes.iter().enumerate() {
            let (grid, role) = (self.grid(size), Role::Reference(index));
            image_ids.extend(latents::image_ids(role, grid.rows, grid.columns));
        }
        Ok(Run {
            pipeline: self,
            size: request.size,
            latents,
            velocity: None,
            reference,
            rope: mmdit.rope(&text_ids, &image_ids),
            mmdit,
            sigmas,
            done: 0,
            positive,
            negative,
            seconds,
        })
    }

    /// The noise levels of the steps that are made, and a final 0.
    fn sigmas(&self, grid: Grid, resolved: Resolved) -> Vec<f32> {
        let scheduler = match resolved.shift {
            Some(shift) => &self.scheduler.with_shift(shift),
            None => &self.scheduler,
        };
        let mut sigmas = scheduler.sigmas(resolved.steps as usize, grid.rows * grid.columns);
        sigmas.drain(..resolved.skipped());
        sigmas
    }

    /// The sizes that the first references, the second ones … are brought to.
    pub(super) fn reference_sizes(&self, request: &Request) -> Result<Vec<Size>, Error> {
        let size = |index| self.reference_size(request, index);
        (0..request.references_each()).map(size).collect()
    }

    /// The size that all items' references of this number are brought to.
    fn reference_size(&self, request: &Request, index: usize) -> Result<Size, Error> {
        let native = self.settings.native;
        let size_of = |item: &Item| {
            let (width, height) = item.references[index].dimensions();
            Size::new(width, height)
        };
        let first = size_of(&request.items[0]);
        if request.resize_reference {
            // As in diffusers, the first reference of a batch decides.
            return Ok(native.bucket_of(first));
        }
        let size = native.round_down(first);
        let mut sizes = request.items.iter().map(size_of);
        if sizes.any(|other| native.round_down(other) != size) {
            return Err(Error::Rejected(
                "the references of a batch that are not resized must be of one size".to_owned(),
            ));
        }
        if size.area() > super::MAX_PIXELS {
            return Err(Error::Rejected(format!(
                "the reference of {first} pixels is too large to be used as it is: at most {} pixels; \
                 let it be resized",
                super::MAX_PIXELS
            )));
        }
        Ok(size)
    }

    /// The references' tokens, one reference after the other: (batch, reference tokens, 4 * channels).
    fn encode_references(
        &self,
        request: &Request,
        sizes: &[Size],
    ) -> Result<Option<Tensor>, Error> {
        if sizes.is_empty() {
            return Ok(None);
        }
        let vae = self.parts.vae()?;
        let encoded = sizes.iter().enumerate().map(|(index, &size)| {
            let references = request.items.iter().map(|item| &item.references[index]);
            let pictures: Vec<_> = references.map(|p| picture::resize(p, size)).collect();
            let latents = vae.encode(&picture::to_tensor(&pictures)).mean;
            let tokens = latents::pack(&start::scaled(&vae, latents));
            start::repeat_samples(&tokens, request.pictures_each)
        });
        let encoded: Vec<Tensor> = encoded.collect();
        let parts: Vec<&Tensor> = encoded.iter().collect();
        Ok(Some(Tensor::concat_sequence(&parts)))
    }

    /// What both text encoders make of the prompts.
    fn read(&self, prompts: &[&str], reading: Reading<'_>) -> Result<Encoded, Error> {
        let kind = TextKind {
            tokens: reading.tokens,
            loras: lora::text_variant(reading.loras),
        };
        self.text_cache
            .look_up(prompts, &kind, |prompts| self.encode(prompts, reading))
    }

    /// What both text encoders make of each prompt.
    fn encode(&self, prompts: &[&str], reading: Reading<'_>) -> Result<Vec<Encoded>, Error> {
        let Reading { tokens, loras } = reading;
        let t5_ids = encode_all(prompts, |text| self.t5_tokenizer.encode(text, tokens))?;
        let encoders = self.parts.text()?;
        let text = encoders.t5.forward(&t5_ids, prompts.len());
        let length = self.clip_tokenizer.clip_length();
        let clip_ids = encode_all(prompts, |text| self.clip_tokenizer.encode(text, length))?;
        let clip = encoders.clip.adapted(loras);
        let pooled = clip.forward_pooled(&clip_ids, prompts.len());
        let one = |tensor: &Tensor, sample| {
            let mut shape = tensor.shape().to_vec();
            shape[0] = 1;
            Tensor::from_vec(shape, tensor.sample(sample).to_vec())
        };
        let encoded = (0..prompts.len()).map(|sample| Encoded {
            text: one(&text, sample),
            pooled: one(&pooled, sample),
        });
        Ok(encoded.collect())
    }

    /// How many tokens a picture has each way.
    pub(super) fn grid(&self, size: Size) -> Grid {
        let token_pixels = self.vae_config.downscale() * PATCH;
        Grid {
            rows: size.height as usize / token_pixels,
            columns: size.width as usize / token_pixels,
        }
    }
}

/// All that depends on prompt and step alone.
fn guide(mmdit: &Mmdit, encoded: &Encoded, sigmas: &[f32], resolved: Resolved) -> Guide {
    // diffusers hands the transformer (1000 sigma) / 1000, in f32.
    let timesteps: Vec<f32> = sigmas[..sigmas.len() - 1]
        .iter()
        .map(|sigma| sigma * 1000.0 / 1000.0)
        .collect();
    Guide {
        text: mmdit.embed_text(&encoded.text),
        conditions: mmdit.conditions(&timesteps, Some(resolved.guidance), &encoded.pooled),
    }
}

/// Tokens of a picture each way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub rows: usize,
    pub columns: usize,
}

/// Each of them several times, one after the other.
fn repeated<T: Copy>(items: &[T], times: usize) -> Vec<T> {
    let repeated = items
        .iter()
        .flat_map(|&item| std::iter::repeat_n(item, times));
    repeated.collect()
}

/// The ids of all prompts, one after the other.
fn encode_all<E>(
    prompts: &[&str],
    encode: impl Fn(&str) -> Result<Vec<u32>, E>,
) -> Result<Vec<u32>, E> {
    let ids: Result<Vec<Vec<u32>>, E> = prompts.iter().map(|text| encode(text)).collect();
    Ok(ids?.concat())
}

impl Run<'_> {
    /// Denoising steps in all.
    pub fn steps(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// Denoising steps that are done.
    pub fn steps_done(&self) -> usize {
        self.done
    }

    /// Whether all steps are done.
    pub fn is_done(&self) -> bool {
        self.done == self.steps()
    }

    /// The noise levels: one for each step, and a final 0.
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// The latents as they are now: `(batch, tokens, 4 * channels)`.
    pub fn latents(&self) -> &Tensor {
        &self.latents
    }

    /// Where the latest step went: `(batch, tokens, 4 * channels)`; nothing before the first.
    pub fn latest_velocity(&self) -> Option<&Tensor> {
        self.velocity.as_ref()
    }

    /// The references' tokens: `(batch, reference tokens, 4 * channels)`.
    pub fn reference(&self) -> Option<&Tensor> {
        self.reference.as_ref()
    }

    /// Makes one denoising step; nothing if all are done.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if the model's numbers overflow.
    pub fn step(&mut self) -> Result<(), Error> {
        if self.is_done() {
            return Ok(());
        }
        let started = Instant::now();
        // The last one's memory serves this step.
        self.velocity = None;
        let velocity = self.velocity();
        let [sigma, next] = [self.sigmas[self.done], self.sigmas[self.done + 1]];
        euler_step(self.latents.data_mut(), velocity.data(), sigma, next);
        self.velocity = Some(velocity);
        self.done += 1;
        self.seconds.denoise += started.elapsed().as_secs_f64();
        if self.latents.data().iter().all(|value| value.is_finite()) {
            Ok(())
        } else {
            Err(Error::NotFinite {
                model: self.pipeline.settings.name.clone(),
                step: self.done,
            })
        }
    }

    /// The velocity at the current latents: (batch, tokens, 4 * channels).
    fn velocity(&self) -> Tensor {
        let mut velocity = self.ask(&self.positive);
        if let Some((guide, scale)) = &self.negative {
            let away = self.ask(guide);
            for (value, away) in velocity.data_mut().iter_mut().zip(away.data()) {
                *value = away + scale * (*value - away);
            }
        }
        velocity
    }

    fn ask(&self, guide: &Guide) -> Tensor {
        let mmdit = &self.mmdit;
        let condition = &guide.conditions[self.done];
        match &self.reference {
            None => mmdit.denoise(&self.latents, &guide.text, condition, &self.rope),
            Some(reference) => {
                let tokens = Tensor::concat_sequence(&[&self.latents, reference]);
                mmdit
                    .denoise(&tokens, &guide.text, condition, &self.rope)
                    .narrow_sequence(0, self.latents.dim(1))
            }
        }
    }

    /// Decodes the latents as they are: `(batch, height, width, 3)` around [-1, 1].
    ///
    /// # Errors
    /// Those of loading the VAE, where it is not there.
    pub fn decode(&self) -> Result<Tensor, Error> {
        let vae = self.pipeline.parts.vae()?;
        Ok(decode_cells(&vae, self.to_cells(&self.latents)))
    }

    /// Pixels of a latent cell each way.
    pub(super) fn cell_pixels(&self) -> usize {
        self.pipeline.vae_config.downscale()
    }

    /// The VAE, where it is held beside the transformer.
    pub(super) fn vae_for_preview(&self) -> Option<Arc<Vae>> {
        self.pipeline.parts.vae_for_preview()
    }

    /// Tokens as the VAE sees them: (batch, height / f, width / f, channels).
    pub(super) fn to_cells(&self, tokens: &Tensor) -> Tensor {
        let grid = self.pipeline.grid(self.size);
        latents::unpack(tokens, grid.rows * PATCH, grid.columns * PATCH)
    }

    /// Decodes the pictures.
    ///
    /// # Errors
    /// [`Error::Rejected`] if steps are left; those of loading the VAE, where it is not there.
    pub fn finish(self) -> Result<Finished, Error> {
        if !self.is_done() {
            return Err(Error::Rejected(format!(
                "the run has {} steps left",
                self.steps() - self.done
            )));
        }
        let started = Instant::now();
        let cells = self.to_cells(&self.latents);
        let (parts, mut seconds) = (&self.pipeline.parts, self.seconds);
        // The VAE may need the transformer's place.
        drop(self);
        let vae = parts.vae()?;
        // One by one: a batch has the same bits and takes many times the memory.
        let pictures = (0..cells.dim(0))
            .flat_map(|index| {
                picture::from_tensor(&decode_cells(&vae, start::sample(&cells, index)))
            })
            .collect();
        seconds.decode = started.elapsed().as_secs_f64();
        Ok(Finished { pictures, seconds })
    }
}

/// Decodes (batch, height / f, width / f, channels), scaled as the transformer has them.
pub(super) fn decode_cells(vae: &Vae, mut cells: Tensor) -> Tensor {
    for value in cells.data_mut() {
        *value = *value / vae.scaling_factor + vae.shift_factor;
    }
    vae.decode(&cells)
}
