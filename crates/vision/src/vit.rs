//! The Vision Transformer (Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words";
//! transformers 5, modeling_vit.py) with a head that classifies.

use std::sync::Arc;

use tintype_compute::{Activation, Attention, Device, Epilogue, Linear, Mask, Segment, Tensor};
use tintype_weights::{
    Error, Weights,
    layers::{LayerNorm, Loader, Width},
};

use crate::config::{CHANNELS, VitConfig};

/// A `ViTForImageClassification`, ready to run on one device.
#[derive(Debug)]
pub struct Vit {
    device: Arc<dyn Device>,
    config: VitConfig,
    /// `(values of a patch -> hidden_size)`
    patches: Linear,
    /// `(1, 1, hidden_size)`: the token that gathers what is seen.
    class: Tensor,
    /// `(1, 1 + patches, hidden_size)`
    positions: Tensor,
    blocks: Vec<Block>,
    final_norm: LayerNorm,
    classifier: Linear,
}

impl Vit {
    /// Builds the model of `config` with `labels` outputs and takes all of `weights`.
    ///
    /// # Errors
    /// A tensor that is missing, left over or of another shape.
    pub fn load(
        config: VitConfig,
        labels: usize,
        mut weights: Weights,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let hidden = config.hidden_size;
        let [patch_height, patch_width] = config.patch_height_width();
        let name = "vit.embeddings.patch_embeddings.projection";
        let shape = [hidden, CHANNELS, patch_height, patch_width];
        let weight = weights.take(&format!("{name}.weight"), &shape)?;
        let weight = weight.reshape([hidden, config.patch_values()]);
        let bias = weights.take(&format!("{name}.bias"), &[hidden])?;
        let patches = device.pack_linear(&weight, Some(&bias));
        let class = weights.take("vit.embeddings.cls_token", &[1, 1, hidden])?;
        let tokens = 1 + config.patches();
        let positions = weights.take("vit.embeddings.position_embeddings", &[1, tokens, hidden])?;
        let mut loader = Loader {
            weights: &mut weights,
            device: &*device,
        };
        let blocks = (0..config.num_hidden_layers)
            .map(|index| {
                let name = format!("vit.encoder.layer.{index}");
                Block::load(&mut loader, &config, &name, device.clone())
            })
            .collect::<Result<_, _>>()?;
        let final_norm =
            loader.layer_norm("vit.layernorm", config.hidden_size, config.layer_norm_eps)?;
        let head = Width {
            input: hidden,
            output: labels,
        };
        let classifier = loader.linear("classifier", head)?;
        weights.finish()?;
        Ok(Self {
            device,
            config,
            patches,
            class,
            positions,
            blocks,
            final_norm,
            classifier,
        })
    }

    /// The blocks in order, for tests that look inside.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Outputs for pictures `(batch, height, width, 3)`, prepared as the model wants them:
    /// `(batch, labels)`.
    pub fn forward(&self, pictures: &Tensor) -> Tensor {
        let device = &*self.device;
        let mut hidden = self.embed(pictures);
        for block in &self.blocks {
            hidden = block.forward(&hidden);
        }
        // Only the first token is looked at: norm and head need the others no more.
        let (batch, width) = (hidden.dim(0), hidden.width());
        let class = (0..batch).flat_map(|sample| &hidden.sample(sample)[..width]);
        let class = Tensor::from_vec([batch, 1, width], class.copied().collect());
        let class = self.final_norm.forward(device, &class);
        let outputs = device.linear(&self.classifier, &class, Epilogue::None);
        let labels = outputs.width();
        outputs.reshape([batch, labels])
    }

    /// The class token and the patches, with their positions: `(batch, 1 + patches, hidden_size)`.
    pub fn embed(&self, pictures: &Tensor) -> Tensor {
        let batch = pictures.dim(0);
        let patches = self
            .device
            .linear(&self.patches, &self.cut(pictures), Epilogue::None);
        let tokens = (0..batch).flat_map(|sample| [self.class.data(), patches.sample(sample)]);
        let tokens = tokens.flatten().copied().collect();
        let shape = [batch, self.positions.dim(1), self.positions.width()];
        let positions = self.positions.data().repeat(batch);
        self.device.add(
            &Tensor::from_vec(shape, tokens),
            &Tensor::from_vec(shape, positions),
        )
    }

