//! The MMDiT: FLUX's transformer (diffusers 0.42, transformer_flux.py, `FluxTransformer2DModel`).
//!
//! Text and picture tokens run through double-stream blocks, where each has its own weights and both
//! attend as one sequence, then as one sequence through single-stream blocks. What depends on the step
//! alone (the modulation of every block: a quarter of FLUX.1's weights) or on nothing that changes (the
//! rotation table, the embedded prompt) is computed before the loop, as values that the sampler holds:
//!
//! ```text
//! let conditions = mmdit.conditions(&timesteps, guidance, &pooled);   // one for each step
//! let rope = mmdit.rope(&text_ids, &image_ids);
//! let text = mmdit.embed_text(&text);
//! for condition in &conditions { velocity = mmdit.denoise(&latents, &text, condition, &rope); … }
//! ```

mod double;
mod embedding;
mod rope;
mod single;

use std::sync::Arc;

use tintype_compute::{Chunk, Device, Epilogue, RopeTable, Tensor};

pub use double::{DoubleModulation, DoubleStreamBlock};
pub use single::SingleStreamBlock;

use crate::{
    adapted::{AdaptedLinear, Target},
    config::TransformerConfig,
    lora::Applied,
    weights::{
        Error, Weights,
        layers::{Loader, Width},
    },
};
use embedding::ConditionEmbedding;

/// `eps` of every norm of the model.
const EPS: f32 = 1e-6;

/// The transformer, ready to run on one device. Copies share the weights.
#[derive(Clone, Debug)]
pub struct Mmdit {
    config: TransformerConfig,
    device: Arc<dyn Device>,
    condition: ConditionEmbedding,
    text_embedder: AdaptedLinear,
    image_embedder: AdaptedLinear,
    double_blocks: Vec<DoubleStreamBlock>,
    single_blocks: Vec<SingleStreamBlock>,
    output_modulation: AdaptedLinear,
    output: AdaptedLinear,
}

/// All linear layers of a model: what adapters can be hung on.
pub(crate) fn targets(config: &TransformerConfig) -> Vec<Target> {
    let (condition, guidance) = embedding::targets(config);
    let doubles = (0..config.num_layers)
        .flat_map(|index| double::targets(config, &format!("transformer_blocks.{index}")));
    let singles = (0..config.num_single_layers)
        .flat_map(|index| single::targets(config, &format!("single_transformer_blocks.{index}")));
    outer_targets(config)
        .into_iter()
        .chain(condition.into_iter().chain(guidance).flatten())
        .chain(doubles)
        .chain(singles)
        .collect()
}

/// The layers before and after the blocks.
fn outer_targets(config: &TransformerConfig) -> [Target; 4] {
    let hidden = config.hidden_size();
    [
        ("context_embedder", config.joint_attention_dim, hidden),
        ("x_embedder", config.in_channels, hidden),
        ("norm_out.linear", hidden, 2 * hidden),
        ("proj_out", hidden, config.output_features()),
    ]
    .map(|(name, input, output)| Target::new(name, Width { input, output }))
}

/// Everything one step needs.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// `(batch, image_sequence, in_channels)`; a reference picture's tokens follow the picture's own.
    pub latents: &'a Tensor,
    /// `(batch, text_sequence, joint_attention_dim)`
    pub text: &'a Tensor,
    /// `(batch, pooled_projection_dim)`
    pub pooled: &'a Tensor,
    /// Sigma in 0..1: diffusers' `timestep / 1000`.
    pub timestep: f32,
    /// The guidance scale, for models with `guidance_embeds`.
    pub guidance: Option<f32>,
    /// The position of each image token.
    pub image_ids: &'a [[f32; 3]],
    /// The position of each text token.
    pub text_ids: &'a [[f32; 3]],
}

/// What one step's timestep, guidance and pooled prompt make of every block.
#[derive(Clone, Debug)]
pub struct Condition {
    double: Vec<DoubleModulation>,
    /// `(batch, 3 * hidden)` for each block.
    single: Vec<Tensor>,
    /// `(batch, 2 * hidden)`
    output: Tensor,
}

