"""Stage 4: a wider decoder for the same latents, so that the transformer need not be trained again.

The VAE's inner levels are too narrow for 98 % of drawn targets to survive. AutoencoderKL has one list of widths for its encoder
and its decoder, so both become twice as wide there: every channel stands twice, which changes nothing that the encoder says
(group norm sees the same mean and variance). In the decoder the two differ in how the next layer weighs them, so that training
can use them; the encoder stays as it is.

Half of what it learns from are the encoder's latents, half are the transformer's own for texts that leave nothing open, each with the
picture that was asked for: where a latent is a little off, flat colour and a clean edge are what was meant.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import AutoencoderKL

from paths import WORK
import diffusion
import export
import parallel
import text
import vae
from captions import as_typed, caption
from draw import draw, to_signed
from edits import random_edit
from parallel import Trainer, fill, run
from sample import sample
from scenes import Scene, centre, held_out, random_format

CONFIG = vae.CONFIG | {"block_out_channels": [16, 16, 32, 128, 128]}
STEPS, WHOLE_PICTURE_STEPS = 8000, 800
FINE_SHARE = 0.5  # of the scenes show an outline, something inside or on top of something: the last that a decoder learns
SAMPLES, AT_ONCE = 640, 10  # of the transformer, for each rank; of one format; as the service draws them
WORST = 0.1  # of the samples are left out: they show something else
RATE = 2e-3
APART = 0.3  # of a weight's deviation: how far the two halves' weights begin from each other
CHECKPOINT = WORK / "decoder.pt"
SAVE_EVERY = 100


@torch.no_grad()
def doubled(old: torch.Tensor, shape, apart: torch.Generator | None) -> torch.Tensor:
    """A parameter with every channel twice where `shape` has twice as many; inputs share their old weight among the two."""
    new = old.repeat_interleave(2, 0) if shape[0] == 2 * old.shape[0] else old
    if new.ndim > 1 and shape[1] == 2 * new.shape[1]:
        half = new / 2
        difference = APART * half.std() * torch.randn(half.shape, generator=apart) if apart else torch.zeros_like(half)
        new = torch.stack((half + difference, half - difference), 2).flatten(1, 2)
    assert new.shape == shape
    return new


def widened(narrow: AutoencoderKL, seed: int = 13) -> AutoencoderKL:
    """The same function with twice as many channels in the inner levels."""
    wide, generator = AutoencoderKL(**CONFIG), torch.Generator().manual_seed(seed)
    for (name, p), (_, old) in zip(wide.named_parameters(), narrow.named_parameters()):
        p.data = doubled(old.data, p.shape, generator if name.startswith("decoder") else None).clone()
    wide.register_to_config(shift_factor=narrow.config.shift_factor, scaling_factor=narrow.config.scaling_factor)
    return wide.eval()


@dataclass
class Sample:
    """What the transformer made of a scene that was asked for: latents (16, height / 16, width / 16), not normalised."""

    scene: Scene
    picture: torch.Tensor  # (3, height, width), drawn, in -1..1
    latents: torch.Tensor


def drawn(scene: Scene, latents: torch.Tensor) -> Sample:
    return Sample(scene, torch.from_numpy(to_signed(draw(scene)[None]))[0], latents)


def asked(rng: random.Random, size, edits: bool) -> tuple[str, Scene, Scene | None]:
    """A text that leaves nothing open, what it asks for, and the scene to be edited."""
    while True:
        if edits:
            edit = random_edit(rng, *size)
            found, free = (edit.instruction, edit.target, edit.source), False
        else:
            request = caption(rng, vae.shown(rng, FINE_SHARE, size))
            found, free = (request.text, request.scene, None), request.free
        if not free and not held_out(found[1]):
            return as_typed(rng, found[0]), *found[1:]


@torch.no_grad()
def sampled(rng: random.Random, generator, autoencoder, encoders, transformer, edits: bool) -> list[tuple[float, Scene, torch.Tensor]]:
    """AT_ONCE samples of one format: the distance from the encoder's latents, the scene, and the latents, not normalised."""
    size = random_format(rng)
    texts, scenes, sources = zip(*(asked(rng, size, edits) for _ in range(AT_ONCE)))
    pictures = np.stack([draw(scene) for scene in scenes])
    right = vae.encode(autoencoder, pictures)
    reference = vae.encode(autoencoder, np.stack([draw(source) for source in sources])) if edits else None
    noise = torch.randn(right.shape, generator=generator)
    latents = sample(transformer, *encoders(list(texts)), noise, reference, export.STEPS, nothing=encoders([""]), true_cfg=export.TRUE_CFG)
    apart = (latents - right).square().mean((1, 2, 3)).tolist()
    return [(*parts, own.clone()) for *parts, own in zip(apart, scenes, vae.as_encoded(autoencoder, latents))]


