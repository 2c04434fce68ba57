"""The transformer's forward pass for training on a CPU, with what lies between the large products fused.

The same mathematics as velocity.py, on the same parameters, in about two thirds of its time: fused.cpp does norms, rotation,
attention, GELU and gates in one pass each, and tokens of which the answer shows nothing stop at the last block's
keys and values. Where there is no C++ compiler, or on an accelerator, velocity.py's arithmetic is used.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import sys
from ctypes import POINTER, Structure, c_int, c_int64, c_void_p
from pathlib import Path

import torch
from torch.autograd import Function
from torch.nn.functional import linear, silu

import velocity as plain
from paths import WORK

SOURCE = Path(__file__).with_name("fused.cpp")
COMPILER = ("c++", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
HEAD = 32
MOST_TOKENS = 192  # as in fused.cpp


class Segment(Structure):
    """As in fused.cpp."""

    _fields_ = [("count", c_int64), ("query", c_void_p), ("key", c_void_p), ("value", c_void_p),
                ("query_row", c_int64), ("query_batch", c_int64), ("key_row", c_int64), ("key_batch", c_int64),
                ("out", c_void_p), ("out_row", c_int64), ("out_batch", c_int64), ("query_weight", c_void_p), ("key_weight", c_void_p),
                ("query_gradient", c_void_p), ("key_gradient", c_void_p), ("value_gradient", c_void_p),
                ("query_weight_gradient", c_void_p), ("key_weight_gradient", c_void_p)]


P, N, L = c_void_p, c_int, c_int64
ARGUMENTS = {
    "attend": (POINTER(Segment), N, N, N, P, P, P), "attend_back": (POINTER(Segment), N, N, N, P, P, P),
    "modulate": (P, P, P, L, P, P, N, N, N), "modulate_back": (P, P, P, L, P, P, P, P, N, N, N),
    "gelu": (P, L, P, L, N, N), "gelu_back": (P, L, P, P, L, N, N),
    "gated": (P, P, L, P, P, N, N, N), "gated_back": (P, P, L, P, P, P, N, N, N),
}


@functools.cache
def kernels():
    """The compiled kernels, or None where they cannot be compiled; kept in the work folder."""
    stamp = hashlib.sha256(SOURCE.read_bytes() + " ".join(COMPILER).encode()).hexdigest()[:16]
    built = WORK / f"fused.{stamp}.so"
    if not built.exists():
        fresh = built.with_suffix(f".{os.getpid()}.new")
        try:
            subprocess.run([*COMPILER, "-o", fresh, SOURCE], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"fused.cpp could not be compiled, training goes on without it, more slowly: {error}", file=sys.stderr)
            return None
        fresh.replace(built)
    library = ctypes.CDLL(str(built))
    for name, arguments in ARGUMENTS.items():
        getattr(library, name).argtypes, getattr(library, name).restype = arguments, None
    return library


def at(x: torch.Tensor, offset: int = 0) -> int:
    return x.data_ptr() + 4 * offset


def packed(x: torch.Tensor) -> torch.Tensor:
    return x if x.is_contiguous() else x.contiguous()


class Modulate(Function):
    """(batch, tokens, width) normed, times 1 + scale, plus shift; these are (batch, width) with rows anywhere."""

    @staticmethod
    def forward(ctx, x, shift, scale):
        assert shift.stride() == scale.stride() and shift.stride(1) == 1
        x = packed(x)
        y, kept = torch.empty_like(x), x.new_empty(*x.shape[:2], 2)
        kernels().modulate(at(x), at(shift), at(scale), shift.stride(0), at(y), at(kept), *x.shape)
        ctx.save_for_backward(x, scale, kept)
        return y

    @staticmethod
    def backward(ctx, g):
        (x, scale, kept), g = ctx.saved_tensors, packed(g)
        dx, dshift, dscale = torch.empty_like(x), x.new_zeros(scale.shape), x.new_zeros(scale.shape)
        kernels().modulate_back(at(g), at(x), at(scale), scale.stride(0), at(kept), at(dx), at(dshift), at(dscale), *x.shape)
        return dx, dshift, dscale


class Gated(Function):
    """x + gate * z."""

    @staticmethod
    def forward(ctx, x, gate, z):
        assert gate.stride(1) == 1
        x, z = packed(x), packed(z)
        y = torch.empty_like(x)
        kernels().gated(at(x), at(gate), gate.stride(0), at(z), at(y), *x.shape)
        ctx.save_for_backward(gate, z)
        return y

    @staticmethod
    def backward(ctx, g):
        (gate, z), g = ctx.saved_tensors, packed(g)
        dz, dgate = torch.empty_like(z), z.new_zeros(gate.shape)
        kernels().gated_back(at(g), at(gate), gate.stride(0), at(z), at(dz), at(dgate), *z.shape)
        return g, dgate, dz


class Gelu(Function):
    @staticmethod
    def forward(ctx, x):
        y, width = torch.empty_like(x), x.shape[-1]
        kernels().gelu(at(x), width, at(y), width, x.numel() // width, width)
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx, g):
        (x,), g = ctx.saved_tensors, packed(g)
        dx, width = torch.empty_like(x), x.shape[-1]
        kernels().gelu_back(at(g), width, at(x), at(dx), width, x.numel() // width, width)
        return dx


def segment(queries, keys, out, start, weights, gradients=None):
    """Tokens whose queries lie in `queries` (batch, tokens, …) from float `start`[0], keys and then values in `keys` from `start`[1],
    and whose answers go to the beginning of each row of `out`. `queries` is None for tokens that do not ask."""
    width = weights[2]
    s = Segment(count=keys.shape[1], key=at(keys, start[1]), value=at(keys, start[1] + width), key_row=keys.stride(1), key_batch=keys.stride(0),
                query_weight=at(weights[0]), key_weight=at(weights[1]))
    if queries is not None:
        s.query, s.query_row, s.query_batch = at(queries, start[0]), queries.stride(1), queries.stride(0)
        s.out, s.out_row, s.out_batch = at(out), out.stride(1), out.stride(0)
    if gradients is not None:
        of_queries, of_keys, of_query_weight, of_key_weight = gradients
        s.key_gradient, s.value_gradient = at(of_keys, start[1]), at(of_keys, start[1] + width)
        s.query_weight_gradient, s.key_weight_gradient = at(of_query_weight), at(of_key_weight)
        if queries is not None:
            s.query_gradient = at(of_queries, start[0])
    return s


def attend(name, segments, batch, width, turn, logs):
    getattr(kernels(), name)((Segment * len(segments))(*segments), len(segments), batch, width // HEAD, at(turn[0]), at(turn[1]), at(logs))


class JointAttention(Function):
    """Text's and picture's query, key and value (batch, tokens, 3 * width) and their norms' weights -> both answers."""

    @staticmethod
    def forward(ctx, words, picture, *rest):
        *weights, turn = rest
        width = picture.shape[-1] // 3
        answers = [x.new_empty(*x.shape[:2], width) for x in (words, picture)]
        logs = picture.new_empty(len(picture), width // HEAD, words.shape[1] + picture.shape[1])
        segments = [segment(x, x, out, (0, width), (*pair, width)) for x, out, pair in zip((words, picture), answers, (weights[:2], weights[2:]))]
        attend("attend", segments, len(picture), width, turn, logs)
        ctx.save_for_backward(words, picture, *weights, logs)
        ctx.turn = turn
        return tuple(answers)

    @staticmethod
    def backward(ctx, *answers):
        words, picture, *weights, logs = ctx.saved_tensors
        width, answers = picture.shape[-1] // 3, [packed(g) for g in answers]
        gradients, of_weights = [torch.empty_like(x) for x in (words, picture)], [torch.zeros_like(x) for x in weights]
        segments = [segment(x, x, out, (0, width), (*pair, width), (g, g, *of))
                    for x, out, pair, g, of in zip((words, picture), answers, (weights[:2], weights[2:]), gradients, (of_weights[:2], of_weights[2:]))]
        attend("attend_back", segments, len(picture), width, ctx.turn, logs)
        return *gradients, *of_weights, None


class SingleMiddle(Function):
    """Query, key, value and the wide layer (batch, tokens, 7 * width) -> attention's answer and GELU side by side (…, 5 * width)."""

    @staticmethod
    def forward(ctx, x, query_weight, key_weight, turn):
        batch, tokens, wide = x.shape
        width = wide // 7
        y, logs = x.new_empty(batch, tokens, 5 * width), x.new_empty(batch, width // HEAD, tokens)
        attend("attend", [segment(x, x, y, (0, width), (query_weight, key_weight, width))], batch, width, turn, logs)
        kernels().gelu(at(x, 3 * width), wide, at(y, width), 5 * width, batch * tokens, 4 * width)
        ctx.save_for_backward(x, query_weight, key_weight, logs)
        ctx.turn = turn
        return y

    @staticmethod
    def backward(ctx, g):
        (x, query_weight, key_weight, logs), g = ctx.saved_tensors, packed(g)
        batch, tokens, wide = x.shape
        width = wide // 7
        dx, of_query, of_key = torch.empty_like(x), torch.zeros_like(query_weight), torch.zeros_like(key_weight)
        attend("attend_back", [segment(x, x, g, (0, width), (query_weight, key_weight, width), (dx, dx, of_query, of_key))], batch, width, ctx.turn, logs)
        kernels().gelu_back(at(g, width), 5 * width, at(x, 3 * width), at(dx, 3 * width), wide, batch * tokens, 4 * width)
        return dx, of_query, of_key, None


class LastMiddle(Function):
    """The same where only some tokens ask: `x` (batch, asking, 5 * width) holds their queries and wide layer,
    `keys` (batch, tokens, 2 * width) everyone's keys and values; the asking ones stand from `first` on."""

    @staticmethod
    def parts(keys, first, asking):
        return keys[:, :first], keys[:, first:first + asking], keys[:, first + asking:]

    @staticmethod
    def segments(x, keys, y, first, weights, gradients=None):
        found = []
        for index, part in enumerate(LastMiddle.parts(keys, first, x.shape[1])):
            if part.shape[1]:
                queries = x if index == 1 else None
                of = (gradients[0], LastMiddle.parts(gradients[1], first, x.shape[1])[index], *gradients[2:]) if gradients else None
                found.append(segment(queries, part, y, (0, 0), weights, of))
        return found

    @staticmethod
    def forward(ctx, x, keys, query_weight, key_weight, turn, first):
        batch, asking, wide = x.shape
        width = wide // 5
        y, logs = torch.empty_like(x), x.new_empty(batch, width // HEAD, asking)
        attend("attend", LastMiddle.segments(x, keys, y, first, (query_weight, key_weight, width)), batch, width, turn, logs)
        kernels().gelu(at(x, width), wide, at(y, width), wide, batch * asking, 4 * width)
        ctx.save_for_backward(x, keys, query_weight, key_weight, logs)
        ctx.turn, ctx.first = turn, first
        return y

    @staticmethod
    def backward(ctx, g):
        (x, keys, query_weight, key_weight, logs), g = ctx.saved_tensors, packed(g)
        batch, asking, wide = x.shape
        width = wide // 5
        dx, dkeys, of_query, of_key = torch.empty_like(x), torch.empty_like(keys), torch.zeros_like(query_weight), torch.zeros_like(key_weight)
        segments = LastMiddle.segments(x, keys, g, ctx.first, (query_weight, key_weight, width), (dx, dkeys, of_query, of_key))
        attend("attend_back", segments, batch, width, ctx.turn, logs)
        kernels().gelu_back(at(g, width), wide, at(x, width), at(dx, width), wide, batch * asking, 4 * width)
        return dx, dkeys, of_query, of_key, None, None


def together(x, *layers):
    """Several linear layers of one input in one product."""
    return linear(x, torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers]))


def double_block(block, x, text, condition, turn):
    shift, scale, gate, shift_ff, scale_ff, gate_ff = block.norm1.linear(condition).chunk(6, -1)
    t_shift, t_scale, t_gate, t_shift_ff, t_scale_ff, t_gate_ff = block.norm1_context.linear(condition).chunk(6, -1)
    a = block.attn
    words, picture = JointAttention.apply(
        together(Modulate.apply(text, t_shift, t_scale), a.add_q_proj, a.add_k_proj, a.add_v_proj),
        together(Modulate.apply(x, shift, scale), a.to_q, a.to_k, a.to_v),
        a.norm_added_q.weight, a.norm_added_k.weight, a.norm_q.weight, a.norm_k.weight, turn)
    x = Gated.apply(x, gate, a.to_out[0](picture))
    text = Gated.apply(text, t_gate, a.to_add_out(words))
    wide = lambda y, module: module.net[2](Gelu.apply(module.net[0].proj(y)))
    x = Gated.apply(x, gate_ff, wide(Modulate.apply(x, shift_ff, scale_ff), block.ff))
    return x, Gated.apply(text, t_gate_ff, wide(Modulate.apply(text, t_shift_ff, t_scale_ff), block.ff_context))


def single_block(block, x, condition, turn):
    shift, scale, gate = block.norm.linear(condition).chunk(3, -1)
    a = block.attn
    wide = together(Modulate.apply(x, shift, scale), a.to_q, a.to_k, a.to_v, block.proj_mlp)
    return Gated.apply(x, gate, block.proj_out(SingleMiddle.apply(wide, a.norm_q.weight, a.norm_k.weight, turn)))


def last_block(block, x, condition, turn, first, asking):
    """A single block of which only the tokens from `first` on are wanted, `asking` of them."""
    shift, scale, gate = block.norm.linear(condition).chunk(3, -1)
    a, y = block.attn, Modulate.apply(x, shift, scale)
    wide = together(y[:, first:first + asking], a.to_q, block.proj_mlp)
    middle = LastMiddle.apply(wide, together(y, a.to_k, a.to_v), a.norm_q.weight, a.norm_k.weight, turn, first)
    return Gated.apply(x[:, first:first + asking], gate, block.proj_out(middle))


def rotation(model, ids: torch.Tensor):
    """(tokens, 3) position ids -> (2, tokens, 32): cosines, and sines with the sign that a pair's exchange wants."""
    cosine, sine = (x.float() for x in model.pos_embed(ids))
    return torch.stack((cosine, sine * torch.tensor([-1.0, 1.0]).repeat(sine.shape[-1] // 2))).contiguous()


def velocity(model, tokens, text, pooled, sigma, ids, wanted: int, depth: int):
    """As velocity.velocity_and_hidden, the velocity of the first `wanted` tokens; `ids` are the text's and the tokens' positions."""
    if tokens.device.type != "cpu" or len(ids) > MOST_TOKENS or kernels() is None:
        answer, hidden = plain.velocity_and_hidden(model, tokens, text, pooled, sigma, plain.rotation(model, ids), depth)
        return answer[:, :wanted], hidden
    turn, words = rotation(model, ids), text.shape[1]
    x, text = model.x_embedder(tokens), model.context_embedder(text)
    condition = silu(model.time_text_embed(sigma * 1000, pooled))
    for block in model.transformer_blocks:
        x, text = double_block(block, x, text, condition, turn)
    x = torch.cat((text, x), 1)
    *blocks, last = model.single_transformer_blocks
    hidden = None
    for number, block in enumerate(blocks, len(model.transformer_blocks) + 1):
        x = single_block(block, x, condition, turn)
        if number == depth:
            hidden = x[:, words:]
    x = last_block(last, x, condition, turn, words, wanted)
    scale, shift = model.norm_out.linear(condition).chunk(2, -1)
    return model.proj_out(Modulate.apply(x, shift, scale)), hidden
