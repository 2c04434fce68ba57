//! What a file holds, by the names of its tensors.

use std::collections::BTreeSet;

use super::{Component, Naming};

/// One component within a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which one.
    pub component: Component,
    /// How its tensors are called.
    pub naming: Naming,
    /// What stands before all of their names: checkpoints of several components have one for each.
    pub prefix: &'static str,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Components of a FLUX model.
    Parts(Vec<Part>),
    /// Something else that is well known: what it is, and what to do.
    Foreign(&'static str),
    /// Nothing that this program has heard of.
    Unknown,
}

/// A component by the tensors that it alone has.
struct Sign {
    component: Component,
    naming: Naming,
    prefixes: &'static [&'static str],
    tensors: &'static [&'static str],
}

const TRANSFORMER_PREFIXES: &[&str] = &[
    "",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
];
const VAE_PREFIXES: &[&str] = &["", "vae.", "first_stage_model."];
const CLIP_PREFIXES: &[&str] = &[
    "",
    "text_encoders.clip_l.transformer.",
    "text_encoders.clip_l.",
    "clip_l.",
];
const T5_PREFIXES: &[&str] = &[
    "",
    "text_encoders.t5xxl.transformer.",
    "text_encoders.t5xxl.",
    "t5xxl.",
];

const SIGNS: &[Sign] = &[
    Sign {
        component: Component::Transformer,
        naming: Naming::Original,
        prefixes: TRANSFORMER_PREFIXES,
        tensors: &["double_blocks.0.img_attn.qkv.weight", "img_in.weight"],
    },
    Sign {
        component: Component::Transformer,
        naming: Naming::Diffusers,
        prefixes: TRANSFORMER_PREFIXES,
        tensors: &[
            "transformer_blocks.0.attn.add_q_proj.weight",
            "context_embedder.weight",
        ],
    },
    Sign {
        component: Component::Vae,
        naming: Naming::Original,
        prefixes: VAE_PREFIXES,
        tensors: &["decoder.conv_in.weight", "decoder.mid.block_1.conv1.weight"],
    },
    Sign {
        component: Component::Vae,
        naming: Naming::Diffusers,
        prefixes: VAE_PREFIXES,
        tensors: &[
            "decoder.conv_in.weight",
            "decoder.mid_block.resnets.0.conv1.weight",
        ],
    },
    Sign {
        component: Component::Clip,
        naming: Naming::Diffusers,
        prefixes: CLIP_PREFIXES,
        tensors: &["text_model.embeddings.token_embedding.weight"],
    },
    Sign {
        component: Component::Clip,
        naming: Naming::Diffusers,
        prefixes: CLIP_PREFIXES,
        tensors: &[
            "embeddings.token_embedding.weight",
            "final_layer_norm.weight",
        ],
    },
    Sign {
        component: Component::T5,
        naming: Naming::Diffusers,
        prefixes: T5_PREFIXES,
        tensors: &["encoder.block.0.layer.0.SelfAttention.q.weight"],
    },
    Sign {
        component: Component::T5,
        naming: Naming::LlamaCpp,
        prefixes: T5_PREFIXES,
        tensors: &["enc.blk.0.attn_q.weight", "enc.blk.0.attn_rel_b.weight"],
    },
];

/// Something else: a piece of a tensor's name that tells it, and what to say. The first that is found counts.
const FOREIGN: &[(&str, &str)] = &[
    (
        "quant_state.bitsandbytes",
        "a model in bitsandbytes' NF4 or int8 format, which is not supported; the same model as GGUF \
         (Q4_0, Q4_K_S, Q8_0) or fp8 is",
    ),
    (
        ".qweight",
        "a model in SVDQuant's or GPTQ's format, which is not supported; the same model as GGUF \
         (Q4_0, Q4_K_S, Q8_0) or fp8 is",
    ),
    ("lora_up.", "a LoRA, not a model: it is applied to one"),
    ("lora_down.", "a LoRA, not a model: it is applied to one"),
    ("lora_A.", "a LoRA, not a model: it is applied to one"),
    ("lora_B.", "a LoRA, not a model: it is applied to one"),
    (
        "distilled_guidance_layer.",
        "Chroma, which is not supported: it modulates its blocks in another way than FLUX.1",
    ),
    (
        "double_stream_modulation_img.",
        "FLUX.2, which is not supported: this program draws with FLUX.1",
    ),
    (
        "single_stream_modulation.",
        "FLUX.2, which is not supported: this program draws with FLUX.1",
    ),
    ("controlnet_", "a ControlNet, which is not supported"),
    ("control_model.", "a ControlNet, which is not supported"),
    (
        "redux_up.",
        "FLUX.1 Redux, an adapter that is not supported",
    ),
    (
        "joint_blocks.0.",
        "Stable Diffusion 3, which is not supported: this program draws with FLUX.1",
    ),
    (
        "conditioner.embedders.1.",
        "Stable Diffusion XL, which is not supported: this program draws with FLUX.1",
    ),
    (
        "add_embedding.linear_1.",
        "the UNet of Stable Diffusion XL, which is not supported: this program draws with FLUX.1",
    ),
    (
        "input_blocks.0.0.",
        "Stable Diffusion, which is not supported: this program draws with FLUX.1",
    ),
    (
        "down_blocks.0.attentions.0.transformer_blocks.0.",
        "the UNet of Stable Diffusion, which is not supported: this program draws with FLUX.1",
    ),
    (
        "txt_norm.weight",
        "Qwen-Image, which is not supported: this program draws with FLUX.1",
    ),
    (
        "cap_embedder.",
        "Lumina or Z-Image, which is not supported: this program draws with FLUX.1",
    ),
    (
        "model.layers.0.self_attn.",
        "a language model, not a part of FLUX.1",
    ),
    ("blk.0.ffn_gate.", "a language model, not a part of FLUX.1"),
    (
        "vision_model.",
        "a picture encoder (CLIP or SigLIP), not a part of FLUX.1",
    ),
];

