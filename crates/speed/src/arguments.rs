//! The command line: one word for each thing that is measured.

use std::io;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::cases::{self, Case};
use crate::clock::Clock;
use crate::device::DeviceArguments;
use crate::measure::{Patience, Summary, on_request};
use crate::report;

/// What is measured, on random weights.
#[derive(Debug, Subcommand)]
pub enum SpeedCommand {
    /// Measure a linear layer.
    Linear(Measured<cases::LinearArguments>),
    /// Measure a convolution of 3 × 3.
    Conv(Measured<cases::ConvArguments>),
    /// Measure self-attention without a mask.
    Attention(Measured<cases::AttentionArguments>),
    /// Measure a transformer block.
    Block(Measured<cases::BlockArguments>),
    /// Measure decoding latents to a picture.
    VaeDecode(Measured<cases::VaeArguments>),
    /// Measure a T5 encoder.
    TextEncoder(Measured<cases::TextEncoderArguments>),
    /// Measure one denoising step of a transformer with a few blocks.
    Step(Measured<cases::StepArguments>),
    /// Measure a language model: reading a prompt, or one word of the answer.
    Language(Measured<cases::LanguageArguments>),
    /// Measure the bundled model, from the prompt to a PNG, and the share of each stage.
    Nano(Measured<cases::NanoArguments>),
}

/// What every measurement takes beside its own `what`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Measured<T: Args> {
    #[command(flatten)]
    what: T,
    #[command(flatten)]
    device: DeviceArguments,
    /// Runs that count, after one that does not [default: at least 3, and as many as --seconds allow].
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// How long runs are repeated; more than that if three take longer.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Run once for each line of standard input, and answer each with a line of JSON: for a script
    /// that lets several programs take turns. The first line says that it is ready.
    #[arg(long, conflicts_with_all = ["runs", "seconds", "json"])]
    on_request: bool,
}

const AFTER_HELP: &str = "\
Weights are random. Times are the wall clock's; processor time, the sum over all threads, stands \
beside it and is the fairer one on a machine that others use.";

/// Runs that are measured at most: more say nothing new.
const MAX_RUNS: usize = 10_000;

/// `--seconds` at most: an hour.
const MAX_SECONDS: f64 = 3600.0;

impl SpeedCommand {
    /// Measures, and prints the figures.
    ///
    /// # Errors
    /// What kept it from measuring, for the person at the terminal.
    pub fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Linear(measured) => measured.run(cases::linear),
            Self::Conv(measured) => measured.run(cases::conv),
            Self::Attention(measured) => measured.run(cases::attention),
            Self::Block(measured) => measured.run(cases::block),
            Self::VaeDecode(measured) => measured.run(cases::vae_decode),
            Self::TextEncoder(measured) => measured.run(cases::text_encoder),
            Self::Step(measured) => measured.run(cases::step),
            Self::Language(measured) => measured.run(cases::language),
            Self::Nano(measured) => measured.run(cases::nano),
        }
    }
}

impl<T: Args> Measured<T> {
    fn run(
        self,
        make: impl FnOnce(&T, &crate::device::Chosen) -> anyhow::Result<Case>,
    ) -> anyhow::Result<()> {
        let patience = self.patience()?;
        let chosen = self.device.choose()?;
        let mut case = make(&self.what, &chosen)?;
        if self.on_request {
            return on_request(&mut case, io::stdin().lock(), io::stdout().lock());
        }
        let summary = Summary::of(&mut case, patience, &Clock)?;
        let text = match self.json {
            true => report::json(&case, &chosen, &summary).to_string(),
            false => report::text(&case, &chosen, &summary),
        };
        println!("{text}");
        Ok(())
    }

    fn patience(&self) -> anyhow::Result<Patience> {
        if self
            .runs
            .is_some_and(|runs| !(1..=MAX_RUNS).contains(&runs))
        {
            bail!("--runs must be between 1 and {MAX_RUNS}");
        }
        if !(self.seconds > 0.0 && self.seconds <= MAX_SECONDS) {
            bail!("--seconds must be above 0 and at most {MAX_SECONDS}");
        }
        Ok(match self.runs {
            Some(runs) => Patience::Runs(runs),
            None => Patience::Seconds(self.seconds),
        })
    }
}
