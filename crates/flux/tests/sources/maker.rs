//! Makes the files that people have out of a diffusers folder. The renaming is written the other way
//! round than in the program, tensor by tensor, as Black Forest Labs' modules are built.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// One tensor as it is stored.
#[derive(Clone, PartialEq)]
pub struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// The tensors of a file or a component.
#[derive(Clone, Default)]
pub struct Tensors(pub BTreeMap<String, Stored>);

impl Tensors {
    /// All tensors of a component's folder, of all its shards.
    pub fn of_folder(folder: &Path) -> Self {
        let mut tensors = BTreeMap::new();
        for entry in std::fs::read_dir(folder).expect("a component's folder") {
            let path = entry.expect("an entry").path();
            if path
                .extension()
                .is_none_or(|ending| ending != "safetensors")
            {
                continue;
            }
            let bytes = std::fs::read(&path).expect("a file");
            for (name, view) in SafeTensors::deserialize(&bytes)
                .expect("safetensors")
                .tensors()
            {
                let stored = Stored {
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    bytes: view.data().to_vec(),
                };
                tensors.insert(name, stored);
            }
        }
        Self(tensors)
    }

    pub fn write(&self, path: &Path) {
        self.write_with(path, &[]);
    }

    pub fn write_with(&self, path: &Path, metadata: &[(&str, &str)]) {
        let views = self.0.iter().map(|(name, stored)| {
            let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes);
            (name, view.expect("a valid tensor"))
        });
        let pairs = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let metadata: HashMap<String, String> = pairs.collect();
        let bytes = safetensors::serialize(views, Some(metadata)).expect("serialises");
        std::fs::write(path, bytes).expect("a writable folder");
    }

    pub fn prefixed(self, prefix: &str) -> Self {
        let renamed = self.0.into_iter();
        Self(
            renamed
                .map(|(name, stored)| (format!("{prefix}{name}"), stored))
                .collect(),
        )
    }

    pub fn joined(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    fn take(&mut self, name: &str) -> Stored {
        self.0
            .remove(name)
            .unwrap_or_else(|| panic!("{name} is not there"))
    }

    fn count(&self, prefix: &str) -> usize {
        let numbers = self.0.keys().filter_map(|name| {
            let number = name.strip_prefix(prefix)?.split('.').next()?;
            number.parse::<usize>().ok()
        });
        numbers.max().map_or(0, |last| last + 1)
    }
}

/// Moves tensors from one naming to the other.
struct Move {
    from: Tensors,
    to: Tensors,
}

impl Move {
    fn new(from: Tensors) -> Self {
        Self {
            from,
            to: Tensors::default(),
        }
    }

    fn one(&mut self, from: &str, to: &str) {
        let stored = self.from.take(from);
        self.to.0.insert(to.to_owned(), stored);
    }

    /// A module's weight and bias.
    fn layer(&mut self, from: &str, to: &str) {
        for leaf in ["weight", "bias"] {
            self.one(&format!("{from}.{leaf}"), &format!("{to}.{leaf}"));
        }
    }

    /// Modules one above the other.
    fn stacked(&mut self, from: &[String], to: &str) {
        for leaf in ["weight", "bias"] {
            let parts: Vec<Stored> = from
                .iter()
                .map(|name| self.from.take(&format!("{name}.{leaf}")))
                .collect();
            let mut whole = parts[0].clone();
            for part in &parts[1..] {
                whole.shape[0] += part.shape[0];
                whole.bytes.extend_from_slice(&part.bytes);
            }
            self.to.0.insert(format!("{to}.{leaf}"), whole);
        }
    }

    fn done(self) -> Tensors {
        let left: Vec<&String> = self.from.0.keys().collect();
        assert!(left.is_empty(), "left over: {left:?}");
        self.to
    }
}

/// A transformer in its makers' names.
pub fn original_transformer(folder: &Path) -> Tensors {
    original_transformer_of(Tensors::of_folder(folder))
}