/// What the tensors of these names are.
pub fn content(names: &BTreeSet<&str>) -> Content {
    let found = |sign: &Sign| {
        let fits = |prefix: &&&str| {
            let has = |tensor: &&str| names.contains(format!("{prefix}{tensor}").as_str());
            sign.tensors.iter().all(has)
        };
        sign.prefixes.iter().find(fits).map(|prefix| Part {
            component: sign.component,
            naming: sign.naming,
            prefix,
        })
    };
    let holds = |piece: &str| names.iter().any(|name| name.contains(piece));
    let foreign = FOREIGN.iter().find(|(piece, _)| holds(piece));
    let mut parts: Vec<Part> = SIGNS.iter().filter_map(found).collect();
    // One component may show two signs: a prefix is part of the other's name.
    parts.dedup_by_key(|part| part.component);
    let has = |component| parts.iter().any(|part| part.component == component);
    match foreign {
        // A whole CLIP holds a picture encoder, a whole T5 a decoder: beside what is wanted here.
        Some((piece, _)) if *piece == "vision_model." && has(Component::Clip) => {
            Content::Parts(parts)
        }
        Some((piece, _)) if *piece == "blk.0.ffn_gate." && has(Component::T5) => {
            Content::Parts(parts)
        }
        Some((_, what)) => Content::Foreign(what),
        None if parts.is_empty() => Content::Unknown,
        None => Content::Parts(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::{Component, Content, Naming, Part, content};

    fn of(names: &[&'static str]) -> Content {
        content(&names.iter().copied().collect())
    }

    fn part(component: Component, naming: Naming, prefix: &'static str) -> Part {
        Part {
            component,
            naming,
            prefix,
        }
    }

    #[test]
    fn each_component_is_known_by_its_names() {
        assert_eq!(
            of(&["double_blocks.0.img_attn.qkv.weight", "img_in.weight"]),
            Content::Parts(vec![part(Component::Transformer, Naming::Original, "")])
        );
        assert_eq!(
            of(&["decoder.conv_in.weight", "decoder.mid.block_1.conv1.weight"]),
            Content::Parts(vec![part(Component::Vae, Naming::Original, "")])
        );
        assert_eq!(
            of(&[
                "text_model.embeddings.token_embedding.weight",
                "vision_model.a",
                "logit_scale"
            ]),
            Content::Parts(vec![part(Component::Clip, Naming::Diffusers, "")])
        );
        assert_eq!(
            of(&[
                "enc.blk.0.attn_q.weight",
                "enc.blk.0.attn_rel_b.weight",
                "dec.blk.0.ffn_gate.weight"
            ]),
            Content::Parts(vec![part(Component::T5, Naming::LlamaCpp, "")])
        );
    }

    #[test]
    fn a_checkpoint_of_everything_has_four_parts() {
        let found = of(&[
            "model.diffusion_model.double_blocks.0.img_attn.qkv.weight",
            "model.diffusion_model.img_in.weight",
            "vae.decoder.conv_in.weight",
            "vae.decoder.mid.block_1.conv1.weight",
            "text_encoders.clip_l.transformer.text_model.embeddings.token_embedding.weight",
            "text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q.weight",
        ]);
        assert_eq!(
            found,
            Content::Parts(vec![
                part(
                    Component::Transformer,
                    Naming::Original,
                    "model.diffusion_model."
                ),
                part(Component::Vae, Naming::Original, "vae."),
                part(
                    Component::Clip,
                    Naming::Diffusers,
                    "text_encoders.clip_l.transformer."
                ),
                part(
                    Component::T5,
                    Naming::Diffusers,
                    "text_encoders.t5xxl.transformer."
                ),
            ])
        );
    }

    #[test]
    fn other_models_are_called_by_their_names() {
        let foreign = |names: &[&'static str], word: &str| match of(names) {
            Content::Foreign(what) => assert!(what.contains(word), "{what}"),
            other => panic!("{other:?}"),
        };
        foreign(
            &["model.diffusion_model.input_blocks.0.0.weight"],
            "Stable Diffusion,",
        );
        foreign(
            &[
                "conditioner.embedders.1.model.ln_final.bias",
                "model.diffusion_model.input_blocks.0.0.weight",
            ],
            "Diffusion XL",
        );
        foreign(
            &["lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight"],
            "LoRA",
        );
        foreign(
            &[
                "double_blocks.0.img_attn.qkv.weight",
                "double_blocks.0.img_attn.qkv.weight.quant_state.bitsandbytes__nf4",
                "img_in.weight",
            ],
            "NF4",
        );
        foreign(
            &["blk.0.ffn_gate.weight", "token_embd.weight"],
            "language model",
        );
        assert_eq!(of(&["something"]), Content::Unknown);
        assert_eq!(of(&[]), Content::Unknown);
    }
}
