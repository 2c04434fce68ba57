"""Runs the exported folder in diffusers' own pipelines and judges what they draw; exits 1 where something is wrong.

    python crates/nano/recipe/check_diffusers.py
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from diffusers import FluxKontextPipeline, FluxPipeline
from PIL import Image

import judge
from captions import Request
from draw import draw
from judge_picture import read
from judged import held_out_edits, held_out_requests, wanted
from paths import MODEL
from scenes import SQUARE, Object, Scene

PROMPT = "a red circle left of a blue square on a white background"
SCENE = Scene("white", "plain", (Object("circle", "red", "medium", (0, 1)), Object("square", "blue", "medium", (2, 1))))
COUNT = 10


def by_pipeline(pipeline, settings, prompt, width, height, seed, **more) -> np.ndarray:
    image = pipeline(prompt=prompt, width=width, height=height, num_inference_steps=settings["steps"],
                     guidance_scale=settings["guidance"], true_cfg_scale=settings["true_cfg"], negative_prompt="", max_sequence_length=settings["max_sequence_length"],
                     generator=torch.Generator("cpu").manual_seed(seed), **more).images[0]
    return np.asarray(image.convert("RGB"))


def main() -> int:
    settings = json.loads((MODEL / "tintype.json").read_text())
    kontext = FluxKontextPipeline.from_pretrained(MODEL, torch_dtype=torch.float32)
    parts = {name: part for name, part in kontext.components.items() if name not in ("image_encoder", "feature_extractor")}
    flux = FluxPipeline(**parts)
    for pipeline in (kontext, flux):
        pipeline.set_progress_bar_config(disable=True)
    model = judge.exported()

    told = read(by_pipeline(flux, settings, PROMPT, *SQUARE, 42), Request(PROMPT, SCENE))
    print(f"{PROMPT!r}: {'right' if told.everything else told}")

    asked = held_out_requests(COUNT)
    own = judge.generate(model, [r.text for r in asked], [judge.size_of(r.scene) for r in asked])
    theirs = [by_pipeline(flux, settings, r.text, *judge.size_of(r.scene), 1000 + i) for i, r in enumerate(asked)]
    edits = held_out_edits(COUNT)
    sources = [draw(edit.source) for edit in edits]
    own += judge.generate(model, [e.instruction for e in edits], [(s.shape[1], s.shape[0]) for s in sources], sources, 5000)
    theirs += [by_pipeline(kontext, settings, e.instruction, s.shape[1], s.shape[0], 5000 + i, image=Image.fromarray(s),
                           _auto_resize=False, max_area=s.shape[0] * s.shape[1]) for i, (e, s) in enumerate(zip(edits, sources))]
    apart = [int(np.abs(a.astype(int) - b).max()) for a, b in zip(own, theirs)]
    right = [read(picture, request).everything for picture, request in zip(theirs, asked + [wanted(edit) for edit in edits])]
    print(f"largest difference between the recipe's sampler and the pipelines: {max(apart)} of 255")
    print(f"right by the pipelines: {sum(right[:COUNT])} of {COUNT} pictures, {sum(right[COUNT:])} of {COUNT} edits")
    return 0 if told.everything and max(apart) <= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
