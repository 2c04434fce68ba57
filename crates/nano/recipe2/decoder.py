"""Stage 4: a wider decoder for the same latents, so that the transformer need not be trained again.

The VAE's inner levels are too narrow for 98 % of drawn targets to survive. AutoencoderKL has one list of widths for its encoder
and its decoder, so both become twice as wide there: every channel stands twice, which changes nothing that the encoder says
(group norm sees the same mean and variance). In the decoder the two differ in how the next layer weighs them, so that training
can use them; the encoder stays as it is.
"""

from __future__ import annotations

import random
import time

import torch
from diffusers import AutoencoderKL

from paths import WORK
import vae
from parallel import Trainer, fill, run

CONFIG = vae.CONFIG | {"block_out_channels": [16, 16, 32, 128, 128]}
STEPS, WHOLE_PICTURE_STEPS = 2500, 500
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


def worker(trainer: Trainer, steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    model = widened(vae.load())
    model.encoder.requires_grad_(False)
    trainer.adopt(model.decoder.named_parameters(), vae.is_matrix)
    start, began = trainer.load(CHECKPOINT), time.time()
    for step in range(start, steps):
        rng = random.Random(f"decoder {seed} {step} {trainer.rank}")
        x = vae.batch(rng, whole=step >= steps - WHOLE_PICTURE_STEPS).contiguous(memory_format=torch.channels_last)
        loss, told = vae.loss_of(model, x)
        trainer.zero_grad()
        loss.backward()
        trainer.step(RATE * min(1, (step + 1) / 50) * (1 - step / steps) ** 0.9)
        if trainer.rank == 0 and (step + 1) % 25 == 0:
            print(f"decoder {step + 1} " + " ".join(f"{name} {value:.4f}" for name, value in told().items()) + f" {time.time() - began:.0f} s", flush=True)
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
