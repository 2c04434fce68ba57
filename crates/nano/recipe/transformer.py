"""The diffusion transformer: FluxTransformer2DModel in miniature, and how its first weights are laid.

Two double-stream blocks, because the text comes resolved from its frozen encoder, and seven single-stream ones, which
cost the same time and less than half the parameters: depth is what it takes to find out where a picture ends, which
object a token belongs to, and what the token shows of it.
"""

from __future__ import annotations

import torch
from diffusers import FluxTransformer2DModel

from text import POOLED, WIDTH

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


def quiet_modulation(model) -> None:
    """adaLN-Zero, nearly: no shift, no scale, small gates, and an output of zero at the start."""
    width = model.inner_dim
    for block in model.transformer_blocks:
        for norm in (block.norm1, block.norm1_context):  # shift, scale, gate, shift, scale, gate
            norm.linear.weight.mul_(0.1)
            norm.linear.bias.copy_(torch.tensor([0.0, 0, 0.5, 0, 0, 0.5]).repeat_interleave(width))
    for block in model.single_transformer_blocks:  # shift, scale, gate
        block.norm.linear.weight.mul_(0.1)
        block.norm.linear.bias.copy_(torch.tensor([0.0, 0, 0.5]).repeat_interleave(width))
    model.norm_out.linear.weight.mul_(0.1)
    model.norm_out.linear.bias.zero_()
    model.proj_out.weight.zero_()
    model.proj_out.bias.zero_()


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


def is_block_matrix(name: str, p: torch.Tensor) -> bool:
    """Whether Muon trains it: the projections inside the blocks, not the modulations."""
    return p.ndim == 2 and "transformer_blocks" in name and ".linear." not in name


def position_ids(rows: int, columns: int, frame: int) -> torch.Tensor:
    """(rows * columns, 3): the frame (0 the picture, 1 the reference), the row, the column."""
    ids = torch.zeros(rows, columns, 3)
    ids[..., 0] = frame
    ids[..., 1] = torch.arange(rows)[:, None]
    ids[..., 2] = torch.arange(columns)[None]
    return ids.reshape(-1, 3)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """(batch, 16, 2 * rows, 2 * columns) -> (batch, rows * columns, 64), as FluxPipeline packs them."""
    batch, channels, height, width = latents.shape
    x = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(batch, height // 2 * (width // 2), channels * 4)


def unpack(tokens: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """The way back."""
    batch, _, channels = tokens.shape
    x = tokens.view(batch, rows, columns, channels // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(batch, channels // 4, rows * 2, columns * 2)
