//! The double-stream block (diffusers 0.42, `FluxTransformerBlock`).

use std::sync::Arc;

use tintype_compute::{
    Activation, Attention, Device, Epilogue, Mask, QkNorm, RopeTable, Segment, Tensor,
};

use super::{EPS, chunks, modulations};
use crate::{
    adapted::{AdaptedLinear, Target},
    config::TransformerConfig,
    weights::{
        Error,
        layers::{Loader, Width},
    },
};

/// The hidden layer of a feed-forward is this many times as wide as the residual stream.
pub(super) const MLP_RATIO: usize = 4;

/// A block in which text and picture have weights of their own and attend as one sequence.
#[derive(Clone, Debug)]
pub struct DoubleStreamBlock {
    device: Arc<dyn Device>,
    heads: usize,
    scale: f32,
    image: Stream,
    text: Stream,
}

/// One step's modulation of a [`DoubleStreamBlock`].
#[derive(Clone, Debug)]
pub struct DoubleModulation {
    /// `(batch, 6 * hidden)`: shift, scale, gate of the attention, then of the feed-forward.
    pub image: Tensor,
    /// The same for the text.
    pub text: Tensor,
}

impl DoubleStreamBlock {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        config: &TransformerConfig,
        name: &str,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let image = Stream::load(loader, config, name, &IMAGE)?;
        let text = Stream::load(loader, config, name, &TEXT)?;
        Ok(Self {
            device,
            heads: config.num_attention_heads,
            scale: 1.0 / (config.attention_head_dim as f32).sqrt(),
            image,
            text,
        })
    }

    /// Its layers, for adapters.
    pub(super) fn layers_mut(&mut self) -> impl Iterator<Item = &mut AdaptedLinear> {
        let streams = [&mut self.image, &mut self.text];
        streams.into_iter().flat_map(Stream::layers_mut)
    }

    /// The modulation for each step of `(batch, steps, hidden)`, which is SiLU of the conditioning
    /// vector.
    pub fn modulations(&self, activated: &Tensor) -> Vec<DoubleModulation> {
        let image = modulations(&*self.device, &self.image.modulation, activated);
        let text = modulations(&*self.device, &self.text.modulation, activated);
        image
            .into_iter()
            .zip(text)
            .map(|(image, text)| DoubleModulation { image, text })
            .collect()
    }

    /// `image` and `text` are `(batch, sequence, hidden)`; so are the two that are returned, the image
    /// first. `rope` has one row for each text token, then for each image token.
    pub fn forward(
        &self,
        image: &Tensor,
        text: &Tensor,
        modulation: &DoubleModulation,
        rope: &RopeTable,
    ) -> (Tensor, Tensor) {
        let device = &*self.device;
        let image_qkv = self.image.qkv(device, image, &modulation.image);
        let text_qkv = self.text.qkv(device, text, &modulation.text);
        let attended = device.attention(&Attention {
            segments: &[self.text.segment(&text_qkv), self.image.segment(&image_qkv)],
            heads: self.heads,
            scale: self.scale,
            rope: Some(rope),
            mask: Mask::None,
        });
        (
            self.image
                .finish(device, image, &attended[1], &modulation.image),
            self.text
                .finish(device, text, &attended[0], &modulation.text),
        )
    }
}

