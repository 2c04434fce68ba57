"""Checkpoints made of the exported folder, so that training goes on from what is shipped where no checkpoint was kept.

    python crates/nano/recipe/shipped.py    # writes work/nano/{vae,text,diffusion,decoder}.pt where they are missing

Weights are the shipped ones, rounded to bf16, which is what they will be used as. What is not shipped begins anew: the optimisers'
state, the heads that training throws away, and the narrow decoder, which nothing uses once the wide one is there. The checkpoints say
that every stage has done its STEPS: run this first, then raise those of the stage that is to go on.
"""

from __future__ import annotations

import torch

import decoder
import diffusion
import judge
import text
import vae
from diffusers import AutoencoderKL
from paths import WORK


@torch.no_grad()
def halved(wide: torch.Tensor, shape) -> torch.Tensor:
    """The way back from `decoder.doubled` of a parameter that was not trained since."""
    new = wide[::2] if wide.shape[0] == 2 * shape[0] else wide
    if new.ndim > 1 and new.shape[1] == 2 * shape[1]:
        new = new.unflatten(1, (-1, 2)).sum(2)
    assert new.shape == shape
    return new


def narrowed(wide: AutoencoderKL) -> AutoencoderKL:
    """The VAE of the first stage, with the wide one's encoder."""
    narrow, shipped = AutoencoderKL(**vae.CONFIG), dict(wide.encoder.named_parameters())
    for name, p in narrow.encoder.named_parameters():
        p.data = halved(shipped[name].data, p.shape).clone()
    return narrow


def write(checkpoint, step: int, parameters) -> None:
    if checkpoint.exists():
        print(f"{checkpoint.name} is there already and stays")
        return
    flat = torch.cat([p.detach().float().flatten() for p in parameters])
    torch.save({"step": step, "parameters": flat, "average": flat.clone()}, checkpoint)
    print(f"{checkpoint.name}: {len(flat)} parameters as of step {step}")


def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    encoders, autoencoder, transformer = judge.exported()
    write(vae.CHECKPOINT, vae.STEPS, narrowed(autoencoder).parameters())
    whole = text.fresh()
    whole["encoders"].t5.load_state_dict(encoders.t5.state_dict())
    whole["encoders"].clip.load_state_dict(encoders.clip.state_dict())
    write(text.CHECKPOINT, text.STEPS, whole.parameters())
    write(diffusion.CHECKPOINT, diffusion.STEPS, transformer.parameters())
    write(decoder.CHECKPOINT, decoder.STEPS, autoencoder.decoder.parameters())


if __name__ == "__main__":
    main()
