"""Stage 3: the transformer learns to draw and to edit by flow matching on latents.

Rank 0 learns pictures (later in turn with edits), rank 1 edits; their gradients are averaged. Timesteps lean towards noise, because there the
layout is decided: with FLUX's usual distribution a model of this size never learns it. Tokens that show an object (or
differ from the reference) weigh three times as much. Latents come from a pool that grows as training goes on, so the
VAE's encoder costs little; captions are said anew at every use. First mostly one object, then up to three.
"""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

import text
import transformer
import vae
from draw import draw
from language import SIZES_BY_ASPECT, Edit, Scene, caption, held_out, random_edit, random_scene
from parallel import Trainer, fill, run
from paths import WORK
from sample import rotation
from tokenizer_files import T5_LENGTH
from transformer import pack, position_ids
from velocity import velocity

STEPS = 6500
DECAY_SHARE = 0.45  # the last part of the steps brings the rate to zero
RATE, OTHERS_FACTOR, NORM_FACTOR = 4e-3, 0.7, 2.0
BATCH = (14, 8)  # pictures, edits: about as many tokens
POOL_START, POOL_LIMIT, POOL_GROWTH = (400, 250), (8000, 5000), (2, 1)  # pictures, edits
SQUARE_SHARE, FEWEST_IN_POOL = 0.55, 12
OBJECT_WEIGHT = 3.0
PROMPT_DROPOUT = 0.04
AVERAGE_DECAY = 0.998
FIRST_STEPS = 700  # of mostly one object
EDITS_IN_TURN_FROM = 3400  # from here rank 0 learns edits at every second step: they are slower to learn
PICTURE, EDIT = 0, 1
CHECKPOINT = WORK / "diffusion.pt"
STOP_AT = WORK / "stop_at"  # a number in this file overrides STEPS while training runs


@dataclass
class Example:
    """One picture to learn: what it is made from, its tokens (tokens, 64), the reference's, and each token's weight."""

    said: Scene | Edit
    target: torch.Tensor
    reference: torch.Tensor | None
    weight: torch.Tensor


def differing_tokens(a: np.ndarray, b: np.ndarray) -> torch.Tensor:
    """(rows * columns,) weight of each 16 x 16 pixel token of two (height, width, 3) pictures."""
    differs = np.abs(a.astype(np.int16) - b).max(-1) > 12
    rows, columns = differs.shape[0] // 16, differs.shape[1] // 16
    tokens = differs.reshape(rows, 16, columns, 16).any((1, 3)).reshape(-1)
    return torch.from_numpy(np.where(tokens, OBJECT_WEIGHT, 1.0).astype(np.float32))


class Pool:
    """Examples by picture size, oldest out first."""

    def __init__(self, rng: random.Random, autoencoder, edits: bool):
        self.rng, self.autoencoder, self.edits = rng, autoencoder, edits
        self.by_size: dict[tuple[int, int], deque] = {}

    def __len__(self):
        return sum(map(len, self.by_size.values()))

    def grow(self, count: int, limit: int, early: bool) -> None:
        """Adds `count` fresh examples of one size."""
        rng = self.rng
        size = (128, 128) if rng.random() < SQUARE_SHARE else rng.choice(tuple(SIZES_BY_ASPECT.values()))
        fresh = [self.fresh_edit(size) if self.edits else self.fresh_scene(size, early) for _ in range(count)]
        pictures = np.stack([draw(x.target if self.edits else x) for x in fresh])
        targets = pack(vae.encode(self.autoencoder, pictures))
        if self.edits:
            sources = np.stack([draw(x.source) for x in fresh])
            references = pack(vae.encode(self.autoencoder, sources))
        place = self.by_size.setdefault(size, deque())
        for index, said in enumerate(fresh):
            if self.edits:
                place.append(Example(said, targets[index], references[index], differing_tokens(pictures[index], sources[index])))
            else:
                plain = np.broadcast_to(pictures[index][0, 0], pictures[index].shape)
                place.append(Example(said, targets[index], None, differing_tokens(pictures[index], plain)))
        while len(self) > limit:
            max(self.by_size.values(), key=len).popleft()

    def fresh_scene(self, size, early: bool) -> Scene:
        while True:
            count = self.rng.choices((1, 2, 3), weights=(70, 27, 3) if early else (50, 38, 12))[0]
            scene = random_scene(self.rng, count, *size)
            if not held_out(scene):
                return scene

    def fresh_edit(self, size) -> Edit:
        while True:
            edit = random_edit(self.rng, self.rng.choice((1, 2)), *size)
            if not held_out(edit.target):
                return edit

    def take(self, count: int) -> tuple[tuple[int, int], list[Example]]:
        """`count` examples of one size."""
        sizes = [size for size, found in self.by_size.items() if len(found) >= FEWEST_IN_POOL and size != (128, 128)]
        size = self.rng.choice(sizes) if sizes and self.rng.random() > SQUARE_SHARE else (128, 128)
        return size, [self.rng.choice(self.by_size[size]) for _ in range(count)]


def sentence(rng: random.Random, said: Scene | Edit) -> str:
    if rng.random() < PROMPT_DROPOUT:
        return ""
    return text.as_typed(rng, said.instruction if isinstance(said, Edit) else caption(rng, said))


