"""The diffusion transformer: FluxTransformer2DModel in miniature, and how its first weights are laid.

Two double-stream blocks, because the text comes resolved from its frozen encoder, and seven single-stream ones, which
cost the same time and less than half the parameters: depth is what it takes to find out where a picture ends, which
object a token belongs to, and what the token shows of it.
"""

from __future__ import annotations

import torch
from diffusers import FluxTransformer2DModel

import paths  # noqa: F401
from text import POOLED, WIDTH
from transformer import is_block_matrix, pack, position_ids, quiet_modulation, unpack  # noqa: F401

CONFIG = dict(
    patch_size=1, in_channels=64, num_layers=2, num_single_layers=7, attention_head_dim=32, num_attention_heads=6,
    joint_attention_dim=WIDTH, pooled_projection_dim=POOLED, guidance_embeds=False, axes_dims_rope=[4, 14, 14],
)
PLACE_HEADS = 2  # heads of each double-stream block that begin by looking at their own place


def build(seed: int = 31) -> FluxTransformer2DModel:
    torch.manual_seed(seed)
    model = FluxTransformer2DModel(**CONFIG)
    with torch.no_grad():
        quiet_modulation(model)
        look_at_own_place(model)
    return model


def look_at_own_place(model) -> None:
    """Lets some heads of the picture's stream begin with a peak at the same row and column.

    Query and key share a constant part in the fastest two rotary frequencies of the row and column axes, so their
    product is largest at distance 0: in an edit that is the reference's token at the same place, which is most of
    what the answer needs. It is only a start; training moves it freely.
    """
    head, (frames, rows, _) = CONFIG["attention_head_dim"], CONFIG["axes_dims_rope"]
    for block in model.transformer_blocks:
        for norm in (block.attn.norm_q, block.attn.norm_k, block.attn.norm_added_q, block.attn.norm_added_k):
            norm.weight.fill_(1.4)
        for index in range(PLACE_HEADS):
            for axis in (frames, frames + rows):
                for pair, amount in ((0, 3.0), (1, 2.4)):
                    place = index * head + axis + 2 * pair
                    block.attn.to_q.bias[place] = amount
                    block.attn.to_k.bias[place] = amount
