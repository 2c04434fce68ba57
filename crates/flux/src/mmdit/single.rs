//! The single-stream block (diffusers 0.42, `FluxSingleTransformerBlock`).

use std::sync::Arc;

use tintype_compute::{
    Activation, Attention, Device, Epilogue, Mask, QkNorm, RopeTable, Segment, Tensor,
};

use super::{EPS, chunks, double::MLP_RATIO, modulations};
use crate::{
    adapted::{AdaptedLinear, Target},
    config::TransformerConfig,
    weights::{
        Error,
        layers::{Loader, Width},
    },
};

/// A block over text and picture as one sequence; attention and feed-forward run side by side and share
/// one output projection.
#[derive(Clone, Debug)]
pub struct SingleStreamBlock {
    device: Arc<dyn Device>,
    heads: usize,
    scale: f32,
    modulation: AdaptedLinear,
    qkv: AdaptedLinear,
    query_norm: Tensor,
    key_norm: Tensor,
    up: AdaptedLinear,
    /// Over the attention's and the feed-forward's features side by side.
    output: AdaptedLinear,
}

/// The linear layers of a block: modulation, queries with keys and values, the feed-forward's first, and
/// the output.
pub(super) fn targets(config: &TransformerConfig, name: &str) -> [Target; 4] {
    let hidden = config.hidden_size();
    let inner = MLP_RATIO * hidden;
    let width = |input, output| Width { input, output };
    let qkv = ["q", "k", "v"].map(|part| format!("{name}.attn.to_{part}"));
    [
        Target::new(format!("{name}.norm.linear"), width(hidden, 3 * hidden)),
        Target {
            names: qkv.to_vec(),
            width: width(hidden, hidden),
        },
        Target::new(format!("{name}.proj_mlp"), width(hidden, inner)),
        Target::new(format!("{name}.proj_out"), width(hidden + inner, hidden)),
    ]
}

impl SingleStreamBlock {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        config: &TransformerConfig,
        name: &str,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let head_dim = config.attention_head_dim;
        let [modulation, qkv, up, output] =
            targets(config, name).map(|target| AdaptedLinear::load(loader, &target));
        Ok(Self {
            device,
            heads: config.num_attention_heads,
            scale: 1.0 / (head_dim as f32).sqrt(),
            modulation: modulation?,
            qkv: qkv?,
            query_norm: loader.vector(&format!("{name}.attn.norm_q"), head_dim)?,
            key_norm: loader.vector(&format!("{name}.attn.norm_k"), head_dim)?,
            up: up?,
            output: output?,
        })
    }

    /// Its layers, for adapters.
    pub(super) fn layers_mut(&mut self) -> [&mut AdaptedLinear; 4] {
        [
            &mut self.modulation,
            &mut self.qkv,
            &mut self.up,
            &mut self.output,
        ]
    }

    /// The modulation for each step of `(batch, steps, hidden)`, which is SiLU of the conditioning
    /// vector: `(batch, 3 * hidden)` of shift, scale and gate.
    pub fn modulations(&self, activated: &Tensor) -> Vec<Tensor> {
        modulations(&*self.device, &self.modulation, activated)
    }

    /// `(batch, text_sequence + image_sequence, hidden)` in and out; `rope` has a row for each token.
    pub fn forward(&self, joined: &Tensor, modulation: &Tensor, rope: &RopeTable) -> Tensor {
        let device = &*self.device;
        let [shift, scale, gate] = chunks(modulation);
        let normal = device.adaln(joined, scale, shift, EPS);
        let qkv = self.qkv.run(device, &normal, Epilogue::None);
        let attended = device.attention(&Attention {
            segments: &[Segment {
                qkv: &qkv,
                norm: Some(QkNorm {
                    query: &self.query_norm,
                    key: &self.key_norm,
                    eps: EPS,
                }),
            }],
            heads: self.heads,
            scale: self.scale,
            rope: Some(rope),
            mask: Mask::None,
        });
        let gelu = Epilogue::Activation(Activation::GeluTanh);
        let up = self.up.run(device, &normal, gelu);
        let epilogue = Epilogue::GateResidual {
            gate,
            residual: joined,
        };
        self.output
            .run_concat(device, &[&attended[0], &up], epilogue)
    }
}
