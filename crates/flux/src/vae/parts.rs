//! What encoder and decoder are made of (diffusers 0.42: resnet.py `ResnetBlock2D`,
//! unet_2d_blocks.py `UNetMidBlock2D`, attention_processor.py `Attention`).

use std::sync::Arc;

use tintype_compute::{
    Activation, Attention, Conv2d, Device, Epilogue, GroupNorm, Linear, Mask, Segment, Tensor,
};

use super::{POINT, SAME};
use crate::{
    config::VaeConfig,
    weights::{
        Error,
        layers::{Loader, Width},
    },
};

/// `eps` of every group norm of the model.
pub(super) const EPS: f32 = 1e-6;

/// Two convolutions, each after a group norm and SiLU, added to the input.
#[derive(Debug)]
pub struct Resnet {
    device: Arc<dyn Device>,
    norms: [GroupNorm; 2],
    convs: [Conv2d; 2],
    /// Brings the input to the output's channels, if they differ.
    shortcut: Option<Conv2d>,
}

impl Resnet {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        config: &VaeConfig,
        name: &str,
        width: Width,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let groups = config.norm_num_groups;
        let Width { input, output } = width;
        let square = Width {
            input: output,
            output,
        };
        Ok(Self {
            device,
            norms: [
                loader.group_norm(&format!("{name}.norm1"), input, groups, EPS)?,
                loader.group_norm(&format!("{name}.norm2"), output, groups, EPS)?,
            ],
            convs: [
                loader.conv(&format!("{name}.conv1"), width, 3, SAME)?,
                loader.conv(&format!("{name}.conv2"), square, 3, SAME)?,
            ],
            shortcut: match input == output {
                true => None,
                false => Some(loader.conv(&format!("{name}.conv_shortcut"), width, 1, POINT)?),
            },
        })
    }

    /// `(batch, height, width, input)` to `(batch, height, width, output)`.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        let device = &*self.device;
        let silu = Some(Activation::Silu);
        let x = device.group_norm(input, &self.norms[0], silu);
        let x = device.conv2d(&self.convs[0], &x, None);
        let x = device.group_norm(&x, &self.norms[1], silu);
        match &self.shortcut {
            Some(shortcut) => {
                let residual = device.conv2d(shortcut, input, None);
                device.conv2d(&self.convs[1], &x, Some(&residual))
            }
            None => device.conv2d(&self.convs[1], &x, Some(input)),
        }
    }
}

/// The residual blocks of a level, one after the other; the first changes the channels.
#[derive(Debug)]
pub(super) struct Resnets {
    first: Resnet,
    rest: Vec<Resnet>,
}

impl Resnets {
    /// `count` blocks, at least one, named `level.resnets.0` and so on.
    pub fn load(
        loader: &mut Loader<'_>,
        config: &VaeConfig,
        level: &str,
        width: Width,
        count: usize,
        device: &Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let mut load = |index: usize, width: Width| {
            let name = format!("{level}.resnets.{index}");
            Resnet::load(loader, config, &name, width, device.clone())
        };
        let square = Width {
            input: width.output,
            output: width.output,
        };
        Ok(Self {
            first: load(0, width)?,
            rest: (1..count)
                .map(|index| load(index, square))
                .collect::<Result<_, _>>()?,
        })
    }

    pub fn forward(&self, input: &Tensor) -> Tensor {
        let first = self.first.forward(input);
        self.rest.iter().fold(first, |x, resnet| resnet.forward(&x))
    }
}

/// One head of attention over all pixels, added to the input.
#[derive(Debug)]
pub struct SpatialAttention {
    device: Arc<dyn Device>,
    norm: GroupNorm,
    qkv: Linear,
    output: Linear,
}

impl SpatialAttention {
    fn load(
        loader: &mut Loader<'_>,
        config: &VaeConfig,
        name: &str,
        channels: usize,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let square = Width {
            input: channels,
            output: channels,
        };
        let qkv = ["q", "k", "v"].map(|part| format!("{name}.to_{part}"));
        let groups = config.norm_num_groups;
        Ok(Self {
            device,
            norm: loader.group_norm(&format!("{name}.group_norm"), channels, groups, EPS)?,
            qkv: loader.joined(&qkv, square, true)?,
            output: loader.linear(&format!("{name}.to_out.0"), square)?,
        })
    }

    /// `(batch, height, width, channels)` in and out.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        let device = &*self.device;
        let [batch, height, width, channels] = input.rank4();
        let sequence = [batch, height * width, channels];
        let normal = device.group_norm(input, &self.norm, None).reshape(sequence);
        let qkv = device.linear(&self.qkv, &normal, Epilogue::None);
        let attended = device.attention(&Attention {
            segments: &[Segment {
                qkv: &qkv,
                norm: None,
            }],
            heads: 1,
            scale: 1.0 / (channels as f32).sqrt(),
            rope: None,
            mask: Mask::None,
        });
        let residual = input.clone().reshape(sequence);
        let epilogue = Epilogue::Residual(&residual);
        let output = device.linear(&self.output, &attended[0], epilogue);
        output.reshape([batch, height, width, channels])
    }
}

/// The innermost level: a residual block, attention (if the model has it), a residual block.
#[derive(Debug)]
pub struct MidBlock {
    first: Resnet,
    attention: Option<SpatialAttention>,
    second: Resnet,
}

impl MidBlock {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        config: &VaeConfig,
        name: &str,
        channels: usize,
        device: &Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let width = Width {
            input: channels,
            output: channels,
        };
        let resnet = |loader: &mut Loader<'_>, index: usize| {
            let name = format!("{name}.resnets.{index}");
            Resnet::load(loader, config, &name, width, device.clone())
        };
        let first = resnet(loader, 0)?;
        let attention = match config.mid_block_add_attention {
            true => {
                let name = format!("{name}.attentions.0");
                let device = device.clone();
                Some(SpatialAttention::load(
                    loader, config, &name, channels, device,
                )?)
            }
            false => None,
        };
        let second = resnet(loader, 1)?;
        Ok(Self {
            first,
            attention,
            second,
        })
    }

    /// `(batch, height, width, channels)` in and out.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        let mut x = self.first.forward(input);
        if let Some(attention) = &self.attention {
            x = attention.forward(&x);
        }
        self.second.forward(&x)
    }
}
