"""Stage 1: the VAE. AutoencoderKL with FLUX's layout (16 latent channels, no quant convolutions), 16-fold.

Trained on crops, which cost a seventh of whole pictures, then on whole pictures of every format, because group norm
sees the whole picture. There is no attention in the middle: what a latent means is a local matter here. Edges weigh
more than flat areas: they are few pixels and they are what tells a star from a circle.
"""

from __future__ import annotations

import random
import time

import numpy as np
import torch
from diffusers import AutoencoderKL

from paths import WORK
from draw import draw, to_signed
from parallel import Trainer, fill, run
from scenes import SQUARE, Scene, centre, random_fine_scene, random_format, random_scene

CONFIG = dict(
    in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 5, up_block_types=["UpDecoderBlock2D"] * 5,
    block_out_channels=[16, 16, 32, 64, 64], layers_per_block=1, latent_channels=16, norm_num_groups=2,
    use_quant_conv=False, use_post_quant_conv=False, mid_block_add_attention=False, sample_size=256, force_upcast=False,
)
FOLD = 16
STEPS, WHOLE_PICTURE_STEPS = 5000, 500
RATE = 4e-3
CROP, CROP_BATCH, WHOLE_BATCH = 96, 6, 1  # batches are of each of the two ranks
KL_WEIGHT = 3e-4
EDGE_WEIGHT = 5.0
CHECKPOINT = WORK / "vae.pt"
SAVE_EVERY = 50


def corner_near(rng: random.Random, near, width: int, height: int) -> list[int]:
    """The left upper corner of a crop about a point, on the latent grid."""
    return [min(max(c - CROP // 2 + rng.randrange(-32, 33, FOLD), 0), side - CROP) // FOLD * FOLD for c, side in zip(near, (width, height))]


def shown(rng: random.Random, fine_share: float, size=SQUARE) -> Scene:
    """A scene to be learned; `fine_share` of them show what is fine."""
    return random_fine_scene(rng, *size) if fine_share and rng.random() < fine_share else random_scene(rng, None, *size)


def random_crop(rng: random.Random, fine_share: float) -> list[np.ndarray]:
    """Two (96, 96, 3) crops of one drawn picture on the latent grid, mostly near an object."""
    scene = shown(rng, fine_share)
    picture = draw(scene)
    crops = []
    for _ in range(2):
        x, y = (rng.randrange(0, side - CROP + 1, FOLD) for side in (scene.width, scene.height))
        if rng.random() < 0.8:
            x, y = corner_near(rng, centre(rng.choice(scene.objects), scene.width, scene.height), scene.width, scene.height)
        crops.append(picture[y:y + CROP, x:x + CROP])
    return crops


def batch(rng: random.Random, whole: bool, count: int | None = None, fine_share: float = 0.0) -> torch.Tensor:
    """(batch, 3, height, width) in -1..1."""
    if not whole:
        pictures = [crop for _ in range(CROP_BATCH // 2) for crop in random_crop(rng, fine_share)]
    else:
        size = random_format(rng)
        pictures = [draw(shown(rng, fine_share, size)) for _ in range(count or WHOLE_BATCH)]
    return torch.from_numpy(to_signed(np.stack(pictures)))


def edge_weights(x: torch.Tensor) -> torch.Tensor:
    """(batch, 1, height, width): 1 on flat colour, 1 + EDGE_WEIGHT where a neighbour differs."""
    highest = torch.nn.functional.max_pool2d(x, 3, 1, 1)
    lowest = -torch.nn.functional.max_pool2d(-x, 3, 1, 1)
    return 1 + EDGE_WEIGHT * ((highest - lowest).amax(1, keepdim=True) > 0.15).float()


def reconstruction_losses(decoded: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(batch,): L1 and squared differences, edges weighted."""
    difference = (decoded - x).abs()
    weights = edge_weights(x)
    return ((difference + difference.square()) * weights).mean((1, 2, 3)) / weights.mean()


def loss_of(vae, x: torch.Tensor):
    """The loss of one batch, and a function that tells what it is made of."""
    posterior = vae.encode(x).latent_dist
    decoded = vae.decode(posterior.sample()).sample
    reconstruction = reconstruction_losses(decoded, x).mean()
    kl = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
    told = lambda: {"l1": (decoded - x).abs().mean(), "weighted": reconstruction, "kl": kl, "deviation": posterior.mean.std(), "own": posterior.std.mean()}
    return reconstruction + KL_WEIGHT * kl, told


def is_matrix(name: str, p: torch.Tensor) -> bool:
    return p.ndim >= 2 and min(p.flatten(1).shape) >= 8


def worker(trainer: Trainer, steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    vae = AutoencoderKL(**CONFIG)
    trainer.adopt(vae.named_parameters(), is_matrix)
    start, began = trainer.load(CHECKPOINT), time.time()
    for step in range(start, steps):
        rng = random.Random(f"vae {seed} {step} {trainer.rank}")
        x = batch(rng, whole=step >= steps - WHOLE_PICTURE_STEPS).contiguous(memory_format=torch.channels_last)
        loss, told = loss_of(vae, x)
        trainer.zero_grad()
        loss.backward()
        trainer.step(RATE * min(1, (step + 1) / 50) * (1 - step / steps) ** 0.9)
        if trainer.rank == 0 and (step % 25 == 0 or step == steps - 1):
            print(f"vae {step} " + " ".join(f"{name} {value:.4f}" for name, value in told().items()) + f" {time.time() - began:.0f} s", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step == steps - 1:
            trainer.save(CHECKPOINT, step + 1)


def train(steps: int = STEPS, seed: int = 11) -> None:
    """Trains from the last checkpoint, or from scratch."""
    run(worker, sum(p.numel() for p in AutoencoderKL(**CONFIG).parameters()), steps, seed)


@torch.no_grad()
def normalised(vae: AutoencoderKL, seed: int = 12) -> AutoencoderKL:
    """Sets shift_factor and scaling_factor so that latents of drawn pictures have mean 0 and deviation 1 overall."""
    rng = random.Random(seed)
    vae.eval()
    latents = torch.cat([vae.encode(batch(rng, whole=True, count=3)).latent_dist.mean.flatten() for _ in range(8)])
    vae.register_to_config(shift_factor=round(latents.mean().item(), 5), scaling_factor=round(1 / latents.std().item(), 5))
    return vae


def load() -> AutoencoderKL:
    """The VAE of the last checkpoint, normalised."""
    vae = AutoencoderKL(**CONFIG)
    fill(vae.named_parameters(), torch.load(CHECKPOINT)["parameters"])
    return normalised(vae)


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: np.ndarray) -> torch.Tensor:
    """(batch, height, width, 3) uint8 -> normalised latents (batch, 16, height / 16, width / 16)."""
    x = torch.from_numpy(to_signed(pictures)).contiguous(memory_format=torch.channels_last)
    mean = vae.encode(x).latent_dist.mean.contiguous()
    return (mean - vae.config.shift_factor) * vae.config.scaling_factor


def as_encoded(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Normalised latents as the encoder gives them and the decoder takes them."""
    return latents / vae.config.scaling_factor + vae.config.shift_factor


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Normalised latents -> (batch, 3, height, width) in about -1..1."""
    return vae.decode(as_encoded(vae, latents)).sample


if __name__ == "__main__":
    WORK.mkdir(parents=True, exist_ok=True)
    train()
