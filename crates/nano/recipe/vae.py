"""Stage 1: the VAE. AutoencoderKL with FLUX's layout (16 latent channels, no quant convolutions) in miniature.

Trained on crops, which cost a quarter of whole pictures, then on whole pictures of every aspect ratio, because
group norm and the middle attention see the whole picture. Edges weigh more than flat areas: they are few pixels
and they are what tells a star from a circle. Two norm groups, since more of them lose the flat colours.
"""

from __future__ import annotations

import random
import time

import numpy as np
import torch
from diffusers import AutoencoderKL

from draw import draw, to_signed
from language import SIZES_BY_ASPECT, centre, random_scene
from parallel import Trainer, fill, run
from paths import WORK

CONFIG = dict(
    in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
    block_out_channels=[16, 16, 32, 64], layers_per_block=1, latent_channels=16, norm_num_groups=2,
    use_quant_conv=False, use_post_quant_conv=False, sample_size=128, force_upcast=False,
)
STEPS, WHOLE_PICTURE_STEPS = 1500, 150
RATE = 4e-3
CROP, CROP_BATCH, WHOLE_BATCH = 64, 8, 3  # batches are of each of the two ranks
KL_WEIGHT = 2e-4
EDGE_WEIGHT = 5.0
CHECKPOINT = WORK / "vae.pt"


def random_crop(rng: random.Random) -> np.ndarray:
    """(64, 64, 3) of a drawn picture, three times in four near an object, on the latent grid."""
    scene = random_scene(rng, rng.choice((1, 2, 3)))
    picture = draw(scene)
    x, y = (rng.randrange(0, side - CROP + 1, 8) for side in (scene.width, scene.height))
    if rng.random() < 0.75:
        near = centre(rng.choice(scene.objects).cell, scene.width, scene.height)
        x, y = (min(max(c - CROP // 2 + rng.randrange(-16, 17, 8), 0), 128 - CROP) for c in near)
    return picture[y:y + CROP, x:x + CROP]


def batch(rng: random.Random, whole: bool) -> torch.Tensor:
    """(batch, 3, height, width) in -1..1."""
    if not whole:
        pictures = [random_crop(rng) for _ in range(CROP_BATCH)]
    else:
        width, height = rng.choice([(128, 128)] * 6 + list(SIZES_BY_ASPECT.values()))
        pictures = [draw(random_scene(rng, rng.choice((1, 2, 3)), width, height)) for _ in range(WHOLE_BATCH)]
    return torch.from_numpy(to_signed(np.stack(pictures)))


def edge_weights(x: torch.Tensor) -> torch.Tensor:
    """(batch, 1, height, width): 1 on flat colour, 1 + EDGE_WEIGHT where a neighbour differs."""
    highest = torch.nn.functional.max_pool2d(x, 3, 1, 1)
    lowest = -torch.nn.functional.max_pool2d(-x, 3, 1, 1)
    return 1 + EDGE_WEIGHT * ((highest - lowest).amax(1, keepdim=True) > 0.15).float()


def is_matrix(name: str, p: torch.Tensor) -> bool:
    return p.ndim >= 2 and min(p.flatten(1).shape) >= 8


def worker(trainer: Trainer, steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    vae = AutoencoderKL(**CONFIG)
    trainer.adopt(vae.named_parameters(), is_matrix)
    start, began = trainer.load(CHECKPOINT), time.time()
    for step in range(start, steps):
        rng = random.Random(f"vae {seed} {step} {trainer.rank}")
        x = batch(rng, whole=step >= steps - WHOLE_PICTURE_STEPS)
        posterior = vae.encode(x).latent_dist
        y = vae.decode(posterior.sample()).sample
        difference = (y - x).abs()
        weights = edge_weights(x)
        reconstruction = ((difference + difference.square()) * weights).mean() / weights.mean()
        kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        trainer.zero_grad()
        (reconstruction + KL_WEIGHT * kl).backward()
        trainer.step(RATE * min(1, (step + 1) / 50) * (1 - step / steps) ** 0.9)
        if trainer.rank == 0 and (step % 50 == 0 or step == steps - 1):
            print(f"vae {step} l1 {difference.mean():.4f} weighted {reconstruction:.4f} kl {kl:.2f} "
                  f"{time.time() - began:.0f} s", flush=True)
        if (step + 1) % 200 == 0 or step == steps - 1:
            trainer.save(CHECKPOINT, step + 1)


def train(steps: int = STEPS, seed: int = 11) -> AutoencoderKL:
    """Trains from the last checkpoint, or from scratch, and returns the model with its latents normalised."""
    run(worker, sum(p.numel() for p in AutoencoderKL(**CONFIG).parameters()), steps, seed)
    return load()


@torch.no_grad()
def normalised(vae: AutoencoderKL, seed: int = 12) -> AutoencoderKL:
    """Sets shift_factor and scaling_factor so that latents of drawn pictures have mean 0 and deviation 1 overall."""
    rng = random.Random(seed)
    vae.eval()
    latents = torch.cat([vae.encode(batch(rng, whole=True)).latent_dist.mean.flatten() for _ in range(12)])
    vae.register_to_config(shift_factor=round(latents.mean().item(), 5), scaling_factor=round(1 / latents.std().item(), 5))
    return vae


def load() -> AutoencoderKL:
    """The VAE of the last checkpoint, normalised."""
    vae = AutoencoderKL(**CONFIG)
    fill(vae.named_parameters(), torch.load(CHECKPOINT)["parameters"])
    return normalised(vae)


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: np.ndarray) -> torch.Tensor:
    """(batch, height, width, 3) uint8 -> normalised latents (batch, 16, height / 8, width / 8)."""
    mean = vae.encode(torch.from_numpy(to_signed(pictures))).latent_dist.mean
    return (mean - vae.config.shift_factor) * vae.config.scaling_factor


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Normalised latents -> (batch, 3, height, width) in about -1..1."""
    return vae.decode(latents / vae.config.scaling_factor + vae.config.shift_factor).sample


if __name__ == "__main__":
    WORK.mkdir(parents=True, exist_ok=True)
    train()