/// The same of tensors in diffusers' names. Bytes may be anything that every row has as much of.
pub fn original_transformer_of(tensors: Tensors) -> Tensors {
    let (double, single) = (
        tensors.count("transformer_blocks."),
        tensors.count("single_transformer_blocks."),
    );
    let mut m = Move::new(tensors);
    m.layer("x_embedder", "img_in");
    m.layer("context_embedder", "txt_in");
    let embedders = [
        ("timestep", "time_in"),
        ("text", "vector_in"),
        ("guidance", "guidance_in"),
    ];
    for (theirs, ours) in embedders {
        let name = format!("time_text_embed.{theirs}_embedder");
        if m.from.0.contains_key(&format!("{name}.linear_1.weight")) {
            m.layer(&format!("{name}.linear_1"), &format!("{ours}.in_layer"));
            m.layer(&format!("{name}.linear_2"), &format!("{ours}.out_layer"));
        }
    }
    for i in 0..double {
        let from = format!("transformer_blocks.{i}");
        let to = format!("double_blocks.{i}");
        m.layer(
            &format!("{from}.norm1.linear"),
            &format!("{to}.img_mod.lin"),
        );
        m.layer(
            &format!("{from}.norm1_context.linear"),
            &format!("{to}.txt_mod.lin"),
        );
        let named = |names: [&str; 3]| names.map(|name| format!("{from}.attn.{name}"));
        m.stacked(
            &named(["to_q", "to_k", "to_v"]),
            &format!("{to}.img_attn.qkv"),
        );
        let context = named(["add_q_proj", "add_k_proj", "add_v_proj"]);
        m.stacked(&context, &format!("{to}.txt_attn.qkv"));
        for (stream, query, key) in [
            ("img", "norm_q", "norm_k"),
            ("txt", "norm_added_q", "norm_added_k"),
        ] {
            let norm = format!("{to}.{stream}_attn.norm");
            m.one(
                &format!("{from}.attn.{query}.weight"),
                &format!("{norm}.query_norm.scale"),
            );
            m.one(
                &format!("{from}.attn.{key}.weight"),
                &format!("{norm}.key_norm.scale"),
            );
        }
        m.layer(
            &format!("{from}.attn.to_out.0"),
            &format!("{to}.img_attn.proj"),
        );
        m.layer(
            &format!("{from}.attn.to_add_out"),
            &format!("{to}.txt_attn.proj"),
        );
        for (theirs, stream) in [("ff", "img"), ("ff_context", "txt")] {
            m.layer(
                &format!("{from}.{theirs}.net.0.proj"),
                &format!("{to}.{stream}_mlp.0"),
            );
            m.layer(
                &format!("{from}.{theirs}.net.2"),
                &format!("{to}.{stream}_mlp.2"),
            );
        }
    }
    for i in 0..single {
        let from = format!("single_transformer_blocks.{i}");
        let to = format!("single_blocks.{i}");
        m.layer(
            &format!("{from}.norm.linear"),
            &format!("{to}.modulation.lin"),
        );
        let parts = ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"]
            .map(|name| format!("{from}.{name}"));
        m.stacked(&parts, &format!("{to}.linear1"));
        m.layer(&format!("{from}.proj_out"), &format!("{to}.linear2"));
        m.one(
            &format!("{from}.attn.norm_q.weight"),
            &format!("{to}.norm.query_norm.scale"),
        );
        m.one(
            &format!("{from}.attn.norm_k.weight"),
            &format!("{to}.norm.key_norm.scale"),
        );
    }
    m.layer("proj_out", "final_layer.linear");
    m.layer("norm_out.linear", "final_layer.adaLN_modulation.1");
    let mut tensors = m.done();
    for leaf in ["weight", "bias"] {
        let name = format!("final_layer.adaLN_modulation.1.{leaf}");
        let stored = tensors.0.get_mut(&name).expect("was moved");
        let half = stored.bytes.len() / 2;
        stored.bytes.rotate_left(half);
    }
    tensors
}

/// An autoencoder in its makers' names.
pub fn original_vae(folder: &Path) -> Tensors {
    original_vae_of(Tensors::of_folder(folder))
}

