//! A language model: the reading of a prompt, and one word of the answer.

use anyhow::bail;
use clap::{Args, ValueEnum};
use tintype_compute::WeightFormat;
use tintype_language::{Config, Decoder};

use super::{Case, attention_flops, check_finite, check_sizes, product_flops};
use crate::device::Chosen;
use crate::geometry::{Component, Geometry};
use crate::random::Random;

/// The command line of `bench language`.
#[derive(Debug, Args)]
pub struct LanguageArguments {
    /// Whose sizes: qwen3-0.6b, qwen3-1.7b, qwen3-4b, or the path of a config.json.
    #[arg(long, value_name = "NAME", default_value_t = Geometry::Qwen3(QWEN3[0]))]
    geometry: Geometry,
    /// What is measured.
    #[arg(long, value_enum, default_value_t = Part::Word)]
    part: Part,
    /// Tokens of the prompt.
    #[arg(long, value_name = "N", default_value_t = 256)]
    tokens: usize,
}

/// The models of the class that are known by name.
pub(crate) const QWEN3: [&str; 3] = ["qwen3-0.6b", "qwen3-1.7b", "qwen3-4b"];

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Part {
    /// The whole prompt at once.
    Prompt,
    /// One word after the prompt.
    Word,
}

/// A prompt read, or a word after it: as often as wanted, always the same one.
pub(crate) fn language(what: &LanguageArguments, chosen: &Chosen) -> anyhow::Result<Case> {
    check_sizes(&[("tokens", what.tokens)])?;
    let config = Config::parse(&what.geometry.config(Component::Language, &[])?)?;
    if what.tokens >= config.max_position_embeddings {
        bail!("--tokens must be below {}", config.max_position_embeddings);
    }
    let (tokens, vocabulary) = (what.tokens, config.vocab_size);
    let width = config.num_attention_heads * config.head_dim;
    // One product with every value of a layer; half of all pairs of tokens attend.
    let flops = |rows: usize| product_flops(rows, 1, config.block_values());
    let head = product_flops(1, config.hidden_size, vocabulary);
    let attention = config.num_hidden_layers as f64 * attention_flops(tokens, width) / 2.0;
    let flops = match what.part {
        Part::Prompt => flops(tokens) + head + attention,
        Part::Word => flops(1) + head + 2.0 * attention / tokens as f64,
    };
    let values = config.block_values() + config.hidden_size * vocabulary;
    let bytes = match chosen.weights {
        WeightFormat::Int8 => values,
        // The random ones are values of bf16.
        WeightFormat::Exact | WeightFormat::Bf16 => 2 * values,
    };
    let decoder = Decoder::load(config, Random::new().weights(), chosen.device.clone())?;
    let prompt: Vec<u32> = (0..tokens)
        .map(|index| (index * 7919 % vocabulary) as u32)
        .collect();
    let mut session = decoder.session(tokens + 1);
    let (part, new, kept) = match what.part {
        Part::Prompt => ("prompt", prompt, 0),
        Part::Word => {
            decoder.read(&mut session, &prompt);
            ("word", vec![prompt[0]], tokens)
        }
    };
    let read = new.len();
    let case = Case::new("language", move || {
        session.truncate(kept);
        let hidden = decoder.read(&mut session, &new);
        check_finite(&decoder.scores(&hidden.narrow_sequence(new.len() - 1, 1)))
    });
    Ok(case
        .fact("geometry", what.geometry.to_string())
        .fact("part", part)
        .fact("tokens", tokens)
        .flops(flops)
        .tokens(read, bytes))
}
