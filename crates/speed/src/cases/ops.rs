//! Single ops.

use anyhow::bail;
use clap::{Args, ValueEnum};
use tintype_compute::{Activation, Attention, ConvGeometry, Epilogue, Mask, Padding, Segment};

use super::{Case, attention_flops, check_sizes, product_flops};
use crate::device::Chosen;
use crate::random::Random;

/// The command line of `bench linear`.
#[derive(Debug, Args)]
pub struct LinearArguments {
    /// Rows of the input.
    #[arg(long, value_name = "N", default_value_t = 1536)]
    rows: usize,
    /// Features of an input row.
    #[arg(long = "in", value_name = "N", default_value_t = 3072)]
    inputs: usize,
    /// Features of an output row.
    #[arg(long = "out", value_name = "N", default_value_t = 3072)]
    outputs: usize,
    /// What follows the product while it is in the cache.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = After::None)]
    epilogue: After,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum After {
    /// Nothing but the bias.
    None,
    /// The tanh approximation of GELU.
    Gelu,
    /// The sum with a residual.
    Residual,
}

/// A linear layer with a bias over a batch of one.
pub(crate) fn linear(what: &LinearArguments, chosen: &Chosen) -> anyhow::Result<Case> {
    let &LinearArguments {
        rows,
        inputs,
        outputs,
        epilogue,
    } = what;
    check_sizes(&[("rows", rows), ("in", inputs), ("out", outputs)])?;
    let mut random = Random::new();
    let device = chosen.device.clone();
    let weight = random.weight("weight", &[outputs, inputs]);
    let layer = device.pack_linear(&weight, Some(&random.weight("0.bias", &[outputs])));
    drop(weight);
    let x = random.tensor(&[1, rows, inputs]);
    let residual = random.tensor(&[1, rows, outputs]);
    let case = Case::new("linear", move || {
        let epilogue = match epilogue {
            After::None => Epilogue::None,
            After::Gelu => Epilogue::Activation(Activation::GeluTanh),
            After::Residual => Epilogue::Residual(&residual),
        };
        device.linear(&layer, &x, epilogue);
        Ok(Vec::new())
    });
    let epilogue = match epilogue {
        After::None => "none",
        After::Gelu => "gelu",
        After::Residual => "residual",
    };
    Ok(case
        .fact("rows", rows)
        .fact("in", inputs)
        .fact("out", outputs)
        .fact("epilogue", epilogue)
        .flops(product_flops(rows, inputs, outputs)))
}

/// The command line of `bench conv`.
#[derive(Debug, Args)]
pub struct ConvArguments {
    /// Channels of the input.
    #[arg(long, value_name = "N", default_value_t = 256)]
    channels: usize,
    /// Channels of the output [default: as many].
    #[arg(long, value_name = "N")]
    out_channels: Option<usize>,
    /// Height of the input in pixels.
    #[arg(long, value_name = "N", default_value_t = 256)]
    height: usize,
    /// Width of the input in pixels.
    #[arg(long, value_name = "N", default_value_t = 256)]
    width: usize,
    /// Double the input first, each pixel becoming four.
    #[arg(long)]
    upsample: bool,
}

/// A convolution of 3 × 3 that keeps the size, over a batch of one.
pub(crate) fn conv(what: &ConvArguments, chosen: &Chosen) -> anyhow::Result<Case> {
    let &ConvArguments {
        channels,
        height,
        width,
        upsample,
        ..
    } = what;
    let outputs = what.out_channels.unwrap_or(channels);
    check_sizes(&[("channels", channels), ("out-channels", outputs)])?;
    check_sizes(&[("height", height), ("width", width)])?;
    let geometry = ConvGeometry {
        stride: 1,
        padding: Padding::all(1),
        upsample,
    };
    let mut random = Random::new();
    let device = chosen.device.clone();
    let weight = random.weight("weight", &[outputs, channels, 3, 3]);
    let bias = random.weight("0.bias", &[outputs]);
    let layer = device.pack_conv2d(&weight, Some(&bias), geometry);
    drop(weight);
    let x = random.tensor(&[1, height, width, channels]);
    let pixels = height * width * if upsample { 4 } else { 1 };
    let case = Case::new("conv", move || {
        device.conv2d(&layer, &x, None);
        Ok(Vec::new())
    });
    Ok(case
        .fact("channels", channels)
        .fact("out_channels", outputs)
        .fact("height", height)
        .fact("width", width)
        .fact("upsample", upsample)
        .flops(product_flops(pixels, 9 * channels, outputs)))
}

/// The command line of `bench attention`.
#[derive(Debug, Args)]
pub struct AttentionArguments {
    /// Heads.
    #[arg(long, value_name = "N", default_value_t = 24)]
    heads: usize,
    /// Features of a head.
    #[arg(long, value_name = "N", default_value_t = 128)]
    head_dim: usize,
    /// Tokens of the sequence.
    #[arg(long, value_name = "N", default_value_t = 1536)]
    tokens: usize,
}

/// Self-attention over one sequence, without norm, rotation and mask.
pub(crate) fn attention(what: &AttentionArguments, chosen: &Chosen) -> anyhow::Result<Case> {
    let &AttentionArguments {
        heads,
        head_dim,
        tokens,
    } = what;
    check_sizes(&[("heads", heads), ("head-dim", head_dim), ("tokens", tokens)])?;
    if !head_dim.is_multiple_of(2) {
        bail!("--head-dim is {head_dim}; it must be even");
    }
    let device = chosen.device.clone();
    // As a linear layer over weights of bf16 leaves it.
    let qkv = Random::new().tensor(&[1, tokens, 3 * heads * head_dim]);
    let qkv = qkv.into_coarse();
    let case = Case::new("attention", move || {
        device.attention(&Attention {
            segments: &[Segment {
                qkv: &qkv,
                norm: None,
            }],
            heads,
            scale: 1.0 / (head_dim as f32).sqrt(),
            rope: None,
            mask: Mask::None,
        });
        Ok(Vec::new())
    });
    Ok(case
        .fact("heads", heads)
        .fact("head_dim", head_dim)
        .fact("tokens", tokens)
        .flops(attention_flops(tokens, heads * head_dim)))
}
