"""The transformer's forward pass, arranged for training on a CPU.

The same mathematics as `FluxTransformer2DModel.forward`, on the same parameters (check_diffusers.py compares them),
with fewer and larger operations: query, key and value in one product, one SiLU for every
block's modulation. Each kind of block can be compiled once for all blocks and sizes.
"""

from __future__ import annotations

import torch
from torch.nn import functional


def rotation(model, ids: torch.Tensor) -> torch.Tensor:
    """(tokens, 3) position ids -> (2, tokens, 1, head): cosines and sines, every value twice in a row."""
    return torch.stack(model.pos_embed(ids)).float()[:, :, None]


def heads(x, q, k, v, norm_q, norm_k, count):
    """(batch, tokens, width) -> query and key, normalised (batch, tokens, 2, heads, head), and value."""
    weight = torch.cat((q.weight, k.weight, v.weight))
    bias = torch.cat((q.bias, k.bias, v.bias))
    qkv = functional.linear(x, weight, bias).unflatten(-1, (3, count, -1))
    qk = functional.rms_norm(qkv[:, :, :2], (qkv.shape[-1],), eps=1e-6)
    return qk * torch.stack((norm_q.weight, norm_k.weight))[:, None], qkv[:, :, 2]


def attend(qk, value, turn):
    """Rotates query and key and attends: -> (batch, tokens, width)."""
    even, odd = qk.unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack((-odd, even), -1).flatten(-2)
    query, key = (qk * turn[0][:, None] + turned * turn[1][:, None]).unbind(2)
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))  # (batch, heads, tokens, head)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


def modulated(x, shift, scale):
    return torch.addcmul(shift, functional.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)


def feed_forward(x, module):
    return module.net[2](functional.gelu(module.net[0].proj(x), approximate="tanh"))


def double_block(block, x, text, condition, turn, count):
    """One double-stream block. `condition` is SiLU of the conditioning vector, (batch, width)."""
    shift, scale, gate, shift_ff, scale_ff, gate_ff = block.norm1.linear(condition)[:, None].chunk(6, -1)
    t_shift, t_scale, t_gate, t_shift_ff, t_scale_ff, t_gate_ff = block.norm1_context.linear(condition)[:, None].chunk(6, -1)
    a = block.attn
    qk, value = heads(modulated(x, shift, scale), a.to_q, a.to_k, a.to_v, a.norm_q, a.norm_k, count)
    text_qk, text_value = heads(modulated(text, t_shift, t_scale), a.add_q_proj, a.add_k_proj, a.add_v_proj,
                                a.norm_added_q, a.norm_added_k, count)
    mixed = attend(torch.cat((text_qk, qk), 1), torch.cat((text_value, value), 1), turn)
    words = text.shape[1]
    x = torch.addcmul(x, gate, a.to_out[0](mixed[:, words:]))
    text = torch.addcmul(text, t_gate, a.to_add_out(mixed[:, :words]))
    x = torch.addcmul(x, gate_ff, feed_forward(modulated(x, shift_ff, scale_ff), block.ff))
    text = torch.addcmul(text, t_gate_ff, feed_forward(modulated(text, t_shift_ff, t_scale_ff), block.ff_context))
    return x, text


def single_block(block, x, condition, turn, count):
    shift, scale, gate = block.norm.linear(condition)[:, None].chunk(3, -1)
    y = modulated(x, shift, scale)
    a = block.attn
    qk, value = heads(y, a.to_q, a.to_k, a.to_v, a.norm_q, a.norm_k, count)
    mixed = attend(qk, value, turn)
    wide = functional.gelu(block.proj_mlp(y), approximate="tanh")
    return torch.addcmul(x, gate, block.proj_out(torch.cat((mixed, wide), -1)))


def velocity(model, tokens, text, pooled, sigma, turn):
    """The predicted velocity noise - picture.

    tokens (batch, tokens, 64), text (batch, words, 128), pooled (batch, 64), sigma (batch,) in 0..1,
    turn from `rotation` of the text's and the tokens' ids -> (batch, tokens, 64).
    """
    return velocity_and_hidden(model, tokens, text, pooled, sigma, turn)[0]


def velocity_and_hidden(model, tokens, text, pooled, sigma, turn, depth: int = 0):
    """The same, and (batch, tokens, width) after `depth` blocks, which must be a single-stream one; 0 is none of them."""
    count = model.config.num_attention_heads
    x, words = model.x_embedder(tokens), text.shape[1]
    condition = functional.silu(model.time_text_embed(sigma * 1000, pooled))
    text = model.context_embedder(text)
    for block in model.transformer_blocks:
        x, text = double_block(block, x, text, condition, turn, count)
    x, hidden = torch.cat((text, x), 1), None
    for number, block in enumerate(model.single_transformer_blocks, len(model.transformer_blocks) + 1):
        x = single_block(block, x, condition, turn, count)
        if number == depth:
            hidden = x[:, words:]
    scale, shift = model.norm_out.linear(condition)[:, None].chunk(2, -1)
    return model.proj_out(modulated(x[:, words:], shift, scale)), hidden
