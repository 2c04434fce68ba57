//! How files that are no diffusers folders call the tensors of each component.
//!
//! The facts are those of Black Forest Labs' reference code (`flux/model.py`, `flux/modules`), of
//! diffusers' converters (0.42, `loaders/single_file_utils.py`) and of llama.cpp's tensor names for T5;
//! `tests/golden/names.json` holds what those converters make of them.

use crate::weights::rules::{Rule, Wanted};

const fn whole(stored: &'static str, wanted: &'static str) -> Rule {
    Rule {
        stored,
        wanted: Wanted::Whole(wanted),
    }
}

const fn rows(stored: &'static str, wanted: &'static [(usize, &'static str)]) -> Rule {
    Rule {
        stored,
        wanted: Wanted::Rows(wanted),
    }
}

const fn matrix(stored: &'static str, wanted: &'static str) -> Rule {
    Rule {
        stored,
        wanted: Wanted::Matrix(wanted),
    }
}

const fn nothing(stored: &'static str) -> Rule {
    Rule {
        stored,
        wanted: Wanted::Nothing,
    }
}

/// The transformer in the names of its makers.
pub const TRANSFORMER: &[Rule] = &[
    whole("img_in", "x_embedder"),
    whole("txt_in", "context_embedder"),
    whole(
        "time_in.in_layer",
        "time_text_embed.timestep_embedder.linear_1",
    ),
    whole(
        "time_in.out_layer",
        "time_text_embed.timestep_embedder.linear_2",
    ),
    whole(
        "vector_in.in_layer",
        "time_text_embed.text_embedder.linear_1",
    ),
    whole(
        "vector_in.out_layer",
        "time_text_embed.text_embedder.linear_2",
    ),
    whole(
        "guidance_in.in_layer",
        "time_text_embed.guidance_embedder.linear_1",
    ),
    whole(
        "guidance_in.out_layer",
        "time_text_embed.guidance_embedder.linear_2",
    ),
    whole(
        "double_blocks.#.img_mod.lin",
        "transformer_blocks.#.norm1.linear",
    ),
    whole(
        "double_blocks.#.txt_mod.lin",
        "transformer_blocks.#.norm1_context.linear",
    ),
    rows(
        "double_blocks.#.img_attn.qkv",
        &[
            (1, "transformer_blocks.#.attn.to_q"),
            (1, "transformer_blocks.#.attn.to_k"),
            (1, "transformer_blocks.#.attn.to_v"),
        ],
    ),
    rows(
        "double_blocks.#.txt_attn.qkv",
        &[
            (1, "transformer_blocks.#.attn.add_q_proj"),
            (1, "transformer_blocks.#.attn.add_k_proj"),
            (1, "transformer_blocks.#.attn.add_v_proj"),
        ],
    ),
    whole(
        "double_blocks.#.img_attn.norm.query_norm.scale",
        "transformer_blocks.#.attn.norm_q.weight",
    ),
    whole(
        "double_blocks.#.img_attn.norm.key_norm.scale",
        "transformer_blocks.#.attn.norm_k.weight",
    ),
    whole(
        "double_blocks.#.txt_attn.norm.query_norm.scale",
        "transformer_blocks.#.attn.norm_added_q.weight",
    ),
    whole(
        "double_blocks.#.txt_attn.norm.key_norm.scale",
        "transformer_blocks.#.attn.norm_added_k.weight",
    ),
    whole(
        "double_blocks.#.img_attn.proj",
        "transformer_blocks.#.attn.to_out.0",
    ),
    whole(
        "double_blocks.#.txt_attn.proj",
        "transformer_blocks.#.attn.to_add_out",
    ),
    whole(
        "double_blocks.#.img_mlp.0",
        "transformer_blocks.#.ff.net.0.proj",
    ),
    whole("double_blocks.#.img_mlp.2", "transformer_blocks.#.ff.net.2"),
    whole(
        "double_blocks.#.txt_mlp.0",
        "transformer_blocks.#.ff_context.net.0.proj",
    ),
    whole(
        "double_blocks.#.txt_mlp.2",
        "transformer_blocks.#.ff_context.net.2",
    ),
    whole(
        "single_blocks.#.modulation.lin",
        "single_transformer_blocks.#.norm.linear",
    ),
    rows(
        "single_blocks.#.linear1",
        &[
            (1, "single_transformer_blocks.#.attn.to_q"),
            (1, "single_transformer_blocks.#.attn.to_k"),
            (1, "single_transformer_blocks.#.attn.to_v"),
            // The feed-forward's hidden layer is four times as wide as the residual stream.
            (4, "single_transformer_blocks.#.proj_mlp"),
        ],
    ),
    whole(
        "single_blocks.#.linear2",
        "single_transformer_blocks.#.proj_out",
    ),
    whole(
        "single_blocks.#.norm.query_norm.scale",
        "single_transformer_blocks.#.attn.norm_q.weight",
    ),
    whole(
        "single_blocks.#.norm.key_norm.scale",
        "single_transformer_blocks.#.attn.norm_k.weight",
    ),
    // Shift comes first there, scale in diffusers.
    Rule {
        stored: "final_layer.adaLN_modulation.1",
        wanted: Wanted::HalvesSwapped("norm_out.linear"),
    },
    whole("final_layer.linear", "proj_out"),
];

/// The autoencoder in the names of its makers, who number the decoder's levels from the innermost out.
pub const VAE: &[Rule] = &[
    // FLUX's own has neither of these two.
    whole("quant_conv", "quant_conv"),
    whole("post_quant_conv", "post_quant_conv"),
    whole("encoder.conv_in", "encoder.conv_in"),
    whole("encoder.conv_out", "encoder.conv_out"),
    whole("encoder.norm_out", "encoder.conv_norm_out"),
    whole(
        "encoder.down.#.block.#.norm1",
        "encoder.down_blocks.#.resnets.#.norm1",
    ),
    whole(
        "encoder.down.#.block.#.norm2",
        "encoder.down_blocks.#.resnets.#.norm2",
    ),
    whole(
        "encoder.down.#.block.#.conv1",
        "encoder.down_blocks.#.resnets.#.conv1",
    ),
    whole(
        "encoder.down.#.block.#.conv2",
        "encoder.down_blocks.#.resnets.#.conv2",
    ),
    whole(
        "encoder.down.#.block.#.nin_shortcut",
        "encoder.down_blocks.#.resnets.#.conv_shortcut",
    ),
    whole(
        "encoder.down.#.downsample.conv",
        "encoder.down_blocks.#.downsamplers.0.conv",
    ),
    whole(
        "encoder.mid.block_1.norm1",
        "encoder.mid_block.resnets.0.norm1",
    ),
    whole(
        "encoder.mid.block_1.norm2",
        "encoder.mid_block.resnets.0.norm2",
    ),
    whole(
        "encoder.mid.block_1.conv1",
        "encoder.mid_block.resnets.0.conv1",
    ),
    whole(
        "encoder.mid.block_1.conv2",
        "encoder.mid_block.resnets.0.conv2",
    ),
    whole(
        "encoder.mid.block_2.norm1",
        "encoder.mid_block.resnets.1.norm1",
    ),
    whole(
        "encoder.mid.block_2.norm2",
        "encoder.mid_block.resnets.1.norm2",
    ),
    whole(
        "encoder.mid.block_2.conv1",
        "encoder.mid_block.resnets.1.conv1",
    ),
    whole(
        "encoder.mid.block_2.conv2",
        "encoder.mid_block.resnets.1.conv2",
    ),
    whole(
        "encoder.mid.attn_1.norm",
        "encoder.mid_block.attentions.0.group_norm",
    ),
    matrix(
        "encoder.mid.attn_1.q",
        "encoder.mid_block.attentions.0.to_q",
    ),
    matrix(
        "encoder.mid.attn_1.k",
        "encoder.mid_block.attentions.0.to_k",
    ),
    matrix(
        "encoder.mid.attn_1.v",
        "encoder.mid_block.attentions.0.to_v",
    ),
    matrix(
        "encoder.mid.attn_1.proj_out",
        "encoder.mid_block.attentions.0.to_out.0",
    ),
    whole("decoder.conv_in", "decoder.conv_in"),
    whole("decoder.conv_out", "decoder.conv_out"),
    whole("decoder.norm_out", "decoder.conv_norm_out"),
    whole(
        "decoder.up.#.block.#.norm1",
        "decoder.up_blocks.~.resnets.#.norm1",
    ),
    whole(
        "decoder.up.#.block.#.norm2",
        "decoder.up_blocks.~.resnets.#.norm2",
    ),
    whole(
        "decoder.up.#.block.#.conv1",
        "decoder.up_blocks.~.resnets.#.conv1",
    ),
    whole(
        "decoder.up.#.block.#.conv2",
        "decoder.up_blocks.~.resnets.#.conv2",
    ),
    whole(
        "decoder.up.#.block.#.nin_shortcut",
        "decoder.up_blocks.~.resnets.#.conv_shortcut",
    ),
    whole(
        "decoder.up.#.upsample.conv",
        "decoder.up_blocks.~.upsamplers.0.conv",
    ),
    whole(
        "decoder.mid.block_1.norm1",
        "decoder.mid_block.resnets.0.norm1",
    ),
    whole(
        "decoder.mid.block_1.norm2",
        "decoder.mid_block.resnets.0.norm2",
    ),
    whole(
        "decoder.mid.block_1.conv1",
        "decoder.mid_block.resnets.0.conv1",
    ),
    whole(
        "decoder.mid.block_1.conv2",
        "decoder.mid_block.resnets.0.conv2",
    ),
    whole(
        "decoder.mid.block_2.norm1",
        "decoder.mid_block.resnets.1.norm1",
    ),
    whole(
        "decoder.mid.block_2.norm2",
        "decoder.mid_block.resnets.1.norm2",
    ),
    whole(
        "decoder.mid.block_2.conv1",
        "decoder.mid_block.resnets.1.conv1",
    ),
    whole(
        "decoder.mid.block_2.conv2",
        "decoder.mid_block.resnets.1.conv2",
    ),
    whole(
        "decoder.mid.attn_1.norm",
        "decoder.mid_block.attentions.0.group_norm",
    ),
    matrix(
        "decoder.mid.attn_1.q",
        "decoder.mid_block.attentions.0.to_q",
    ),
    matrix(
        "decoder.mid.attn_1.k",
        "decoder.mid_block.attentions.0.to_k",
    ),
    matrix(
        "decoder.mid.attn_1.v",
        "decoder.mid_block.attentions.0.to_v",
    ),
    matrix(
        "decoder.mid.attn_1.proj_out",
        "decoder.mid_block.attentions.0.to_out.0",
    ),
];

/// T5 in the names of llama.cpp. A whole T5 has a decoder, which FLUX does not use.
pub const T5_LLAMA_CPP: &[Rule] = &[
    whole("token_embd", "shared"),
    whole("enc.output_norm", "encoder.final_layer_norm"),
    whole("enc.blk.#.attn_norm", "encoder.block.#.layer.0.layer_norm"),
    whole(
        "enc.blk.#.attn_q",
        "encoder.block.#.layer.0.SelfAttention.q",
    ),
    whole(
        "enc.blk.#.attn_k",
        "encoder.block.#.layer.0.SelfAttention.k",
    ),
    whole(
        "enc.blk.#.attn_v",
        "encoder.block.#.layer.0.SelfAttention.v",
    ),
    whole(
        "enc.blk.#.attn_o",
        "encoder.block.#.layer.0.SelfAttention.o",
    ),
    whole(
        "enc.blk.#.attn_rel_b",
        "encoder.block.#.layer.0.SelfAttention.relative_attention_bias",
    ),
    whole("enc.blk.#.ffn_norm", "encoder.block.#.layer.1.layer_norm"),
    whole(
        "enc.blk.#.ffn_gate",
        "encoder.block.#.layer.1.DenseReluDense.wi_0",
    ),
    whole(
        "enc.blk.#.ffn_up",
        "encoder.block.#.layer.1.DenseReluDense.wi_1",
    ),
    whole(
        "enc.blk.#.ffn_down",
        "encoder.block.#.layer.1.DenseReluDense.wo",
    ),
    nothing("dec"),
    nothing("output"),
];

/// What files of T5 in transformers' names hold beside the encoder.
pub const T5: &[Rule] = &[
    nothing("decoder"),
    nothing("lm_head"),
    nothing("logit_scale"),
];

/// What files of CLIP in transformers' names hold beside what FLUX reads of the text model.
pub const CLIP: &[Rule] = &[
    nothing("text_projection"),
    nothing("logit_scale"),
    nothing("visual_projection"),
    nothing("vision_model"),
    nothing("text_model.embeddings.position_ids"),
    nothing("embeddings.position_ids"),
];
