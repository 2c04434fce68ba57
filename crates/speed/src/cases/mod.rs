//! What is measured: each module makes a [`Case`] of its arguments, which is then run again and again.

mod language;
mod models;
mod nano;
mod ops;
mod transformer;

use std::fmt;
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;
use tintype_compute::Tensor;

pub(crate) use language::{QWEN3, language};
pub(crate) use models::{text_encoder, vae_decode};
pub(crate) use nano::nano;
pub(crate) use ops::{attention, conv, linear};
pub(crate) use transformer::{block, step};

pub use language::LanguageArguments;
pub use models::{TextEncoderArguments, VaeArguments};
pub use nano::NanoArguments;
pub use ops::{AttentionArguments, ConvArguments, LinearArguments};
pub use transformer::{BlockArguments, StepArguments};

/// The parts of one run in their order, if it has parts.
pub(crate) type Stages = Vec<(&'static str, Duration)>;

/// Something that can be run, everything it needs being ready.
pub(crate) struct Case {
    /// What it is, in a word.
    pub(crate) what: &'static str,
    /// Its sizes, by the names of their arguments.
    pub(crate) facts: Vec<(&'static str, Value)>,
    /// Multiplications and additions of the matrix products of one run.
    pub(crate) flops: Option<f64>,
    /// Tokens of one run, and the bytes of weights that they are multiplied with.
    pub(crate) tokens: Option<(usize, usize)>,
    pub(crate) run: Box<dyn FnMut() -> anyhow::Result<Stages>>,
}

impl Case {
    pub(crate) fn new(
        what: &'static str,
        run: impl FnMut() -> anyhow::Result<Stages> + 'static,
    ) -> Self {
        Self {
            what,
            facts: Vec::new(),
            flops: None,
            tokens: None,
            run: Box::new(run),
        }
    }

    pub(crate) fn fact(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.facts.push((name, value.into()));
        self
    }

    pub(crate) fn flops(mut self, flops: f64) -> Self {
        self.flops = Some(flops);
        self
    }

    pub(crate) fn tokens(mut self, tokens: usize, weight_bytes: usize) -> Self {
        self.tokens = Some((tokens, weight_bytes));
        self
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("what", &self.what)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// Sizes at most: products of three of them stay far from overflowing.
const MAX_SIZE: usize = 1 << 20;

/// Refuses sizes that are no sizes.
fn check_sizes(sizes: &[(&str, usize)]) -> anyhow::Result<()> {
    match sizes
        .iter()
        .find(|(_, size)| !(1..=MAX_SIZE).contains(size))
    {
        Some((name, size)) => bail!("--{name} is {size}; it must be between 1 and {MAX_SIZE}"),
        None => Ok(()),
    }
}

/// Blocks of a measured model at most: FLUX.1's transformer has 57.
const MAX_BLOCKS: usize = 64;

/// Refuses results with infinities or NaN among a few of their values: times of such are of no use,
/// and to look at all of them would be part of what is measured.
fn check_finite(result: &Tensor) -> anyhow::Result<Stages> {
    const EVERY: usize = 997;
    if result
        .data()
        .iter()
        .step_by(EVERY)
        .any(|value| !value.is_finite())
    {
        bail!("the result is not finite; this is a bug of the device, or of the random weights");
    }
    Ok(Vec::new())
}

/// Multiplications and additions of one product: `rows` times `inputs` times `outputs`.
fn product_flops(rows: usize, inputs: usize, outputs: usize) -> f64 {
    2.0 * rows as f64 * inputs as f64 * outputs as f64
}

/// Those of self-attention: scores, then their sum over the values; `width` is that of all heads.
fn attention_flops(tokens: usize, width: usize) -> f64 {
    4.0 * tokens as f64 * tokens as f64 * width as f64
}