def random_sigmas(count: int, generator: torch.Generator) -> torch.Tensor:
    """70 % sigmoid(N(2.2, 1.2)), 30 % sigmoid(N(0.4, 1))."""
    normal = torch.randn(count, generator=generator)
    layout = torch.rand(count, generator=generator) < 0.7
    return torch.sigmoid(torch.where(layout, 2.2 + 1.2 * normal, 0.4 + normal))


def loss_of(flux, encoders, size, examples: list[Example], rng: random.Random, generator) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted loss, and each example's own for the log."""
    with torch.no_grad():
        states, pooled = encoders([sentence(rng, e.said) for e in examples])
    target = torch.stack([e.target for e in examples])
    weight = torch.stack([e.weight for e in examples])
    noise = torch.randn(target.shape, generator=generator)
    sigma = random_sigmas(len(examples), generator)
    tokens = target + sigma[:, None, None] * (noise - target)
    rows, columns = size[1] // 16, size[0] // 16
    ids = [torch.zeros(T5_LENGTH, 3), position_ids(rows, columns, 0)]
    if examples[0].reference is not None:
        ids.append(position_ids(rows, columns, 1))
        tokens = torch.cat((tokens, torch.stack([e.reference for e in examples])), 1)
    predicted = velocity(flux, tokens, states, pooled, sigma, rotation(flux, torch.cat(ids)))[:, :target.shape[1]]
    error = (predicted - (noise - target)).square().mean(-1) * weight
    return error.sum() / weight.sum(), torch.stack((sigma, error.detach().sum(1) / weight.sum(1)))


def planned_steps() -> int:
    return int(STOP_AT.read_text()) if STOP_AT.exists() else STEPS


def rate_at(step: int, steps: int) -> float:
    """Warm-up, constant, then straight down to zero."""
    return RATE * min(1.0, (step + 1) / 100, (steps - step) / (DECAY_SHARE * steps))


def report(step: int, logs: dict[int, list], seconds: float) -> None:
    """Prints the mean loss of each task by noise level, from the most noise to the least, and empties the logs."""
    for kind, log in logs.items():
        if log:
            sigma, error = torch.cat(log, 1)
            parts = [error[(sigma > low) & (sigma <= high)].mean().item() for low, high in ((0.95, 1), (0.8, 0.95), (0.5, 0.8), (0, 0.5))]
            print(f"{('pictures', 'edits')[kind]} {step} loss " + " ".join(f"{p:.3f}" for p in parts) + f" {seconds:.0f} s", flush=True)
            log.clear()


def worker(trainer: Trainer, seed: int) -> None:
    flux = transformer.build(seed)
    factor = lambda name: 1.0 if transformer.is_block_matrix(name, flux.get_parameter(name)) else NORM_FACTOR if "norm_" in name and "attn" in name else OTHERS_FACTOR
    trainer.adopt(flux.named_parameters(), transformer.is_block_matrix, factor)
    start, began = trainer.load(CHECKPOINT), time.time()
    encoders, rank = text.load(), trainer.rank
    rng = random.Random(f"pool {seed} {start} {rank}")
    generator = torch.Generator().manual_seed(seed * 1000 + start * 2 + rank)
    autoencoder, early = vae.load(), start < FIRST_STEPS
    pools = {kind: Pool(rng, autoencoder, edits=kind == EDIT) for kind in ((PICTURE, EDIT) if rank == 0 else (EDIT,))}
    for kind, pool in pools.items():
        while len(pool) < POOL_START[kind]:
            pool.grow(10, POOL_LIMIT[kind], early)
    print(f"rank {rank}: {[len(pool) for pool in pools.values()]} examples, {time.time() - began:.0f} s", flush=True)
    step, steps, logs = start, planned_steps(), {kind: [] for kind in pools}
    while step < steps:
        kind = EDIT if rank == 1 or (step >= EDITS_IN_TURN_FROM and step % 2) else PICTURE
        pool = pools[kind]
        pool.grow(POOL_GROWTH[kind], POOL_LIMIT[kind], early=step < FIRST_STEPS)
        loss, each = loss_of(flux, encoders, *pool.take(BATCH[kind]), rng, generator)
        trainer.zero_grad()
        loss.backward()
        trainer.step(rate_at(step, steps), min(AVERAGE_DECAY, (step + 1) / (step + 20)))
        logs[kind].append(each)
        step += 1
        if step % 50 == 0:
            report(step, logs, time.time() - began)
        if step % 20 == 0:
            trainer.barrier.wait()
            steps = planned_steps()
        if step % 200 == 0 or step == steps:
            trainer.save(CHECKPOINT, step)


def train(seed: int = 31) -> None:
    """Trains from the last checkpoint, or from scratch."""
    run(worker, sum(p.numel() for p in transformer.build().parameters()), seed)


def load(average: bool = True):
    """The transformer of the last checkpoint, by default its moving average."""
    flux = transformer.build()
    fill(flux.named_parameters(), torch.load(CHECKPOINT)["average" if average else "parameters"])
    return flux.eval()


if __name__ == "__main__":
    train()