    /// The patches row by row, each channel by channel as a convolution's weight has them:
    /// `(batch, patches, 3 * height * width of a patch)`.
    fn cut(&self, pictures: &Tensor) -> Tensor {
        let [batch, height, width, channels] = pictures.rank4();
        let ([rows, columns], [patch_height, patch_width]) =
            (self.config.grid(), self.config.patch_height_width());
        assert_eq!(
            [height, width],
            self.config.image_height_width(),
            "this is a bug"
        );
        assert_eq!(channels, CHANNELS, "this is a bug");
        let mut values = Vec::with_capacity(pictures.data().len());
        for sample in 0..batch {
            let picture = pictures.sample(sample);
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))) {
                for (channel, y) in
                    (0..CHANNELS).flat_map(|channel| (0..patch_height).map(move |y| (channel, y)))
                {
                    let start = (row * patch_height + y) * width + column * patch_width;
                    let line = &picture[start * CHANNELS..][..patch_width * CHANNELS];
                    values.extend(line.iter().skip(channel).step_by(CHANNELS));
                }
            }
        }
        Tensor::from_vec([batch, rows * columns, self.config.patch_values()], values)
    }
}

/// One block: self-attention, then feed-forward, each normalised before and added back.
#[derive(Debug)]
pub struct Block {
    device: Arc<dyn Device>,
    heads: usize,
    scale: f32,
    attention_norm: LayerNorm,
    qkv: Linear,
    output: Linear,
    feed_forward_norm: LayerNorm,
    activation: Activation,
    up: Linear,
    down: Linear,
}

impl Block {
    fn load(
        loader: &mut Loader<'_>,
        config: &VitConfig,
        name: &str,
        device: Arc<dyn Device>,
    ) -> Result<Self, Error> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let width = |input, output| Width { input, output };
        let qkv =
            ["query", "key", "value"].map(|part| format!("{name}.attention.attention.{part}"));
        let output = format!("{name}.attention.output.dense");
        Ok(Self {
            device,
            heads: config.num_attention_heads,
            scale: 1.0 / ((hidden / config.num_attention_heads) as f32).sqrt(),
            attention_norm: loader.layer_norm(
                &format!("{name}.layernorm_before"),
                config.hidden_size,
                config.layer_norm_eps,
            )?,
            qkv: loader.joined(&qkv, width(hidden, hidden), config.qkv_bias)?,
            output: loader.linear(&output, width(hidden, hidden))?,
            feed_forward_norm: loader.layer_norm(
                &format!("{name}.layernorm_after"),
                config.hidden_size,
                config.layer_norm_eps,
            )?,
            activation: config.activation()?,
            up: loader.linear(&format!("{name}.intermediate.dense"), width(hidden, inner))?,
            down: loader.linear(&format!("{name}.output.dense"), width(inner, hidden))?,
        })
    }

    /// `(batch, tokens, hidden_size)` in and out.
    pub fn forward(&self, hidden: &Tensor) -> Tensor {
        let device = &*self.device;
        let normal = self.attention_norm.forward(device, hidden);
        let qkv = device.linear(&self.qkv, &normal, Epilogue::None);
        let attended = device.attention(&Attention {
            segments: &[Segment {
                qkv: &qkv,
                norm: None,
            }],
            heads: self.heads,
            scale: self.scale,
            rope: None,
            mask: Mask::None,
        });
        let hidden = device.linear(&self.output, &attended[0], Epilogue::Residual(hidden));
        let normal = self.feed_forward_norm.forward(device, &hidden);
        let up = device.linear(&self.up, &normal, Epilogue::Activation(self.activation));
        device.linear(&self.down, &up, Epilogue::Residual(&hidden))
    }
}
