"""Stage 3: the transformer learns to draw and to edit by flow matching on latents.

Rank 0 learns pictures (later in turn with edits), rank 1 edits; their gradients are averaged. Timesteps lean towards
noise, because there the layout is decided. Tokens that show an object (or differ from the reference) weigh more.
Latents come from a pool that grows as training goes on, so the VAE's encoder costs little; captions are said anew at
every use, and what they leave free differs from scene to scene. First mostly one object, then up to four; when plain shapes are
right, more of what is fine (outlines, something inside or on top of something) and more edits that say only a shape.
"""

from __future__ import annotations

import os
import random
import time
from collections import deque
from dataclasses import dataclass, replace

import numpy as np
import torch

from paths import WORK
import recognise
import text
import vae
from captions import T5_LENGTH, Request, as_typed, caption, loose_request
from draw import draw, draw_background
from edits import Edit, Naming, random_edit
from fused import velocity
from parallel import Trainer, fill, has_tiles, run
from scenes import SQUARE, Scene, between_along_the_longer_side, fine_details, held_out, random_fine_scene, random_format, random_scene
from transformer import build, is_block_matrix, pack, position_ids
from words import INSIDE, KEEP, OUTLINE, TINY, TWO

STEPS = 39600
DECAY_SHARE = 0.6  # the last part of the steps brings the rate to zero
RATE, OTHERS_FACTOR, NORM_FACTOR = 4e-3, 0.7, 2.0
BATCH = (14, 8)  # pictures, edits: about as many tokens
POOL_START, POOL_LIMIT, POOL_GROWTH = (300, 200), (12000, 8000), (2, 2)  # pictures, edits; growth a step
GROW_EVERY = 8  # steps, because the encoder takes several pictures faster
SQUARE_SHARE, FEWEST_IN_POOL = 0.45, 12
OBJECT_WEIGHT = 3.0  # a token's weight where an object is
FINE_FACTOR = {OUTLINE: 2.5, INSIDE: 6.0}  # what multiplies it where there is an outline or something inside: one token of 64
PROMPT_DROPOUT, LOOSE_SHARE = 0.03, 0.08
AVERAGE_DECAY = 0.998
FIRST_STEPS = 1200  # of mostly one object
EDITS_IN_TURN_FROM, EDITS_EVERY = 8000, 3  # from here rank 0 learns edits at every third step; before, pictures teach drawing faster
# To here, of two pictures the one with more objects is learned: most of what is hard is drawing shapes. From here these
# shares of what is fresh are what was still wrong when plain shapes were right.
FINE_FROM = 13800
FINE_SHARE, CHOOSING_SHARE = 0.6, 0.6
CHOOSING = ("recolour", "remove", "replace", "move", "resize", "background", KEEP, TWO, TWO, TWO)  # of two or three objects
NAMING = Naming(by_shape=0.7, by_colour=0.35)
BLURRED_SHARE, MOST_BLUR = 0.3, 0.3  # of the references, and its deviation: pictures that come back are not quite what the encoder makes of drawn ones
PICTURE, EDIT = 0, 1
TOKEN = 2 * vae.FOLD  # pixels a side
CHECKPOINT = WORK / "diffusion.pt"
SAVE_EVERY, SAVE_POOL_EVERY = 100, 1000
STOP_AT = WORK / "stop_at"  # a number in this file overrides STEPS while training runs


def scene_of(said: Scene | Request | Edit) -> Scene:
    """The scene of the target."""
    if isinstance(said, Edit):
        return said.target
    return said.scene if isinstance(said, Request) else said


@dataclass
class Example:
    """One picture to learn: what it is made from, its tokens (tokens, 64), the reference's, and each token's weight."""

    said: Scene | Request | Edit
    target: torch.Tensor
    reference: torch.Tensor | None
    weight: torch.Tensor

    @property
    def scene(self) -> Scene:
        return scene_of(self.said)