def samples(narrow: AutoencoderKL, seed: int, rank: int) -> list[Sample]:
    """The same for the same seed and transformer, kept for the next start; edits and pictures take turns."""
    kept = WORK / f"samples.{rank}.pt"
    if not kept.exists() or kept.stat().st_mtime < diffusion.CHECKPOINT.stat().st_mtime:
        rng, generator = random.Random(f"samples {seed} {rank}"), torch.Generator().manual_seed(seed * 2 + rank)
        encoders, transformer, found = text.load(), diffusion.load(), []
        while len(found) < SAMPLES:
            found += sampled(rng, generator, narrow, encoders, transformer, edits=len(found) // AT_ONCE % 2 == 1)
        found.sort(key=lambda parts: parts[0])
        torch.save([pair for _, *pair in found[:round(SAMPLES * (1 - WORST))]], kept)
    return [drawn(*pair) for pair in torch.load(kept, weights_only=False)]  # our own classes


def crop(rng: random.Random, example: Sample) -> tuple[torch.Tensor, torch.Tensor]:
    """vae.CROP pixels a side near an object, and their latents."""
    height, width = example.picture.shape[1:]
    near = centre(rng.choice(example.scene.objects), width, height) if example.scene.objects else (width // 2, height // 2)
    x, y = vae.corner_near(rng, near, width, height)
    part = lambda of, fold: of[:, y // fold:(y + vae.CROP) // fold, x // fold:(x + vae.CROP) // fold]
    return part(example.picture, 1), part(example.latents, vae.FOLD)


def of_the_encoder(model, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return x, model.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist.sample()


def of_the_transformer(rng: random.Random, found: list[Sample], whole: bool) -> tuple[torch.Tensor, torch.Tensor]:
    if whole:
        example = rng.choice(found)
        return example.picture[None], example.latents[None]
    pixels, latents = zip(*(crop(rng, rng.choice(found)) for _ in range(vae.CROP_BATCH // 2)))
    return torch.stack(pixels), torch.stack(latents)


def worker(trainer: Trainer, steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    narrow = vae.load()
    model = widened(narrow)
    model.encoder.requires_grad_(False)
    trainer.adopt(model.decoder.named_parameters(), vae.is_matrix)
    start, began = trainer.load(CHECKPOINT), time.time()
    if start >= steps:
        return
    found = samples(narrow, seed, trainer.rank)
    log = {True: [], False: []}
    for step in range(start, steps):
        rng = random.Random(f"decoder {seed} {step} {trainer.rank}")
        whole = step >= steps - WHOLE_PICTURE_STEPS
        parts = []
        if not whole or step % 2:
            x = vae.batch(rng, whole, fine_share=FINE_SHARE)
            parts.append((False, of_the_encoder(model, x if whole else x[:vae.CROP_BATCH // 2])))
        if not whole or not step % 2:
            parts.append((True, of_the_transformer(rng, found, whole)))
        x, latents = (torch.cat(each).contiguous(memory_format=torch.channels_last) for each in zip(*(pair for _, pair in parts)))
        with torch.autocast("cpu", torch.bfloat16, enabled=parallel.has_tiles() and not whole):  # the last steps settle exact colours
            decoded = model.decode(latents).sample
        losses = vae.reconstruction_losses(decoded.float(), x)
        trainer.zero_grad()
        losses.mean().backward()
        trainer.step(RATE * min(1, (step + 1) / 50) * (1 - step / steps) ** 0.9)
        for (own, _), loss in zip(parts, losses.detach().chunk(len(parts))):
            log[own].append(loss.mean().item())
        if trainer.rank == 0 and (step + 1) % 25 == 0:
            means = {name: np.mean(log[own]) for name, own in (("encoder's", False), ("transformer's", True)) if log[own]}
            print(f"decoder {step + 1} loss of " + ", of ".join(f"the {name} latents {mean:.4f}" for name, mean in means.items()) + f" {time.time() - began:.0f} s", flush=True)
            log = {True: [], False: []}
        if (step + 1) % SAVE_EVERY == 0 or step == steps - 1:
            trainer.save(CHECKPOINT, step + 1)


def train(steps: int = STEPS, seed: int = 14) -> None:
    """Trains from the last checkpoint, or from the narrow decoder."""
    run(worker, sum(p.numel() for p in AutoencoderKL(**CONFIG).decoder.parameters()), steps, seed)


def load() -> AutoencoderKL:
    """The VAE with this stage's decoder; as stage 1 left it where there is none."""
    narrow = vae.load()
    if not CHECKPOINT.exists():
        return narrow
    wide = widened(narrow)
    fill(wide.decoder.named_parameters(), torch.load(CHECKPOINT)["parameters"])
    return wide


if __name__ == "__main__":
    WORK.mkdir(parents=True, exist_ok=True)
    train()
