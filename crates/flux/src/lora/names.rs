//! What the tensors of a LoRA file are called: by diffusers and PEFT, by Kohya's scripts, and by Black
//! Forest Labs' own names, which ComfyUI, ai-toolkit and XLabs use. All of them mean layers of diffusers'
//! names; some mean several as one.

use std::collections::HashMap;

/// The part of the model that a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Component {
    Transformer,
    /// The CLIP text encoder.
    Clip,
}

/// What a tensor is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// `A`, `(rank, in)`
    Down,
    /// `B`, `(out, rank)`
    Up,
    /// Added after `B`, `(out)`
    UpBias,
    /// A number: what is added is divided by the rank and multiplied by it.
    Alpha,
}

/// A tensor's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub component: Component,
    /// The layer, with underscores for dots: so Kohya's names and all others are one.
    pub layer: String,
    pub part: Part,
}

/// How names end.
const PARTS: [(&str, Part); 14] = [
    (".lora_A.weight", Part::Down),
    (".lora_A.default.weight", Part::Down),
    (".lora_down.weight", Part::Down),
    (".lora.down.weight", Part::Down),
    (".lora_linear_layer.down.weight", Part::Down),
    (".down.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".lora_B.default.weight", Part::Up),
    (".lora_up.weight", Part::Up),
    (".lora.up.weight", Part::Up),
    (".lora_linear_layer.up.weight", Part::Up),
    (".up.weight", Part::Up),
    (".lora_B.bias", Part::UpBias),
    (".alpha", Part::Alpha),
];

/// How names begin; what begins in no such way is the transformer's, too.
const COMPONENTS: [(&str, Option<Component>); 17] = [
    (
        "base_model.model.transformer.",
        Some(Component::Transformer),
    ),
    ("base_model.model.", Some(Component::Transformer)),
    ("transformer.", Some(Component::Transformer)),
    ("model.diffusion_model.", Some(Component::Transformer)),
    ("diffusion_model.", Some(Component::Transformer)),
    ("lora_unet_", Some(Component::Transformer)),
    ("lora_transformer_", Some(Component::Transformer)),
    ("text_encoder.", Some(Component::Clip)),
    ("text_encoders.clip_l.transformer.", Some(Component::Clip)),
    ("lora_te1_", Some(Component::Clip)),
    ("lora_te_", Some(Component::Clip)),
    ("text_encoder_2.", None),
    ("text_encoders.t5xxl.transformer.", None),
    ("lora_te2_", None),
    ("lora_te3_", None),
    ("lora_text_encoder_2_", None),
    ("lora_text_encoder_", Some(Component::Clip)),
];

/// What stands in names of adapters that are more, or other, than two narrow layers.
const OTHER_KINDS: [(&str, &str); 9] = [
    (".dora_scale", "DoRA"),
    (".lora_magnitude_vector", "DoRA"),
    (".lokr_", "LoKr"),
    (".hada_", "LoHa"),
    (".lora_mid.", "LoCon"),
    (".oft_", "OFT"),
    (".diff_b", "a difference of biases"),
    (".diff", "a difference of whole weights"),
    ("_norm.scale", "a control LoRA with norms of its own"),
];

/// Names that only other models have.
const OTHER_MODELS: [(&str, &str); 12] = [
    ("down_blocks_", "Stable Diffusion"),
    ("up_blocks_", "Stable Diffusion"),
    ("mid_block_", "Stable Diffusion"),
    ("input_blocks_", "Stable Diffusion"),
    ("output_blocks_", "Stable Diffusion"),
    ("middle_block_", "Stable Diffusion"),
    ("joint_blocks_", "Stable Diffusion 3"),
    ("double_stream_modulation", "FLUX.2"),
    ("single_stream_modulation", "FLUX.2"),
    ("context_refiner_", "Z-Image or Lumina"),
    ("noise_refiner_", "Z-Image or Lumina"),
    ("cross_attn_", "a video model"),
];

impl Key {
    /// Takes a name apart.
    ///
    /// # Errors
    /// The reason why it cannot be used, to be read after the name.
    pub fn parse(name: &str) -> Result<Self, String> {
        let found = COMPONENTS
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix));
        let &(prefix, component) = found.unwrap_or(&("", Some(Component::Transformer)));
        let component = component.ok_or(
            "belongs to the T5 text encoder, which LoRAs are not applied to; save it without that part",
        )?;
        let inner = &name[prefix.len()..];
        if let Some((_, kind)) = OTHER_KINDS.iter().find(|(mark, _)| inner.contains(mark)) {
            return Err(format!(
                "is part of {kind}; only plain LoRAs can be applied, of one matrix down and one up a layer"
            ));
        }
        let ending = |&&(ending, _): &&(&str, Part)| inner.ends_with(ending);
        // The longest, since `.lora.down.weight` ends with `.down.weight`, too.
        let ending = PARTS.iter().filter(ending).max_by_key(|(e, _)| e.len());
        let &(ending, part) = ending.ok_or(
            "is no part of a LoRA: expected a name that ends with `lora_A.weight` and `lora_B.weight`, or \
             `lora_down.weight`, `lora_up.weight` and `alpha`",
        )?;
        Ok(Self {
            component,
            layer: flat(&inner[..inner.len() - ending.len()]),
            part,
        })
    }
}

