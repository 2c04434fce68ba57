//! Timestep, guidance and pooled prompt as one vector (diffusers 0.42 embeddings.py,
//! `CombinedTimestepGuidanceTextProjEmbeddings` and `CombinedTimestepTextProjEmbeddings`).

use tintype_compute::{Activation, Device, Epilogue, Tensor};

use crate::{
    adapted::{AdaptedLinear, Target},
    config::TransformerConfig,
    weights::{
        Error,
        layers::{Loader, Width},
    },
};

/// Features of a number before its two layers: a cosine and a sine of 128 frequencies.
const WAVES: usize = 256;

/// The longest period of those waves.
const MAX_PERIOD: f64 = 10_000.0;

/// Two layers with SiLU between them (`TimestepEmbedding`, `PixArtAlphaTextProjection`).
#[derive(Clone, Debug)]
struct Mlp {
    first: AdaptedLinear,
    second: AdaptedLinear,
}

impl Mlp {
    fn load(loader: &mut Loader<'_>, targets: &[Target; 2]) -> Result<Self, Error> {
        let [first, second] = targets;
        Ok(Self {
            first: AdaptedLinear::load(loader, first)?,
            second: AdaptedLinear::load(loader, second)?,
        })
    }

    fn layers_mut(&mut self) -> [&mut AdaptedLinear; 2] {
        [&mut self.first, &mut self.second]
    }

    fn forward(&self, device: &dyn Device, x: &Tensor) -> Tensor {
        let silu = Epilogue::Activation(Activation::Silu);
        let inner = self.first.run(device, x, silu);
        self.second.run(device, &inner, Epilogue::None)
    }
}

/// The embeddings whose sum conditions every block.
#[derive(Clone, Debug)]
pub(super) struct ConditionEmbedding {
    time: Mlp,
    guidance: Option<Mlp>,
    pooled: Mlp,
}

/// The layers of time, pooled prompt and, for some models, guidance.
pub(super) fn targets(config: &TransformerConfig) -> ([[Target; 2]; 2], Option<[Target; 2]>) {
    let hidden = config.hidden_size();
    let mlp = |name: &str, input| {
        let layer = |number, input| {
            let name = format!("time_text_embed.{name}.linear_{number}");
            let output = hidden;
            Target::new(name, Width { input, output })
        };
        [layer(1, input), layer(2, hidden)]
    };
    let pooled = mlp("text_embedder", config.pooled_projection_dim);
    let guidance = || mlp("guidance_embedder", WAVES);
    (
        [mlp("timestep_embedder", WAVES), pooled],
        config.guidance_embeds.then(guidance),
    )
}

impl ConditionEmbedding {
    pub fn load(loader: &mut Loader<'_>, config: &TransformerConfig) -> Result<Self, Error> {
        let ([time, pooled], guidance) = targets(config);
        let guidance = guidance.map(|targets| Mlp::load(loader, &targets));
        Ok(Self {
            time: Mlp::load(loader, &time)?,
            guidance: guidance.transpose()?,
            pooled: Mlp::load(loader, &pooled)?,
        })
    }

    /// Its layers, for adapters.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut AdaptedLinear> {
        let parts = [&mut self.time, &mut self.pooled];
        parts
            .into_iter()
            .chain(&mut self.guidance)
            .flat_map(Mlp::layers_mut)
    }

    /// `pooled` is `(batch, pooled_projection_dim)`. Returns `(batch, timesteps, hidden)`.
    pub fn forward(
        &self,
        device: &dyn Device,
        timesteps: &[f32],
        guidance: Option<f32>,
        pooled: &Tensor,
    ) -> Tensor {
        let mut time = self.time.forward(device, &waves(timesteps));
        if let Some(embedder) = &self.guidance {
            let guidance = guidance
                .expect("a model with guidance_embeds is run with a guidance scale; this is a bug");
            let repeated = vec![guidance; timesteps.len()];
            time = device.add(&time, &embedder.forward(device, &waves(&repeated)));
        }
        let (batch, width) = (pooled.dim(0), pooled.width());
        let pooled = pooled.clone().reshape([batch, 1, width]);
        let pooled = self.pooled.forward(device, &pooled);
        let hidden = pooled.width();
        let mut sum = Vec::with_capacity(batch * time.data().len());
        for prompt in pooled.data().chunks_exact(hidden) {
            for step in time.data().chunks_exact(hidden) {
                sum.extend(step.iter().zip(prompt).map(|(t, p)| t + p));
            }
        }
        Tensor::from_vec([batch, timesteps.len(), hidden], sum)
    }
}

/// `get_timestep_embedding(1000 x, 256, flip_sin_to_cos=True, downscale_freq_shift=0)`, in f32 as
/// there: at arguments up to a thousand the rounding of the frequencies is part of the result.
/// Returns `(1, values, 256)`.
fn waves(values: &[f32]) -> Tensor {
    const HALF: usize = WAVES / 2;
    let mut output = Vec::with_capacity(values.len() * WAVES);
    let frequencies: Vec<f32> = (0..HALF)
        .map(|i| (-(MAX_PERIOD.ln()) as f32 * i as f32 / HALF as f32).exp())
        .collect();
    for value in values {
        let angles = || frequencies.iter().map(|f| value * 1000.0 * f);
        output.extend(angles().map(f32::cos));
        output.extend(angles().map(f32::sin));
    }
    Tensor::from_vec([1, values.len(), WAVES], output)
}
