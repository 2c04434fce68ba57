//! The MMDiT: one block, or a few of them as one denoising step.

use anyhow::bail;
use clap::{Args, ValueEnum};
use tintype_compute::{RopeTable, Tensor};
use tintype_flux::config::TransformerConfig;
use tintype_flux::latents::{Role, image_ids, text_ids};
use tintype_flux::mmdit::Mmdit;

use super::{Case, MAX_BLOCKS, attention_flops, check_finite, check_sizes, product_flops};
use crate::device::Chosen;
use crate::geometry::{Component, Geometry};
use crate::random::Random;

/// A guidance scale as any run may have it.
const GUIDANCE: f32 = 3.5;

/// A noise level in the middle.
const SIGMA: f32 = 0.5;

/// How many tokens a transformer sees.
#[derive(Debug, Clone, Copy, Args)]
pub struct Tokens {
    /// Tokens of the picture; 4096 are 1024 × 1024 pixels.
    #[arg(long = "tokens-image", value_name = "N", default_value_t = 1024)]
    image: usize,
    /// Tokens of the prompt.
    #[arg(long = "tokens-text", value_name = "N", default_value_t = 512)]
    text: usize,
}

impl Tokens {
    fn all(self) -> usize {
        self.image + self.text
    }

    fn note(self, case: Case) -> Case {
        case.fact("tokens_image", self.image)
            .fact("tokens_text", self.text)
    }
}

/// The command line of `bench block`.
#[derive(Debug, Args)]
pub struct BlockArguments {
    /// Whose sizes: flux1, nano, or the path of a transformer's config.json.
    #[arg(long, value_name = "NAME", default_value_t = Geometry::Flux1)]
    geometry: Geometry,
    /// Which kind of block.
    #[arg(long, value_enum, default_value_t = Kind::Single)]
    kind: Kind,
    #[command(flatten)]
    tokens: Tokens,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Text and picture as one sequence.
    Single,
    /// Text and picture with weights of their own.
    Double,
}

/// One block, its modulation ready, as it is in the denoising loop.
pub(crate) fn block(what: &BlockArguments, chosen: &Chosen) -> anyhow::Result<Case> {
    let (double, single) = match what.kind {
        Kind::Single => (0, 1),
        Kind::Double => (1, 0),
    };
    let prepared = Prepared::new(
        &what.geometry,
        Depth { double, single },
        what.tokens,
        chosen,
    )?;
    let flops = prepared.block_flops();
    let (kind, case) = match what.kind {
        Kind::Single => ("single", prepared.single_block()),
        Kind::Double => ("double", prepared.double_block()),
    };
    let case = case.fact("geometry", what.geometry.to_string());
    Ok(what.tokens.note(case.fact("kind", kind)).flops(flops))
}

/// The command line of `bench step`.
#[derive(Debug, Args)]
pub struct StepArguments {
    /// Whose sizes: flux1, nano, or the path of a transformer's config.json.
    #[arg(long, value_name = "NAME", default_value_t = Geometry::Flux1)]
    geometry: Geometry,
    #[command(flatten)]
    depth: Depth,
    #[command(flatten)]
    tokens: Tokens,
}

/// How many blocks there are.
#[derive(Debug, Clone, Copy, Args)]
struct Depth {
    /// Double-stream blocks.
    #[arg(long, value_name = "N", default_value_t = 2)]
    double: usize,
    /// Single-stream blocks.
    #[arg(long, value_name = "N", default_value_t = 4)]
    single: usize,
}

/// One evaluation of a transformer, as each step of the denoising loop makes it: from latents to
/// velocity. What the loop computes once for all steps is ready.
pub(crate) fn step(what: &StepArguments, chosen: &Chosen) -> anyhow::Result<Case> {
    let Depth { double, single } = what.depth;
    if double.saturating_add(single) > MAX_BLOCKS {
        bail!("--double and --single must be {MAX_BLOCKS} at most together");
    }
    let prepared = Prepared::new(&what.geometry, what.depth, what.tokens, chosen)?;
    let flops = (double + single) as f64 * prepared.block_flops() + prepared.edge_flops();
    let case = prepared.step().fact("geometry", what.geometry.to_string());
    let case = case.fact("double", double).fact("single", single);
    Ok(what.tokens.note(case).flops(flops))
}

