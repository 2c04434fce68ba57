"""Stages in half precision beside the recipe: `python kept.py` keeps what is finished in work/nano2/, and the transformer as far as it is.

A machine that has no checkpoints begins with these, so that only the rest is trained.
"""

from __future__ import annotations

import numpy as np
import torch

from paths import RECIPE
import decoder
import diffusion
import text
import vae

FOLDER = RECIPE / "kept"
STAGES = {"vae": (vae.CHECKPOINT, vae.STEPS), "text": (text.CHECKPOINT, text.STEPS), "decoder": (decoder.CHECKPOINT, decoder.STEPS)}


UNFINISHED = {"transformer": diffusion.CHECKPOINT}


def finished(name: str) -> bool:
    """Whether a stage's checkpoint has all its steps."""
    checkpoint, steps = STAGES[name]
    return checkpoint.exists() and torch.load(checkpoint)["step"] >= steps


def restore() -> None:
    """Brings kept stages back where there are no checkpoints."""
    for name, (checkpoint, steps) in STAGES.items():
        kept = FOLDER / f"{name}.npz"
        if checkpoint.exists() or not kept.exists():
            continue
        found = np.load(kept)
        if int(found["steps"]) == steps:  # else of another recipe
            put_back(found, checkpoint)
    for name, checkpoint in UNFINISHED.items():
        if not checkpoint.exists() and (FOLDER / f"{name}.npz").exists():
            put_back(np.load(FOLDER / f"{name}.npz"), checkpoint)


def put_back(found, checkpoint) -> None:
    """A checkpoint without the optimiser's state."""
    parameters = torch.from_numpy(found["parameters"].astype(np.float32))
    torch.save({"step": int(found["steps"]), "parameters": parameters, "average": parameters.clone()}, checkpoint)


def keep() -> None:
    """Writes every finished stage, and the others' last checkpoints."""
    FOLDER.mkdir(exist_ok=True)
    checkpoints = {name: checkpoint for name, (checkpoint, _) in STAGES.items() if finished(name)} | UNFINISHED
    for name, checkpoint in checkpoints.items():
        saved = torch.load(checkpoint)
        parameters = saved["parameters"].numpy().astype(np.float16)
        np.savez_compressed(FOLDER / f"{name}.npz", parameters=parameters, steps=saved["step"])
        print(f"{name}: {parameters.size} parameters of step {saved['step']}")


if __name__ == "__main__":
    keep()