impl Mmdit {
    /// Builds the transformer that `config_json` describes and takes all of `weights`.
    pub fn load(
        config_json: &str,
        mut weights: Weights,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let config = TransformerConfig::parse(config_json)?;
        let mut loader = Loader {
            weights: &mut weights,
            device: &*device,
        };
        let condition = ConditionEmbedding::load(&mut loader, &config)?;
        let [text_embedder, image_embedder, output_modulation, output] =
            outer_targets(&config).map(|target| AdaptedLinear::load(&mut loader, &target));
        let double_blocks = (0..config.num_layers)
            .map(|index| {
                let name = format!("transformer_blocks.{index}");
                DoubleStreamBlock::load(&mut loader, &config, &name, device.clone())
            })
            .collect::<Result<_, _>>()?;
        let single_blocks = (0..config.num_single_layers)
            .map(|index| {
                let name = format!("single_transformer_blocks.{index}");
                SingleStreamBlock::load(&mut loader, &config, &name, device.clone())
            })
            .collect::<Result<_, _>>()?;
        let (text_embedder, image_embedder) = (text_embedder?, image_embedder?);
        let (output_modulation, output) = (output_modulation?, output?);
        weights.finish()?;
        Ok(Self {
            config,
            device,
            condition,
            text_embedder,
            image_embedder,
            double_blocks,
            single_blocks,
            output_modulation,
            output,
        })
    }

    /// The same model with these adapters, and none that it had.
    pub fn adapted(&self, loras: &[Applied]) -> Self {
        let mut adapted = self.clone();
        adapted.layers_mut().for_each(|layer| layer.adapt(loras));
        adapted
    }

