"""Finished stages in half precision beside the recipe: `python kept.py` keeps what is finished in work/nano2/.

A machine that has no checkpoints begins with these, so that only the unfinished stage is trained again.
"""

from __future__ import annotations

import numpy as np
import torch

from paths import RECIPE
import decoder
import text
import vae

FOLDER = RECIPE / "kept"
STAGES = {"vae": (vae.CHECKPOINT, vae.STEPS), "text": (text.CHECKPOINT, text.STEPS), "decoder": (decoder.CHECKPOINT, decoder.STEPS)}


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
        if int(found["steps"]) != steps:
            continue  # of another recipe
        parameters = torch.from_numpy(found["parameters"].astype(np.float32))
        torch.save({"step": steps, "parameters": parameters, "average": parameters.clone()}, checkpoint)


def keep() -> None:
    """Writes every finished stage."""
    FOLDER.mkdir(exist_ok=True)
    for name, (checkpoint, steps) in STAGES.items():
        if finished(name):
            parameters = torch.load(checkpoint)["parameters"].numpy().astype(np.float16)
            np.savez_compressed(FOLDER / f"{name}.npz", parameters=parameters, steps=steps)
            print(f"{name}: {parameters.size} parameters of step {steps}")


if __name__ == "__main__":
    keep()