/// A transformer in the middle of a denoising loop.
struct Prepared {
    config: TransformerConfig,
    mmdit: Mmdit,
    tokens: Tokens,
    pooled: Tensor,
    /// (1, steps, hidden): SiLU of the conditioning vector.
    activated: Tensor,
    rope: RopeTable,
    random: Random,
}

impl Prepared {
    fn new(
        geometry: &Geometry,
        depth: Depth,
        tokens: Tokens,
        chosen: &Chosen,
    ) -> anyhow::Result<Self> {
        check_sizes(&[("tokens-image", tokens.image), ("tokens-text", tokens.text)])?;
        let replaced = [
            ("num_layers", depth.double),
            ("num_single_layers", depth.single),
        ];
        let json = geometry.config(Component::Transformer, &replaced)?;
        let config = TransformerConfig::parse(&json)?;
        let mmdit = Mmdit::load(&json, Random::new().weights(), chosen.device.clone())?;
        let mut random = Random::new();
        let pooled = random.tensor(&[1, config.pooled_projection_dim]);
        let embedded = mmdit.embed_condition(&[SIGMA], Some(GUIDANCE), &pooled);
        let (rows, columns) = nearly_square(tokens.image);
        let image_ids = image_ids(Role::Target, rows, columns);
        Ok(Self {
            rope: mmdit.rope(&text_ids(tokens.text), &image_ids),
            activated: chosen.device.silu(&embedded),
            config,
            mmdit,
            tokens,
            pooled,
            random,
        })
    }

    fn hidden(&mut self, tokens: usize) -> Tensor {
        self.random.tensor(&[1, tokens, self.config.hidden_size()])
    }

    fn single_block(mut self) -> Case {
        let joined = self.hidden(self.tokens.all());
        let modulation = self.mmdit.single_blocks()[0].modulations(&self.activated);
        Case::new("block", move || {
            let block = &self.mmdit.single_blocks()[0];
            check_finite(&block.forward(&joined, &modulation[0], &self.rope))
        })
    }

    fn double_block(mut self) -> Case {
        let image = self.hidden(self.tokens.image);
        let text = self.hidden(self.tokens.text);
        let modulation = self.mmdit.double_blocks()[0].modulations(&self.activated);
        Case::new("block", move || {
            let block = &self.mmdit.double_blocks()[0];
            let (image, _) = block.forward(&image, &text, &modulation[0], &self.rope);
            check_finite(&image)
        })
    }

    fn step(mut self) -> Case {
        let (tokens, config) = (self.tokens, &self.config);
        let latents = self.random.tensor(&[1, tokens.image, config.in_channels]);
        let text = [1, tokens.text, config.joint_attention_dim];
        let text = self.mmdit.embed_text(&self.random.tensor(&text));
        let conditions = self
            .mmdit
            .conditions(&[SIGMA], Some(GUIDANCE), &self.pooled);
        Case::new("step", move || {
            let velocity = self
                .mmdit
                .denoise(&latents, &text, &conditions[0], &self.rope);
            check_finite(&velocity)
        })
    }

    /// In both kinds a token goes through queries, keys, values and their output (4 hidden²) and a
    /// feed-forward four times as wide (8 hidden²).
    fn block_flops(&self) -> f64 {
        let (tokens, hidden) = (self.tokens.all(), self.config.hidden_size());
        product_flops(tokens, hidden, 12 * hidden) + attention_flops(tokens, hidden)
    }

    /// Those of the first and the last layer.
    fn edge_flops(&self) -> f64 {
        let features = self.config.in_channels + self.config.output_features();
        product_flops(self.tokens.image, self.config.hidden_size(), features)
    }
}

/// Rows and columns of so many tokens, as near to a square as they divide.
fn nearly_square(tokens: usize) -> (usize, usize) {
    let mut rows = (1..=tokens.isqrt()).rev();
    let rows = rows.find(|rows| tokens.is_multiple_of(*rows)).unwrap_or(1);
    (rows, tokens / rows)
}

#[cfg(test)]
mod tests {
    use super::nearly_square;

    #[test]
    fn tokens_make_a_picture() {
        assert_eq!(nearly_square(1024), (32, 32));
        assert_eq!(nearly_square(24), (4, 6));
        assert_eq!(nearly_square(7), (1, 7));
    }
}