    fn layers_mut(&mut self) -> impl Iterator<Item = &mut AdaptedLinear> {
        let doubles = self.double_blocks.iter_mut();
        let singles = self.single_blocks.iter_mut();
        [
            &mut self.text_embedder,
            &mut self.image_embedder,
            &mut self.output_modulation,
            &mut self.output,
        ]
        .into_iter()
        .chain(self.condition.layers_mut())
        .chain(doubles.flat_map(DoubleStreamBlock::layers_mut))
        .chain(singles.flat_map(SingleStreamBlock::layers_mut))
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// The double-stream blocks in order, for tests that look inside.
    pub fn double_blocks(&self) -> &[DoubleStreamBlock] {
        &self.double_blocks
    }

    /// The single-stream blocks in order, for tests that look inside.
    pub fn single_blocks(&self) -> &[SingleStreamBlock] {
        &self.single_blocks
    }

    /// One evaluation from scratch. Returns the velocity, `(batch, image_sequence, output_features)`.
    pub fn forward(&self, input: Input<'_>) -> Tensor {
        let conditions = self.conditions(&[input.timestep], input.guidance, input.pooled);
        let rope = self.rope(input.text_ids, input.image_ids);
        let text = self.embed_text(input.text);
        self.denoise(input.latents, &text, &conditions[0], &rope)
    }

    /// The rotation of every token of the joined sequence, text first.
    pub fn rope(&self, text_ids: &[[f32; 3]], image_ids: &[[f32; 3]]) -> RopeTable {
        rope::table(self.config.axes_dims_rope, text_ids, image_ids)
    }

    /// The prompt's tokens in the model's own width: `(batch, text_sequence, joint_attention_dim)` to
    /// `(batch, text_sequence, hidden)`.
    pub fn embed_text(&self, text: &Tensor) -> Tensor {
        self.text_embedder.run(&*self.device, text, Epilogue::None)
    }

    /// The picture's tokens in the model's own width: `(batch, image_sequence, in_channels)` to
    /// `(batch, image_sequence, hidden)`.
    pub fn embed_image(&self, latents: &Tensor) -> Tensor {
        self.image_embedder
            .run(&*self.device, latents, Epilogue::None)
    }

    /// The conditioning vector of every timestep (`temb` in diffusers): `(batch, timesteps, hidden)`.
    ///
    /// # Panics
    /// If the model has a guidance embedding and `guidance` is `None`.
    pub fn embed_condition(
        &self,
        timesteps: &[f32],
        guidance: Option<f32>,
        pooled: &Tensor,
    ) -> Tensor {
        self.condition
            .forward(&*self.device, timesteps, guidance, pooled)
    }

    /// What each of `timesteps` (sigmas in 0..1) makes of every block; `pooled` is
    /// `(batch, pooled_projection_dim)`. `guidance` counts only for models with `guidance_embeds`.
    ///
    /// # Panics
    /// If the model has a guidance embedding and `guidance` is `None`.
    pub fn conditions(
        &self,
        timesteps: &[f32],
        guidance: Option<f32>,
        pooled: &Tensor,
    ) -> Vec<Condition> {
        let embedded = self.embed_condition(timesteps, guidance, pooled);
        self.modulate(&embedded)
    }

    /// What each conditioning vector of `(batch, steps, hidden)` makes of every block.
    pub fn modulate(&self, embedded: &Tensor) -> Vec<Condition> {
        let device = &*self.device;
        let activated = device.silu(embedded);
        let mut conditions: Vec<Condition> =
            modulations(device, &self.output_modulation, &activated)
                .into_iter()
                .map(|output| Condition {
                    double: Vec::with_capacity(self.double_blocks.len()),
                    single: Vec::with_capacity(self.single_blocks.len()),
                    output,
                })
                .collect();
        for block in &self.double_blocks {
            for (condition, modulation) in conditions.iter_mut().zip(block.modulations(&activated))
            {
                condition.double.push(modulation);
            }
        }
        for block in &self.single_blocks {
            for (condition, modulation) in conditions.iter_mut().zip(block.modulations(&activated))
            {
                condition.single.push(modulation);
            }
        }
        conditions
    }

    /// One evaluation. `latents` is `(batch, image_sequence, in_channels)`, `text` as
    /// [`Mmdit::embed_text`] gives it. Returns the velocity,
    /// `(batch, image_sequence, output_features)`.
    pub fn denoise(
        &self,
        latents: &Tensor,
        text: &Tensor,
        condition: &Condition,
        rope: &RopeTable,
    ) -> Tensor {
        let mut image = self.embed_image(latents);
        let mut text = text.clone();
        for (block, modulation) in self.double_blocks.iter().zip(&condition.double) {
            (image, text) = block.forward(&image, &text, modulation, rope);
        }
        let mut joined = Tensor::concat_sequence(&[&text, &image]);
        for (block, modulation) in self.single_blocks.iter().zip(&condition.single) {
            joined = block.forward(&joined, modulation, rope);
        }
        let image = joined.narrow_sequence(text.dim(1), image.dim(1));
        self.project(&image, condition)
    }

    /// The last norm and projection: `(batch, image_sequence, hidden)` to
    /// `(batch, image_sequence, output_features)`.
    pub fn project(&self, image: &Tensor, condition: &Condition) -> Tensor {
        // AdaLayerNormContinuous: scale first, shift second.
        let [scale, shift] = chunks(&condition.output);
        let normal = self.device.adaln(image, scale, shift, EPS);
        self.output.run(&*self.device, &normal, Epilogue::None)
    }
}

/// A modulation layer over `(batch, steps, hidden)`: one `(batch, parts * hidden)` for each step.
fn modulations(device: &dyn Device, layer: &AdaptedLinear, activated: &Tensor) -> Vec<Tensor> {
    let all = layer.run(device, activated, Epilogue::None);
    let [batch, steps, width] = all.rank3();
    (0..steps)
        .map(|step| all.narrow_sequence(step, 1).reshape([batch, width]))
        .collect()
}

/// The parts of a modulation table.
fn chunks<const N: usize>(table: &Tensor) -> [Chunk<'_>; N] {
    std::array::from_fn(|index| Chunk { table, index })
}
