"""The sampler: flow-match Euler with the exponential shift, the same mathematics as FluxPipeline and FluxKontextPipeline."""

from __future__ import annotations

import math

import torch

from transformer import pack, position_ids, unpack
from velocity import rotation, velocity


def sigma_schedule(steps: int, mu: float) -> torch.Tensor:
    """(steps + 1,): linspace(1, 1 / steps) shifted by mu, and 0 behind it."""
    even = torch.linspace(1, 1 / steps, steps)
    shifted = math.exp(mu) / (math.exp(mu) + (1 / even - 1))
    return torch.cat((shifted, torch.zeros(1)))


@torch.no_grad()
def sample(flux, states, pooled, noise, reference=None, steps: int = 16, mu: float = 1.8, nothing=None, true_cfg: float = 1.0):
    """Latents (batch, 16, height / 8, width / 8) from noise of that shape, text states and an optional reference's latents.

    `nothing` is the pair of states of the empty prompt, needed where `true_cfg` is not 1.
    """
    rows, columns = noise.shape[2] // 2, noise.shape[3] // 2
    ids = [torch.zeros(states.shape[1], 3), position_ids(rows, columns, 0)]
    if reference is not None:
        ids.append(position_ids(reference.shape[2] // 2, reference.shape[3] // 2, 1))
        reference = pack(reference)
    turn, tokens = rotation(flux, torch.cat(ids)), pack(noise)
    sigmas = sigma_schedule(steps, mu)
    for now, later in zip(sigmas, sigmas[1:]):
        x = tokens if reference is None else torch.cat((tokens, reference), 1)
        at = now.expand(len(x))
        v = velocity(flux, x, states, pooled, at, turn)[:, :tokens.shape[1]]
        if true_cfg != 1:
            empty = velocity(flux, x, *(part.expand(len(x), *part.shape[1:]) for part in nothing), at, turn)[:, :tokens.shape[1]]
            v = empty + true_cfg * (v - empty)
        tokens = tokens + (later - now) * v
    return unpack(tokens, rows, columns)