/// Underscores for dots.
fn flat(name: &str) -> String {
    name.replace('.', "_")
}

/// Layers of the model that a LoRA has as one, in the order of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// diffusers' names.
    pub layers: Vec<String>,
    /// Whether the two halves of its rows change places: Black Forest Labs' last modulation has the shift
    /// first, diffusers' the scale.
    pub swapped: bool,
}

/// Every name that a layer of one model may have in a LoRA.
pub(super) struct Names {
    meanings: HashMap<(Component, String), Meaning>,
}

/// Layers of a double-stream block.
const DOUBLE: [(&str, &[&str]); 14] = [
    ("img_attn.qkv", &["attn.to_q", "attn.to_k", "attn.to_v"]),
    ("img_attn.proj", &["attn.to_out.0"]),
    ("img_mlp.0", &["ff.net.0.proj"]),
    ("img_mlp.2", &["ff.net.2"]),
    ("img_mod.lin", &["norm1.linear"]),
    (
        "txt_attn.qkv",
        &["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
    ),
    ("txt_attn.proj", &["attn.to_add_out"]),
    ("txt_mlp.0", &["ff_context.net.0.proj"]),
    ("txt_mlp.2", &["ff_context.net.2"]),
    ("txt_mod.lin", &["norm1_context.linear"]),
    // XLabs
    (
        "processor.qkv_lora1",
        &["attn.to_q", "attn.to_k", "attn.to_v"],
    ),
    ("processor.proj_lora1", &["attn.to_out.0"]),
    (
        "processor.qkv_lora2",
        &["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
    ),
    ("processor.proj_lora2", &["attn.to_add_out"]),
];

/// Layers of a single-stream block.
const SINGLE: [(&str, &[&str]); 5] = [
    (
        "linear1",
        &["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"],
    ),
    ("linear2", &["proj_out"]),
    ("modulation.lin", &["norm.linear"]),
    // XLabs
    (
        "processor.qkv_lora",
        &["attn.to_q", "attn.to_k", "attn.to_v"],
    ),
    ("processor.proj_lora", &["proj_out"]),
];

/// Layers outside the blocks.
const WHOLE: [(&str, &str); 10] = [
    ("img_in", "x_embedder"),
    ("txt_in", "context_embedder"),
    (
        "time_in.in_layer",
        "time_text_embed.timestep_embedder.linear_1",
    ),
    (
        "time_in.out_layer",
        "time_text_embed.timestep_embedder.linear_2",
    ),
    (
        "vector_in.in_layer",
        "time_text_embed.text_embedder.linear_1",
    ),
    (
        "vector_in.out_layer",
        "time_text_embed.text_embedder.linear_2",
    ),
    (
        "guidance_in.in_layer",
        "time_text_embed.guidance_embedder.linear_1",
    ),
    (
        "guidance_in.out_layer",
        "time_text_embed.guidance_embedder.linear_2",
    ),
    ("final_layer.linear", "proj_out"),
    ("final_layer.adaLN_modulation.1", LAST_MODULATION),
];

/// The layer whose halves stand the other way round in Black Forest Labs' files.
const LAST_MODULATION: &str = "norm_out.linear";

/// What transformers writes before all names of CLIP, or does not.
const CLIP_PREFIX: &str = "text_model.";

impl Names {
    /// The names for a model whose layers diffusers calls so.
    pub fn of<'a>(layers: impl IntoIterator<Item = (Component, &'a str)>) -> Self {
        let mut names = Self {
            meanings: HashMap::new(),
        };
        for (component, layer) in layers {
            let bare = layer.strip_prefix(CLIP_PREFIX).unwrap_or(layer);
            names.add(component, bare, [layer.to_owned()].into());
            if component == Component::Clip {
                names.add(
                    component,
                    &format!("{CLIP_PREFIX}{bare}"),
                    [layer.to_owned()].into(),
                );
            } else {
                names.add_others(layer);
            }
        }
        names
    }

    fn add(&mut self, component: Component, alias: &str, layers: Vec<String>) {
        let swapped = flat(alias).starts_with("final_layer") && layers == [LAST_MODULATION];
        let meaning = Meaning { layers, swapped };
        self.meanings.insert((component, flat(alias)), meaning);
    }

    /// Black Forest Labs' and XLabs' names for what begins with this layer of the transformer.
    fn add_others(&mut self, layer: &str) {
        for (alias, _) in WHOLE.iter().filter(|(_, meant)| *meant == layer) {
            self.add(Component::Transformer, alias, vec![layer.to_owned()]);
        }
        let double = ("transformer_blocks.", "double_blocks.", &DOUBLE[..]);
        let single = ("single_transformer_blocks.", "single_blocks.", &SINGLE[..]);
        for (prefix, alias_prefix, table) in [double, single] {
            let inner = layer
                .strip_prefix(prefix)
                .and_then(|rest| rest.split_once('.'));
            let Some((index, inner)) = inner else {
                continue;
            };
            for (alias, parts) in table.iter().filter(|(_, parts)| parts[0] == inner) {
                let parts = parts.iter().map(|part| format!("{prefix}{index}.{part}"));
                let alias = format!("{alias_prefix}{index}.{alias}");
                self.add(Component::Transformer, &alias, parts.collect());
            }
        }
    }

    /// The layers that a name means.
    ///
    /// # Errors
    /// The reason why there are none, to be read after the name.
    pub fn look_up(&self, key: &Key) -> Result<&Meaning, String> {
        let found = self.meanings.get(&(key.component, key.layer.clone()));
        found.ok_or_else(|| {
            let model = OTHER_MODELS
                .iter()
                .find(|(mark, _)| key.layer.contains(mark));
            match model {
                Some((_, model)) => format!("belongs to a LoRA for {model}, not for FLUX.1"),
                None => {
                    "names no layer of this model: the LoRA was made for another one".to_owned()
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Component, Key, Names, Part};

    fn parsed(name: &str) -> (Component, String, Part) {
        let key = Key::parse(name).expect("a name of a LoRA");
        (key.component, key.layer, key.part)
    }

    #[test]
    fn all_ways_to_name_a_layer_are_one() {
        let layers = [
            "transformer_blocks.3.attn.to_q",
            "transformer_blocks.3.attn.to_k",
            "transformer_blocks.3.attn.to_v",
            "single_transformer_blocks.12.attn.to_q",
            "single_transformer_blocks.12.proj_out",
            "proj_out",
            "norm_out.linear",
        ];
        let names = Names::of(layers.map(|layer| (Component::Transformer, layer)));
        let meaning = |name: &str| {
            let key = Key::parse(name).expect("a name of a LoRA");
            let meaning = names.look_up(&key).expect("a layer");
            (meaning.layers.join(" "), meaning.swapped)
        };
        let q = "transformer_blocks.3.attn.to_q";
        let qkv = format!("{q} transformer_blocks.3.attn.to_k transformer_blocks.3.attn.to_v");
        for (name, expected) in [
            (
                "transformer.transformer_blocks.3.attn.to_q.lora_A.weight",
                q,
            ),
            ("transformer_blocks.3.attn.to_q.lora_B.weight", q),
            (
                "base_model.model.transformer_blocks.3.attn.to_q.lora_A.default.weight",
                q,
            ),
            (
                "lora_transformer_transformer_blocks_3_attn_to_q.lora_up.weight",
                q,
            ),
            (
                "lora_unet_double_blocks_3_img_attn_qkv.lora_down.weight",
                &qkv,
            ),
            ("double_blocks.3.img_attn.qkv.lora_A.weight", &qkv),
            (
                "diffusion_model.double_blocks.3.img_attn.qkv.lora_B.weight",
                &qkv,
            ),
            ("double_blocks.3.processor.qkv_lora1.down.weight", &qkv),
            ("single_blocks.12.linear2.alpha", layers[4]),
            ("lora_unet_final_layer_linear.alpha", "proj_out"),
        ] {
            assert_eq!(meaning(name), (expected.to_owned(), false), "{name}");
        }
        let last = "lora_unet_final_layer_adaLN_modulation_1.lora_up.weight";
        assert_eq!(meaning(last), ("norm_out.linear".to_owned(), true));
        assert!(!meaning("norm_out.linear.lora_B.weight").1);
    }

    #[test]
    fn text_encoders_are_told_apart() {
        let (component, layer, part) =
            parsed("lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight");
        assert_eq!((component, part), (Component::Clip, Part::Down));
        for written in [
            "text_model.encoder.layers.0.self_attn.q_proj",
            "encoder.layers.0.self_attn.q_proj",
        ] {
            let names = Names::of([(Component::Clip, written)]);
            let key = Key {
                component,
                layer: layer.clone(),
                part,
            };
            assert_eq!(names.look_up(&key).expect("a layer").layers, [written]);
        }
        let reason = Key::parse("lora_te3_encoder_block_0.lora_up.weight").expect_err("T5");
        assert!(reason.contains("T5"), "{reason}");
    }

    #[test]
    fn what_is_not_a_lora_for_flux_says_what_it_is() {
        let names = Names::of([(Component::Transformer, "proj_out")]);
        let reason = |name: &str| match Key::parse(name) {
            Ok(key) => names.look_up(&key).expect_err("no layer of this model"),
            Err(reason) => reason,
        };
        for (name, expected) in [
            (
                "lora_unet_down_blocks_1_attentions_0_proj_in.lora_up.weight",
                "for Stable Diffusion,",
            ),
            (
                "transformer_blocks.99.attn.to_q.lora_A.weight",
                "no layer of this model",
            ),
            (
                "double_blocks.0.img_attn.norm.query_norm.scale",
                "control LoRA",
            ),
            ("lora_unet_double_blocks_0_img_mlp_0.lokr_w1", "LoKr"),
            ("transformer.proj_out.lora_magnitude_vector", "DoRA"),
            ("conv_in.weight", "is no part of a LoRA"),
        ] {
            let found = reason(name);
            assert!(found.contains(expected), "{name}: {found}");
        }
    }
}
