//! The configuration of a component, read from the shapes of its tensors: a single file has no
//! `config.json`. What shapes cannot say is as FLUX.1 has it.

use serde_json::{Map, Value, json};

use super::{Component, listing::Listing};

/// Features of a head of every FLUX transformer, and how they are shared out to a position's axes.
const FLUX_HEAD: (usize, [usize; 3]) = (128, [16, 56, 56]);

/// Features of a head of every CLIP.
const CLIP_HEAD: usize = 64;

/// Groups of every group norm of FLUX's autoencoder.
const VAE_GROUPS: usize = 32;

/// The `config.json` of a component whose tensors have the names that models ask for. `overrides` is what
/// the person says of it, and counts more.
///
/// # Errors
/// A tensor whose shape is needed is not there.
pub fn config(
    component: Component,
    listing: &Listing,
    overrides: Option<&Map<String, Value>>,
) -> Result<String, String> {
    let shapes = Shapes(listing);
    let mut config = match component {
        Component::Transformer => transformer(&shapes),
        Component::Vae => vae(&shapes),
        Component::Clip => clip(&shapes),
        Component::T5 => t5(&shapes),
    }?;
    if let (Some(config), Some(overrides)) = (config.as_object_mut(), overrides) {
        config.extend(overrides.clone());
    }
    Ok(config.to_string())
}

struct Shapes<'a>(&'a Listing);

impl Shapes<'_> {
    fn has(&self, name: &str) -> bool {
        self.0.shape(name).is_some()
    }

    /// How long one axis of a tensor is.
    fn axis(&self, name: &str, axis: usize) -> Result<usize, String> {
        let shape = self.0.shape(name);
        shape
            .and_then(|shape| shape.get(axis).copied())
            .ok_or_else(|| {
                let stored = self.0.stored_name(name);
                format!("it has no tensor `{stored}`, from which its size would be read")
            })
    }

    /// How many blocks there are: names that begin with `prefix`, a number and a dot.
    fn count(&self, prefix: &str) -> usize {
        let numbers = self.0.tensors().filter_map(|(name, _)| {
            let rest = name.strip_prefix(prefix)?;
            rest.split_once('.')?.0.parse::<usize>().ok()
        });
        // Absurd numbers are cut by the limit of every configuration; a gap shows as a missing tensor.
        numbers.max().map_or(0, |last| last.saturating_add(1))
    }
}

fn transformer(shapes: &Shapes<'_>) -> Result<Value, String> {
    let hidden = shapes.axis("x_embedder.weight", 0)?;
    let head = shapes.axis("transformer_blocks.0.attn.norm_q.weight", 0)?;
    let inputs = shapes.axis("x_embedder.weight", 1)?;
    let outputs = shapes.axis("proj_out.weight", 0)?;
    let mut config = json!({
        "_class_name": "FluxTransformer2DModel",
        "attention_head_dim": head,
        "num_attention_heads": hidden / head.max(1),
        "in_channels": inputs,
        "out_channels": outputs,
        "num_layers": shapes.count("transformer_blocks."),
        "num_single_layers": shapes.count("single_transformer_blocks."),
        "joint_attention_dim": shapes.axis("context_embedder.weight", 1)?,
        "pooled_projection_dim": shapes.axis("time_text_embed.text_embedder.linear_1.weight", 1)?,
        "guidance_embeds": shapes.has("time_text_embed.guidance_embedder.linear_1.weight"),
    });
    if head == FLUX_HEAD.0 {
        config["axes_dims_rope"] = json!(FLUX_HEAD.1);
    }
    Ok(config)
}

fn vae(shapes: &Shapes<'_>) -> Result<Value, String> {
    let levels = shapes.count("encoder.down_blocks.");
    let channels = (0..levels)
        .map(|level| {
            shapes.axis(
                &format!("encoder.down_blocks.{level}.resnets.0.conv1.weight"),
                0,
            )
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "_class_name": "AutoencoderKL",
        "in_channels": shapes.axis("encoder.conv_in.weight", 1)?,
        "out_channels": shapes.axis("decoder.conv_out.weight", 0)?,
        "down_block_types": vec!["DownEncoderBlock2D"; levels],
        "up_block_types": vec!["UpDecoderBlock2D"; levels],
        "block_out_channels": channels,
        "layers_per_block": shapes.count("encoder.down_blocks.0.resnets."),
        "latent_channels": shapes.axis("encoder.conv_out.weight", 0)? / 2,
        "norm_num_groups": VAE_GROUPS,
        "scaling_factor": 0.3611,
        "shift_factor": 0.1159,
        "use_quant_conv": shapes.has("quant_conv.weight"),
        "use_post_quant_conv": shapes.has("post_quant_conv.weight"),
        "mid_block_add_attention": shapes.has("decoder.mid_block.attentions.0.to_q.weight"),
    }))
}

fn clip(shapes: &Shapes<'_>) -> Result<Value, String> {
    let prefix = match shapes.has("embeddings.token_embedding.weight") {
        true => "",
        false => "text_model.",
    };
    let axis = |name: &str, axis| shapes.axis(&format!("{prefix}{name}"), axis);
    let hidden = axis("embeddings.token_embedding.weight", 1)?;
    Ok(json!({
        "model_type": "clip_text_model",
        "vocab_size": axis("embeddings.token_embedding.weight", 0)?,
        "hidden_size": hidden,
        "intermediate_size": axis("encoder.layers.0.mlp.fc1.weight", 0)?,
        "num_hidden_layers": shapes.count(&format!("{prefix}encoder.layers.")),
        "num_attention_heads": (hidden / CLIP_HEAD).max(1),
        "max_position_embeddings": axis("embeddings.position_embedding.weight", 0)?,
        "hidden_act": "quick_gelu",
        // As in FLUX.1's own file: the greatest id of a prompt is its end.
        "eos_token_id": 2,
    }))
}

fn t5(shapes: &Shapes<'_>) -> Result<Value, String> {
    let shared = match shapes.has("shared.weight") {
        true => "shared.weight",
        false => "encoder.embed_tokens.weight",
    };
    let bias = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";
    let heads = shapes.axis(bias, 1)?;
    let gate = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight";
    let gated = shapes.has(gate);
    let up = match gated {
        true => gate,
        false => "encoder.block.0.layer.1.DenseReluDense.wi.weight",
    };
    Ok(json!({
        "model_type": "t5",
        "vocab_size": shapes.axis(shared, 0)?,
        "d_model": shapes.axis(shared, 1)?,
        "d_kv": shapes.axis("encoder.block.0.layer.0.SelfAttention.q.weight", 0)? / heads.max(1),
        "d_ff": shapes.axis(up, 0)?,
        "num_layers": shapes.count("encoder.block."),
        "num_heads": heads,
        "relative_attention_num_buckets": shapes.axis(bias, 0)?,
        "feed_forward_proj": if gated { "gated-gelu" } else { "relu" },
    }))
}
