//! What encoder and decoder are made of (diffusers 0.42: resnet.py `ResnetBlock2D`,
//! unet_2d_blocks.py `UNetMidBlock2D`, attention_processor.py `Attention`).

use std::{ops::Range, sync::Arc};

use tintype_compute::{
    Activation, Attention, Conv2d, Convolution, Device, Epilogue, GroupNorm, GroupSums, Linear,
    Mask, Normalisation, Segment, Strip, Target, Tensor,
};

use super::{
    Memory, POINT, SAME,
    strips::{self, Overwritten, Picture, Rows},
};
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
    pub fn forward(&self, input: Tensor) -> Tensor {
        let device = &*self.device;
        let norm = self.normalisation(0, &input);
        let height = input.dim(1);
        let hidden = strips::convolve(
            device,
            &self.convs[0],
            Strip::whole(&input),
            Some(&norm),
            0..height,
        );
        let norm = self.normalisation(1, &hidden);
        let mut output = match &self.shortcut {
            Some(shortcut) => device.conv2d(shortcut, &input, None),
            None => input,
        };
        self.add_second(Strip::whole(&hidden), &norm, 0..height, &mut output);
        output
    }

    /// Strip by strip, into a picture of its own. The bits are those of [`Self::forward`].
    pub(super) fn forward_strips(&self, input: Picture<'_>) -> Tensor {
        let device = &*self.device;
        let [batch, height, width, _] = input.shape();
        let rows_of = |rows| input.rows(device, rows);
        let norms = self.norms_by_strips(input, &rows_of);
        let mut output = device.tensor(&[batch, height, width, self.convs[1].out_channels()]);
        for rows in strips::strips(height) {
            let (x, hidden) = self.first_by_strips(&norms[0], height, &rows, &rows_of);
            match &self.shortcut {
                Some(layer) => {
                    let convolution = Convolution {
                        layer,
                        input: x.strip(height),
                        norm: None,
                        rows: rows.clone(),
                    };
                    let target = Target {
                        tensor: &mut output,
                        first_row: 0,
                        add: false,
                    };
                    device.convolve(&convolution, target);
                }
                None => x.copy_to(&mut output, rows.clone()),
            }
            self.add_second(hidden.strip(height), &norms[1], rows, &mut output);
        }
        output
    }

    /// Strip by strip, in place of the input.
    ///
    /// # Panics
    /// If the block changes the channels.
    pub(super) fn forward_in_place(&self, picture: &mut Tensor) {
        assert!(self.shortcut.is_none(), "this is a bug");
        let device = &*self.device;
        let height = picture.dim(1);
        let input = Picture {
            stored: picture,
            upsample: None,
        };
        let norms = self.norms_by_strips(input, &|rows| input.rows(device, rows));
        let mut picture = Overwritten::new(picture);
        for rows in strips::strips(height) {
            let rows_of = |rows| picture.rows(device, rows);
            let (_, hidden) = self.first_by_strips(&norms[0], height, &rows, &rows_of);
            picture.give_up(device, rows.end);
            self.add_second(hidden.strip(height), &norms[1], rows, picture.picture);
        }
    }

    /// Whether the channels change.
    pub(super) fn has_shortcut(&self) -> bool {
        self.shortcut.is_some()
    }

    fn normalisation(&self, index: usize, picture: &Tensor) -> Normalisation {
        let mut sums = GroupSums::new(picture.dim(0), self.norms[index].groups);
        self.device.add_group_sums(&mut sums, picture);
        sums.normalisation(&self.norms[index], Some(Activation::Silu))
    }

    /// Both norms of a picture whose rows are asked for, without keeping any.
    fn norms_by_strips(
        &self,
        input: Picture<'_>,
        rows_of: &dyn Fn(Range<usize>) -> Tensor,
    ) -> [Normalisation; 2] {
        let device = &*self.device;
        let [batch, height, _, _] = input.shape();
        let mut sums = self
            .norms
            .each_ref()
            .map(|norm| GroupSums::new(batch, norm.groups));
        match input.upsample {
            None => device.add_group_sums(&mut sums[0], input.stored),
            Some(_) => strips::strips(height)
                .for_each(|rows| device.add_group_sums(&mut sums[0], &rows_of(rows))),
        }
        let silu = Some(Activation::Silu);
        let first = sums[0].normalisation(&self.norms[0], silu);
        for rows in strips::strips(height) {
            let x = Rows::new(&self.convs[0], &rows, height, rows_of);
            let (layer, x) = (&self.convs[0], x.strip(height));
            let hidden = strips::convolve(device, layer, x, Some(&first), rows);
            device.add_group_sums(&mut sums[1], &hidden);
        }
        let second = sums[1].normalisation(&self.norms[1], silu);
        [first, second]
    }

    /// What the second convolution needs for `rows`: the input's rows and the first's output.
    fn first_by_strips(
        &self,
        norm: &Normalisation,
        height: usize,
        rows: &Range<usize>,
        rows_of: &dyn Fn(Range<usize>) -> Tensor,
    ) -> (Rows, Rows) {
        let needed = strips::whole_steps(self.convs[1].input_rows(rows, height), height);
        let x = Rows::new(&self.convs[0], &needed, height, rows_of);
        let (device, layer) = (&*self.device, &self.convs[0]);
        let hidden = strips::convolve(device, layer, x.strip(height), Some(norm), needed.clone());
        let hidden = Rows {
            tensor: hidden,
            first: needed.start,
        };
        (x, hidden)
    }

    fn add_second(
        &self,
        input: Strip<'_>,
        norm: &Normalisation,
        rows: Range<usize>,
        output: &mut Tensor,
    ) {
        let convolution = Convolution {
            layer: &self.convs[1],
            input,
            norm: Some(norm),
            rows,
        };
        let target = Target {
            tensor: output,
            first_row: 0,
            add: true,
        };
        self.device.convolve(&convolution, target);
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

    /// All blocks over `stored`, doubled first by `upsample`; whole if that takes no more than `memory`.
    pub fn forward(&self, mut stored: Tensor, upsample: Option<&Conv2d>, memory: Memory) -> Tensor {
        let device = &*self.first.device;
        let input = Picture {
            stored: &stored,
            upsample,
        };
        if self.whole_bytes(input) <= memory.bytes {
            if let Some(layer) = upsample {
                stored = device.conv2d(layer, &stored, None);
            }
            let first = self.first.forward(stored);
            return self.rest.iter().fold(first, |x, resnet| resnet.forward(x));
        }
        if upsample.is_some() || self.first.has_shortcut() {
            stored = self.first.forward_strips(input);
        } else {
            self.first.forward_in_place(&mut stored);
        }
        for resnet in &self.rest {
            resnet.forward_in_place(&mut stored);
        }
        stored
    }

    /// What the pictures take while all of them are whole: the input, and what lies between the two
    /// convolutions of a block; while it is doubled, the input besides.
    fn whole_bytes(&self, input: Picture<'_>) -> usize {
        let [batch, height, width, channels] = input.shape();
        let outputs = self.first.convs[1].out_channels();
        let first = channels
            + if self.first.has_shortcut() {
                2 * outputs
            } else {
                outputs
            };
        let pixels = batch * height * width;
        let doubling = input.stored.data().len() + pixels * channels;
        doubling.max(pixels * first.max(2 * outputs)) * size_of::<f32>()
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
        let mut x = self.first.forward(input.clone());
        if let Some(attention) = &self.attention {
            x = attention.forward(&x);
        }
        self.second.forward(x)
    }
}
