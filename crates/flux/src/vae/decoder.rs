//! Latents to pictures (diffusers 0.42, vae.py `Decoder`).

use std::sync::Arc;

use tintype_compute::{Conv2d, ConvGeometry, Device, GroupNorm, Tensor};

use super::{
    Memory, SAME, norm_and_convolve,
    parts::{EPS, MidBlock, Resnets},
};
use crate::{
    config::VaeConfig,
    weights::{
        Error,
        layers::{Loader, Width},
    },
};

/// Doubles the sides, each pixel becoming four, and convolves.
const DOUBLE: ConvGeometry = ConvGeometry {
    upsample: true,
    ..SAME
};

/// The decoder.
#[derive(Debug)]
pub struct Decoder {
    device: Arc<dyn Device>,
    input: Conv2d,
    mid: MidBlock,
    levels: Vec<Level>,
    norm: GroupNorm,
    output: Conv2d,
}

/// Residual blocks, then the step to the next level (`UpDecoderBlock2D`).
#[derive(Debug)]
struct Level {
    resnets: Resnets,
    upsample: Option<Conv2d>,
}

impl Decoder {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        config: &VaeConfig,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let input = Width {
            input: config.latent_channels,
            output: last,
        };
        let output = Width {
            input: first,
            output: config.out_channels,
        };
        let groups = config.norm_num_groups;
        Ok(Self {
            input: loader.conv("decoder.conv_in", input, 3, SAME)?,
            mid: MidBlock::load(loader, config, "decoder.mid_block", last, &device)?,
            levels: (0..channels.len())
                .map(|index| Level::load(loader, config, index, &device))
                .collect::<Result<_, _>>()?,
            norm: loader.group_norm("decoder.conv_norm_out", first, groups, EPS)?,
            output: loader.conv("decoder.conv_out", output, 3, SAME)?,
            device,
        })
    }

    /// `(batch, height, width, latent_channels)` to `(batch, height * f, width * f, out_channels)`.
    pub fn forward(&self, latents: &Tensor) -> Tensor {
        self.forward_within(latents, Memory::UNBOUNDED)
    }

    pub(super) fn forward_within(&self, latents: &Tensor, memory: Memory) -> Tensor {
        let device = &*self.device;
        let mut x = device.conv2d(&self.input, latents, None);
        x = self.mid.forward(&x);
        let mut upsample = None;
        for level in &self.levels {
            x = level.resnets.forward(x, upsample, memory);
            upsample = level.upsample.as_ref();
        }
        norm_and_convolve(device, &self.norm, &self.output, &x)
    }

    /// One level alone (diffusers: `decoder.up_blocks[index]`).
    pub fn forward_level(&self, index: usize, input: &Tensor) -> Tensor {
        let level = &self.levels[index];
        let resnets = &level.resnets;
        let x = resnets.forward(input.clone(), None, Memory::UNBOUNDED);
        match &level.upsample {
            Some(upsample) => self.device.conv2d(upsample, &x, None),
            None => x,
        }
    }

    /// The innermost level, for tests that look inside.
    pub fn mid(&self) -> &MidBlock {
        &self.mid
    }
}

impl Level {
    /// `index` counts from the innermost level, whose channels come last in the configuration.
    fn load(
        loader: &mut Loader<'_>,
        config: &VaeConfig,
        index: usize,
        device: &Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let channels: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let output = channels[index];
        let name = format!("decoder.up_blocks.{index}");
        let width = Width {
            input: channels[index.saturating_sub(1)],
            output,
        };
        // One more than in the encoder.
        let count = config.layers_per_block + 1;
        let resnets = Resnets::load(loader, config, &name, width, count, device)?;
        let square = Width {
            input: output,
            output,
        };
        let upsample = match index + 1 == channels.len() {
            true => None,
            false => {
                let name = format!("{name}.upsamplers.0.conv");
                Some(loader.conv(&name, square, 3, DOUBLE)?)
            }
        };
        Ok(Self { resnets, upsample })
    }
}
