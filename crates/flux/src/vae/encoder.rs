//! Pictures to moments of latents (diffusers 0.42, vae.py `Encoder`).

use std::sync::Arc;

use tintype_compute::{Conv2d, ConvGeometry, Device, GroupNorm, Padding, Tensor};

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

/// Halves the sides. diffusers pads only below and on the right (`Downsample2D` with `padding=0`).
const HALVE: ConvGeometry = ConvGeometry {
    stride: 2,
    padding: Padding {
        top: 0,
        bottom: 1,
        left: 0,
        right: 1,
    },
    upsample: false,
};

/// The encoder.
#[derive(Debug)]
pub struct Encoder {
    device: Arc<dyn Device>,
    input: Conv2d,
    levels: Vec<Level>,
    mid: MidBlock,
    norm: GroupNorm,
    output: Conv2d,
}

/// Residual blocks, then the step to the next level (`DownEncoderBlock2D`).
#[derive(Debug)]
struct Level {
    resnets: Resnets,
    downsample: Option<Conv2d>,
}

impl Encoder {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        config: &VaeConfig,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let input = Width {
            input: config.in_channels,
            output: first,
        };
        let output = Width {
            input: last,
            output: 2 * config.latent_channels,
        };
        let groups = config.norm_num_groups;
        Ok(Self {
            input: loader.conv("encoder.conv_in", input, 3, SAME)?,
            levels: (0..channels.len())
                .map(|index| Level::load(loader, config, index, &device))
                .collect::<Result<_, _>>()?,
            mid: MidBlock::load(loader, config, "encoder.mid_block", last, &device)?,
            norm: loader.group_norm("encoder.conv_norm_out", last, groups, EPS)?,
            output: loader.conv("encoder.conv_out", output, 3, SAME)?,
            device,
        })
    }

    /// `(batch, height, width, in_channels)` to `(batch, height / f, width / f, 2 * latent_channels)`.
    pub fn forward(&self, pictures: &Tensor) -> Tensor {
        self.forward_within(pictures, Memory::UNBOUNDED)
    }

    pub(super) fn forward_within(&self, pictures: &Tensor, memory: Memory) -> Tensor {
        let mut x = self.device.conv2d(&self.input, pictures, None);
        for level in &self.levels {
            x = self.run_level(level, x, memory);
        }
        x = self.mid.forward(&x);
        norm_and_convolve(&*self.device, &self.norm, &self.output, &x)
    }

    /// One level alone (diffusers: `encoder.down_blocks[index]`).
    pub fn forward_level(&self, index: usize, input: &Tensor) -> Tensor {
        self.run_level(&self.levels[index], input.clone(), Memory::UNBOUNDED)
    }

    fn run_level(&self, level: &Level, input: Tensor, memory: Memory) -> Tensor {
        let x = level.resnets.forward(input, None, memory);
        match &level.downsample {
            Some(downsample) => self.device.conv2d(downsample, &x, None),
            None => x,
        }
    }

    /// The innermost level, for tests that look inside.
    pub fn mid(&self) -> &MidBlock {
        &self.mid
    }
}

impl Level {
    fn load(
        loader: &mut Loader<'_>,
        config: &VaeConfig,
        index: usize,
        device: &Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let channels = &config.block_out_channels;
        let output = channels[index];
        let name = format!("encoder.down_blocks.{index}");
        let width = Width {
            input: channels[index.saturating_sub(1)],
            output,
        };
        let resnets = Resnets::load(
            loader,
            config,
            &name,
            width,
            config.layers_per_block,
            device,
        )?;
        let square = Width {
            input: output,
            output,
        };
        let downsample = match index + 1 == channels.len() {
            true => None,
            false => {
                let name = format!("{name}.downsamplers.0.conv");
                Some(loader.conv(&name, square, 3, HALVE)?)
            }
        };
        Ok(Self {
            resnets,
            downsample,
        })
    }
}