def differing_tokens(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(rows * columns,) whether each 32 x 32 pixel token of two (height, width, 3) pictures differs."""
    differs = np.abs(a.astype(np.int16) - b).max(-1) > 12
    rows, columns = differs.shape[0] // TOKEN, differs.shape[1] // TOKEN
    return differs.reshape(rows, TOKEN, columns, TOKEN).any((1, 3)).reshape(-1)


def token_weights(picture: np.ndarray, before: np.ndarray, scene: Scene) -> torch.Tensor:
    """(tokens,) of the `picture` of `scene`: more where it differs from `before`, and more where it is fine."""
    weight = np.where(differing_tokens(picture, before), OBJECT_WEIGHT, 1.0)
    fine = fine_details(scene)
    for detail, kept in ((OUTLINE, [replace(o, outline=None) for o in scene.objects]), (INSIDE, [o for o in scene.objects if o.size != TINY])):
        if detail in fine:
            without = draw(replace(scene, objects=tuple(kept)))
            weight *= np.where(differing_tokens(picture, without), FINE_FACTOR[detail], 1.0)
    return torch.from_numpy(weight.astype(np.float32))


class Pool:
    """Examples by picture size, oldest out first."""

    def __init__(self, rng: random.Random, autoencoder, edits: bool):
        self.rng, self.autoencoder, self.edits = rng, autoencoder, edits
        self.by_size: dict[tuple[int, int], deque] = {}

    def __len__(self):
        return sum(map(len, self.by_size.values()))

    def file(self, rank: int):
        return WORK / f"pool.{'edits' if self.edits else 'pictures'}.{rank}.pt"

    def save(self, rank: int) -> None:
        """Keeps the latents for the next start, in half precision."""
        half = lambda x: None if x is None else x.half()
        kept = {size: [(e.said, half(e.target), half(e.reference), e.weight) for e in found] for size, found in self.by_size.items()}
        fresh = f"{self.file(rank)}.new"
        torch.save(kept, fresh)
        os.replace(fresh, self.file(rank))

    def load(self, rank: int) -> None:
        full = lambda x: None if x is None else x.float()
        if self.file(rank).exists():
            kept = torch.load(self.file(rank), weights_only=False)  # our own classes
            self.by_size = {size: deque(Example(said, full(a), full(b), w.clone()) for said, a, b, w in found) for size, found in kept.items()}

    def grow(self, count: int, limit: int, step: int) -> None:
        """Adds `count` fresh examples of one size, as they are learned at `step`."""
        size = random_format(self.rng, SQUARE_SHARE)
        place = self.by_size.setdefault(size, deque())
        place.extend(self.fresh_edits(count, size, step) if self.edits else self.fresh_pictures(count, size, step))
        while len(self) > limit:
            max(self.by_size.values(), key=len).popleft()

    def fresh_pictures(self, count: int, size, step: int) -> list[Example]:
        said = [self.fresh_scene(size, step) for _ in range(count)]
        scenes = [scene_of(s) for s in said]
        pictures = np.stack([draw(scene) for scene in scenes])
        grounds = [np.round(draw_background(s.background, s.pattern, *size)).astype(np.uint8) for s in scenes]
        latents = self.encoded(pictures)
        return [Example(s, latents[i].clone(), None, token_weights(pictures[i], grounds[i], scenes[i])) for i, s in enumerate(said)]

    def fresh_edits(self, count: int, size, step: int) -> list[Example]:
        said = [self.fresh_edit(size, step) for _ in range(count)]
        sources, targets = (np.stack([draw(getattr(e, name)) for e in said]) for name in ("source", "target"))
        latents = self.encoded(np.concatenate((targets, sources)))
        return [Example(e, latents[i].clone(), latents[count + i].clone(), token_weights(targets[i], sources[i], e.target)) for i, e in enumerate(said)]

    def encoded(self, pictures: np.ndarray) -> torch.Tensor:
        """(batch, tokens, 64); in bf16 on tiles in half the time, where the error's deviation is a hundredth of the latents'."""
        with torch.autocast("cpu", torch.bfloat16, enabled=has_tiles()):
            return pack(vae.encode(self.autoencoder, pictures).float())

    def fresh_scene(self, size, step: int) -> Scene | Request:
        if self.rng.random() < LOOSE_SHARE:
            return loose_request(self.rng, *size)
        fine = step >= FINE_FROM and self.rng.random() < FINE_SHARE
        while True:
            count = self.rng.choices((1, 2, 3, 4), weights=(70, 24, 4, 2) if step < FIRST_STEPS else (34, 34, 20, 12))[0]
            scene = between_along_the_longer_side(random_fine_scene(self.rng, *size) if fine else random_scene(self.rng, count, *size))
            if not held_out(scene):
                return scene

    def fresh_edit(self, size, step: int) -> Edit:
        choosing = step >= FINE_FROM and self.rng.random() < CHOOSING_SHARE
        while True:
            chosen = dict(kind=self.rng.choice(CHOOSING), count=self.rng.choice((2, 2, 3, 3)), naming=NAMING) if choosing else {}
            edit = random_edit(self.rng, *size, **chosen)
            if not held_out(edit.target):
                return edit

    def take(self, count: int, crowded: bool) -> tuple[tuple[int, int], list[Example]]:
        """`count` examples of one size; `crowded` prefers those with many objects."""
        sizes = [size for size, found in self.by_size.items() if len(found) >= FEWEST_IN_POOL and size != SQUARE]
        size = self.rng.choice(sizes) if sizes and self.rng.random() > SQUARE_SHARE else SQUARE
        one = lambda: self.rng.choice(self.by_size[size])
        return size, [max(one(), one(), key=lambda e: len(e.scene.objects)) if crowded else one() for _ in range(count)]


def sentence(rng: random.Random, said: Scene | Request | Edit) -> str:
    """What is said of it this time. Nothing said of an edit would mean to keep the picture, so that is never dropped."""
    if isinstance(said, Edit):
        return as_typed(rng, said.instruction)
    if rng.random() < PROMPT_DROPOUT:
        return ""
    return as_typed(rng, said.text if isinstance(said, Request) else caption(rng, said).text)


def random_sigmas(count: int, generator: torch.Generator) -> torch.Tensor:
    """70 % sigmoid(N(2.2, 1.2)), 30 % sigmoid(N(0.4, 1))."""
    normal = torch.randn(count, generator=generator)
    layout = torch.rand(count, generator=generator) < 0.7
    return torch.sigmoid(torch.where(layout, 2.2 + 1.2 * normal, 0.4 + normal))


def blurred(reference: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """(batch, tokens, 64) with noise on some of the batch."""
    amount, chance = torch.rand(2, len(reference), 1, 1, generator=generator).to(reference.device)
    noise = torch.randn(reference.shape, generator=generator).to(reference.device)
    return reference + MOST_BLUR * amount * (chance < BLURRED_SHARE) * noise


def flow_loss(model, states, pooled, target, reference, shown, weight, noise, sigma, size) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted loss of predicting noise - target, and each example's own for the log. `shown` is what `recognise.shown_by` says of the reference."""
    tokens = target + sigma[:, None, None] * (noise - target)
    rows, columns = size[1] // TOKEN, size[0] // TOKEN
    ids = [torch.zeros(T5_LENGTH, 3), position_ids(rows, columns, 0)]
    if reference is not None:
        ids.append(position_ids(rows, columns, 1))
        tokens = torch.cat((tokens, reference), 1)
    predicted, hidden = velocity(model, tokens, states, pooled, sigma, torch.cat(ids).to(target.device), target.shape[1], recognise.DEPTH)
    error = (predicted - (noise - target)).square().mean(-1) * weight
    loss = error.sum() / weight.sum()
    if reference is not None:
        loss = loss + model.recognition(hidden[:, target.shape[1]:], shown)
    return loss, torch.stack((sigma, error.detach().sum(1) / weight.sum(1)))


def loss_of(model, encoders, size, examples: list[Example], rng: random.Random, generator):
    """`flow_loss` of examples, said anew."""
    with torch.no_grad():
        states, pooled = encoders([sentence(rng, e.said) for e in examples])
    target, weight = torch.stack([e.target for e in examples]), torch.stack([e.weight for e in examples])
    reference = shown = None
    if examples[0].reference is not None:
        reference = blurred(torch.stack([e.reference for e in examples]), generator)
        shown = torch.stack([recognise.shown_by(e.said.source, TOKEN) for e in examples])
    noise = torch.randn(target.shape, generator=generator)
    return flow_loss(model, states, pooled, target, reference, shown, weight, noise, random_sigmas(len(examples), generator), size)


def planned_steps() -> int:
    return int(STOP_AT.read_text()) if STOP_AT.exists() else STEPS


def rate_at(step: int, steps: int, start: int) -> float:
    """Warm-up, after every start, because the optimiser's state may be fresh; constant; then straight down to zero."""
    return RATE * min(1.0, (step - start + 1) / 100) * min(1.0, (steps - step) / (DECAY_SHARE * steps))


def report(step: int, logs: dict[int, list], seconds: float) -> None:
    """Prints the mean loss of each task by noise level, from the most noise to the least, and empties the logs."""
    for kind, log in logs.items():
        if log:
            sigma, error = torch.cat(log, 1)
            parts = [error[(sigma > low) & (sigma <= high)].mean().item() for low, high in ((0.95, 1), (0.8, 0.95), (0.5, 0.8), (0, 0.5))]
            print(f"{('pictures', 'edits')[kind]} {step} loss " + " ".join(f"{p:.3f}" for p in parts) + f" {seconds:.0f} s", flush=True)
            log.clear()


def learner(seed: int = 31):
    """The transformer, and behind its parameters what it learns with."""
    model = build(seed)
    model.recognition = recognise.Recognition(model.inner_dim)
    return model


def rate_factor(model, name: str) -> float:
    if is_block_matrix(name, model.get_parameter(name)):
        return 1.0
    return NORM_FACTOR if "norm_" in name and "attn" in name else OTHERS_FACTOR


def worker(trainer: Trainer, seed: int) -> None:
    model = learner(seed)
    trainer.adopt(model.named_parameters(), is_block_matrix, lambda name: rate_factor(model, name))
    start, began = trainer.load(CHECKPOINT), time.time()
    encoders, rank = text.load(), trainer.rank
    rng = random.Random(f"pool {seed} {start} {rank}")
    generator = torch.Generator().manual_seed(seed * 1000 + start * 2 + rank)
    autoencoder = vae.load()
    pools = {kind: Pool(rng, autoencoder, edits=kind == EDIT) for kind in ((PICTURE, EDIT) if rank == 0 else (EDIT,))}
    for kind, pool in pools.items():
        pool.load(rank)
        while len(pool) < POOL_START[kind] or len(pool.by_size.get(SQUARE, ())) < FEWEST_IN_POOL:
            pool.grow(6, POOL_LIMIT[kind], start)
    print(f"rank {rank}: {[len(pool) for pool in pools.values()]} examples, {time.time() - began:.0f} s", flush=True)
    step, steps, logs, due = start, planned_steps(), {kind: [] for kind in pools}, dict.fromkeys(pools, 0)
    while step < steps:
        kind = EDIT if rank == 1 or (step >= EDITS_IN_TURN_FROM and step % EDITS_EVERY == 0) else PICTURE
        pool, due[kind] = pools[kind], due[kind] + 1
        if due[kind] % GROW_EVERY == 0:
            pool.grow(POOL_GROWTH[kind] * GROW_EVERY, POOL_LIMIT[kind], step)
        loss, each = loss_of(model, encoders, *pool.take(BATCH[kind], crowded=kind == PICTURE and step < FINE_FROM), rng, generator)
        trainer.zero_grad()
        loss.backward()
        trainer.step(rate_at(step, steps, start), min(AVERAGE_DECAY, (step + 1) / (step + 20)))
        logs[kind].append(each)
        step += 1
        if step % 50 == 0:
            report(step, logs, time.time() - began)
        if step % 20 == 0:
            trainer.barrier.wait()
            steps = planned_steps()
        if step % SAVE_EVERY == 0 or step == steps:
            trainer.save(CHECKPOINT, step)
        if step % SAVE_POOL_EVERY == 0:
            for pool in pools.values():
                pool.save(rank)


def train(seed: int = 31) -> None:
    """Trains from the last checkpoint, or from scratch."""
    run(worker, sum(p.numel() for p in learner().parameters()), seed)


def load(average: bool = True):
    """The transformer of the last checkpoint, by default its moving average."""
    model = build()
    fill(model.named_parameters(), torch.load(CHECKPOINT)["average" if average else "parameters"])
    return model.eval()


if __name__ == "__main__":
    train()
