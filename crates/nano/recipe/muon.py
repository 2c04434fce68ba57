"""Muon for matrices, AdamW for the rest, in one optimiser that can update a share of the parameters.

Muon (Keller Jordan, 2024) orthogonalises the momentum of a weight matrix with a few Newton-Schulz steps. The update
is scaled by 0.2 * sqrt(longer side), so that its size matches AdamW's and one learning rate serves both
(Liu et al., "Muon is scalable for LLM training", 2025). Matrices of one shape are orthogonalised in one batch.
"""

from __future__ import annotations

from collections import defaultdict

import torch

NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """(count, rows, columns) -> the nearest (semi-)orthogonal matrices, roughly."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    if x.shape[2] >= 2 * x.shape[1] and torch.backends.mkldnn.matmul.fp32_precision != "bf16":
        x = by_gram(x)
    else:
        for a, b, c in NEWTON_SCHULZ:
            gram = x @ x.transpose(1, 2)
            x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.transpose(1, 2) if tall else x


def by_gram(x: torch.Tensor) -> torch.Tensor:
    """The same steps of wide matrices, on their small Gram matrices: each factor is a polynomial of the first, so they commute.

    Rounded to bf16 they no longer do, and the steps diverge.
    """
    gram, factor = x @ x.transpose(1, 2), None
    for index, (a, b, c) in enumerate(NEWTON_SCHULZ):
        p = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        p.diagonal(dim1=1, dim2=2).add_(a)
        factor = p if factor is None else p @ factor
        if index + 1 < len(NEWTON_SCHULZ):
            gram = p @ gram @ p
    return factor @ x


class MuonAdamW:
    """`matrices` and `others` are lists of (parameter, learning-rate factor). Gradients are read from `.grad`."""

    def __init__(self, matrices, others, momentum=0.95, betas=(0.9, 0.98), weight_decay=0.0):
        self.matrices, self.others = list(matrices), list(others)
        self.momentum, self.betas, self.weight_decay = momentum, betas, weight_decay
        self.steps = 0
        self.state = {id(p): torch.zeros_like(p) for p, _ in self.matrices}
        self.state |= {id(p): (torch.zeros_like(p), torch.zeros_like(p)) for p, _ in self.others}
        self.groups = defaultdict(list)
        for p, factor in self.matrices:
            self.groups[tuple(p.flatten(1).shape)].append((p, factor))

    @torch.no_grad()
    def step(self, rate: float, scale: float = 1.0) -> None:
        """One update at learning rate `rate`; gradients are multiplied by `scale` (clipping, averaging)."""
        self.steps += 1
        for shape, members in self.groups.items():
            updates = []
            for p, _ in members:
                moment = self.state[id(p)].lerp_(p.grad * scale, 1 - self.momentum)
                updates.append((p.grad * scale).lerp(moment, self.momentum).flatten(1))
            for (p, factor), update in zip(members, orthogonalise(torch.stack(updates))):
                p.mul_(1 - rate * factor * self.weight_decay)
                p.add_(update.reshape(p.shape), alpha=-rate * factor * 0.2 * max(shape) ** 0.5)
        if self.others:
            self.step_others(rate, scale)

    def step_others(self, rate: float, scale: float) -> None:
        low, high = self.betas
        parameters, factors = map(list, zip(*self.others))
        firsts, seconds = map(list, zip(*(self.state[id(p)] for p in parameters)))
        gradients = torch._foreach_mul([p.grad for p in parameters], scale)
        torch._foreach_lerp_(firsts, gradients, 1 - low)
        torch._foreach_mul_(seconds, high)
        torch._foreach_addcmul_(seconds, gradients, gradients, 1 - high)
        unbiased = torch._foreach_sqrt(torch._foreach_div(seconds, 1 - high ** self.steps))
        torch._foreach_add_(unbiased, 1e-8)
        torch._foreach_addcdiv_(parameters, firsts, unbiased, [-rate * factor / (1 - low ** self.steps) for factor in factors])

    def state_dict(self):
        order = [p for p, _ in self.matrices] + [p for p, _ in self.others]
        return {"steps": self.steps, "state": [self.state[id(p)] for p in order]}

    def load_state_dict(self, saved):
        self.steps = saved["steps"]
        order = [p for p, _ in self.matrices] + [p for p, _ in self.others]
        for p, value in zip(order, saved["state"]):
            mine = self.state[id(p)]
            for to, source in zip(mine if isinstance(mine, tuple) else (mine,), value if isinstance(value, tuple) else (value,)):
                to.copy_(source)