/// How diffusers names the layers of one stream.
struct Names {
    modulation: &'static str,
    qkv: [&'static str; 3],
    norms: [&'static str; 2],
    output: &'static str,
    feed_forward: &'static str,
}

const IMAGE: Names = Names {
    modulation: "norm1.linear",
    qkv: ["attn.to_q", "attn.to_k", "attn.to_v"],
    norms: ["attn.norm_q", "attn.norm_k"],
    output: "attn.to_out.0",
    feed_forward: "ff",
};

const TEXT: Names = Names {
    modulation: "norm1_context.linear",
    qkv: ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
    norms: ["attn.norm_added_q", "attn.norm_added_k"],
    output: "attn.to_add_out",
    feed_forward: "ff_context",
};

impl Names {
    /// Modulation, queries with keys and values, output, and the feed-forward's two.
    fn targets(&self, config: &TransformerConfig, block: &str) -> [Target; 5] {
        let hidden = config.hidden_size();
        let inner = MLP_RATIO * hidden;
        let width = |input, output| Width { input, output };
        let named = |name: &str| format!("{block}.{name}");
        let feed_forward = named(self.feed_forward);
        let qkv = Target {
            names: self.qkv.map(named).to_vec(),
            width: width(hidden, hidden),
        };
        [
            Target::new(named(self.modulation), width(hidden, 6 * hidden)),
            qkv,
            Target::new(named(self.output), width(hidden, hidden)),
            Target::new(format!("{feed_forward}.net.0.proj"), width(hidden, inner)),
            Target::new(format!("{feed_forward}.net.2"), width(inner, hidden)),
        ]
    }
}

/// The linear layers of a block.
pub(super) fn targets(
    config: &TransformerConfig,
    name: &str,
) -> impl Iterator<Item = Target> + use<> {
    [IMAGE, TEXT]
        .map(|names| names.targets(config, name))
        .into_iter()
        .flatten()
}

/// The weights of the text or of the picture.
#[derive(Clone, Debug)]
struct Stream {
    modulation: AdaptedLinear,
    qkv: AdaptedLinear,
    query_norm: Tensor,
    key_norm: Tensor,
    output: AdaptedLinear,
    up: AdaptedLinear,
    down: AdaptedLinear,
}

impl Stream {
    fn load(
        loader: &mut Loader<'_>,
        config: &TransformerConfig,
        block: &str,
        names: &Names,
    ) -> Result<Self, Error> {
        let [modulation, qkv, output, up, down] = names
            .targets(config, block)
            .map(|target| AdaptedLinear::load(loader, &target));
        let [query_norm, key_norm] = names
            .norms
            .map(|norm| loader.vector(&format!("{block}.{norm}"), config.attention_head_dim));
        Ok(Self {
            modulation: modulation?,
            qkv: qkv?,
            query_norm: query_norm?,
            key_norm: key_norm?,
            output: output?,
            up: up?,
            down: down?,
        })
    }

    fn layers_mut(&mut self) -> [&mut AdaptedLinear; 5] {
        [
            &mut self.modulation,
            &mut self.qkv,
            &mut self.output,
            &mut self.up,
            &mut self.down,
        ]
    }

    fn qkv(&self, device: &dyn Device, x: &Tensor, modulation: &Tensor) -> Tensor {
        let [shift, scale, ..] = chunks::<6>(modulation);
        let normal = device.adaln(x, scale, shift, EPS);
        self.qkv.run(device, &normal, Epilogue::None)
    }

    fn segment<'a>(&'a self, qkv: &'a Tensor) -> Segment<'a> {
        Segment {
            qkv,
            norm: Some(QkNorm {
                query: &self.query_norm,
                key: &self.key_norm,
                eps: EPS,
            }),
        }
    }

    /// Everything after the attention: its projection, then the feed-forward, each gated and added to
    /// the stream.
    fn finish(
        &self,
        device: &dyn Device,
        x: &Tensor,
        attended: &Tensor,
        modulation: &Tensor,
    ) -> Tensor {
        let [_, _, attention_gate, shift, scale, gate] = chunks(modulation);
        let epilogue = Epilogue::GateResidual {
            gate: attention_gate,
            residual: x,
        };
        let x = self.output.run(device, attended, epilogue);

        let normal = device.adaln(&x, scale, shift, EPS);
        let gelu = Epilogue::Activation(Activation::GeluTanh);
        let up = self.up.run(device, &normal, gelu);
        let epilogue = Epilogue::GateResidual { gate, residual: &x };
        self.down.run(device, &up, epilogue)
    }
}