/// The same of tensors in diffusers' names. Bytes may be anything that every row has as much of.
pub fn original_vae_of(tensors: Tensors) -> Tensors {
    let levels = tensors.count("encoder.down_blocks.");
    let mut m = Move::new(tensors);
    for (side, theirs, ours) in [
        ("encoder", "down_blocks", "down"),
        ("decoder", "up_blocks", "up"),
    ] {
        m.layer(&format!("{side}.conv_in"), &format!("{side}.conv_in"));
        m.layer(&format!("{side}.conv_out"), &format!("{side}.conv_out"));
        m.layer(
            &format!("{side}.conv_norm_out"),
            &format!("{side}.norm_out"),
        );
        for (index, block) in ["block_1", "block_2"].into_iter().enumerate() {
            let from = format!("{side}.mid_block.resnets.{index}");
            resnet(&mut m, &from, &format!("{side}.mid.{block}"));
        }
        let from = format!("{side}.mid_block.attentions.0");
        if m.from.0.contains_key(&format!("{from}.to_q.weight")) {
            let to = format!("{side}.mid.attn_1");
            m.layer(&format!("{from}.group_norm"), &format!("{to}.norm"));
            for (theirs, ours) in [
                ("to_q", "q"),
                ("to_k", "k"),
                ("to_v", "v"),
                ("to_out.0", "proj_out"),
            ] {
                m.layer(&format!("{from}.{theirs}"), &format!("{to}.{ours}"));
                let weight =
                    m.to.0
                        .get_mut(&format!("{to}.{ours}.weight"))
                        .expect("was moved");
                weight.shape.extend([1, 1]);
            }
        }
        for level in 0..levels {
            let from = format!("{side}.{theirs}.{level}");
            // The decoder's levels are numbered from the picture's size on, in the order of the encoder's.
            let number = if side == "decoder" {
                levels - 1 - level
            } else {
                level
            };
            let to = format!("{side}.{ours}.{number}");
            for index in 0..m.from.count(&format!("{from}.resnets.")) {
                resnet(
                    &mut m,
                    &format!("{from}.resnets.{index}"),
                    &format!("{to}.block.{index}"),
                );
            }
            for (theirs, ours) in [("downsamplers", "downsample"), ("upsamplers", "upsample")] {
                let name = format!("{from}.{theirs}.0.conv");
                if m.from.0.contains_key(&format!("{name}.weight")) {
                    m.layer(&name, &format!("{to}.{ours}.conv"));
                }
            }
        }
    }
    for name in ["quant_conv", "post_quant_conv"] {
        if m.from.0.contains_key(&format!("{name}.weight")) {
            m.layer(name, name);
        }
    }
    m.done()
}

fn resnet(m: &mut Move, from: &str, to: &str) {
    for layer in ["norm1", "conv1", "norm2", "conv2"] {
        m.layer(&format!("{from}.{layer}"), &format!("{to}.{layer}"));
    }
    if m.from
        .0
        .contains_key(&format!("{from}.conv_shortcut.weight"))
    {
        m.layer(
            &format!("{from}.conv_shortcut"),
            &format!("{to}.nin_shortcut"),
        );
    }
}

/// T5's encoder in llama.cpp's names.
pub fn llama_cpp_t5(folder: &Path) -> Tensors {
    llama_cpp_t5_of(Tensors::of_folder(folder))
}

/// The same of tensors in diffusers' names. Bytes may be anything that every row has as much of.
pub fn llama_cpp_t5_of(tensors: Tensors) -> Tensors {
    let blocks = tensors.count("encoder.block.");
    let mut m = Move::new(tensors);
    m.one("shared.weight", "token_embd.weight");
    m.from.0.remove("encoder.embed_tokens.weight");
    m.one("encoder.final_layer_norm.weight", "enc.output_norm.weight");
    let bias = "SelfAttention.relative_attention_bias.weight";
    m.one(
        &format!("encoder.block.0.layer.0.{bias}"),
        "enc.blk.0.attn_rel_b.weight",
    );
    for i in 0..blocks {
        let to = format!("enc.blk.{i}");
        let attention = format!("encoder.block.{i}.layer.0");
        for part in ["q", "k", "v", "o"] {
            m.one(
                &format!("{attention}.SelfAttention.{part}.weight"),
                &format!("{to}.attn_{part}.weight"),
            );
        }
        m.one(
            &format!("{attention}.layer_norm.weight"),
            &format!("{to}.attn_norm.weight"),
        );
        let ff = format!("encoder.block.{i}.layer.1");
        for (theirs, ours) in [("wi_0", "gate"), ("wi_1", "up"), ("wo", "down")] {
            m.one(
                &format!("{ff}.DenseReluDense.{theirs}.weight"),
                &format!("{to}.ffn_{ours}.weight"),
            );
        }
        m.one(
            &format!("{ff}.layer_norm.weight"),
            &format!("{to}.ffn_norm.weight"),
        );
    }
    m.done()
}
