//! The single-stream block (diffusers 0.42, `FluxSingleTransformerBlock`).

use std::sync::Arc;

use tintype_compute::{
    Activation, Attention, Device, Epilogue, Linear, Mask, QkNorm, RopeTable, Segment, Tensor,
};

use super::{EPS, chunks, double::MLP_RATIO, modulations};
use crate::{
    config::TransformerConfig,
    weights::{
        Error,
        layers::{Loader, Width},
    },
};

/// A block over text and picture as one sequence; attention and feed-forward run side by side and share
/// one output projection.
#[derive(Debug)]
pub struct SingleStreamBlock {
    device: Arc<dyn Device>,
    heads: usize,
    scale: f32,
    modulation: Linear,
    qkv: Linear,
    query_norm: Tensor,
    key_norm: Tensor,
    up: Linear,
    /// Over the attention's and the feed-forward's features side by side.
    output: Linear,
}

impl SingleStreamBlock {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        config: &TransformerConfig,
        name: &str,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let hidden = config.hidden_size();
        let from_hidden = |output| Width {
            input: hidden,
            output,
        };
        let qkv = ["q", "k", "v"].map(|part| format!("{name}.attn.to_{part}"));
        let output = Width {
            input: (1 + MLP_RATIO) * hidden,
            output: hidden,
        };
        let head_dim = config.attention_head_dim;
        Ok(Self {
            device,
            heads: config.num_attention_heads,
            scale: 1.0 / (head_dim as f32).sqrt(),
            modulation: loader.linear(&format!("{name}.norm.linear"), from_hidden(3 * hidden))?,
            qkv: loader.joined(&qkv, from_hidden(hidden), true)?,
            query_norm: loader.vector(&format!("{name}.attn.norm_q"), head_dim)?,
            key_norm: loader.vector(&format!("{name}.attn.norm_k"), head_dim)?,
            up: loader.linear(&format!("{name}.proj_mlp"), from_hidden(MLP_RATIO * hidden))?,
            output: loader.linear(&format!("{name}.proj_out"), output)?,
        })
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
        let qkv = device.linear(&self.qkv, &normal, Epilogue::None);
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
        let up = device.linear(&self.up, &normal, gelu);
        let epilogue = Epilogue::GateResidual {
            gate,
            residual: joined,
        };
        device.linear_concat(&self.output, &[&attended[0], &up], epilogue)
    }
}
