"""Writes the diffusers folder `crates/nano/model`: bf16 safetensors, tokenizers, scheduler and tintype.json."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

import language
import text
import tokenizer_files
import transformer
import vae
from paths import MODEL, WORK

STEPS = 16
SHIFT_MU = 1.8  # the exponential time shift, the same for every picture size
SCHEDULER = dict(num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=True, base_shift=SHIFT_MU, max_shift=SHIFT_MU,
                 base_image_seq_len=64, max_image_seq_len=4096)
MODEL_INDEX = {
    "_class_name": "FluxKontextPipeline", "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None], "image_encoder": [None, None],
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"], "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"], "vae": ["diffusers", "AutoencoderKL"],
}
TINTYPE = {"name": "nano", "steps": STEPS, "guidance": 1.0, "true_cfg": 1.0, "native_area": 16384, "multiple": 16,
           "max_sequence_length": tokenizer_files.T5_LENGTH}


def spoken() -> dict:
    """What the program knows of the language: names of everything, each with all the words for it (`tintype nano explain`)."""
    same = lambda names: {name: [name] for name in names}
    relations = {name: [name, *([f"to the {name}"] if name.endswith("of") else [])] for name in language.RELATIONS}
    edits = {"recolour": ["make", "change", "turn"], "remove": ["remove", "delete", "erase"], "add": ["add"], "replace": ["replace"], "move": ["move"]}
    return {"shapes": same(language.SHAPES), "colours": same(language.COLOURS), "backgrounds": same(language.BACKGROUNDS), "patterns": {},
            "sizes": {"small": ["small", "smaller"], "medium": ["medium"], "large": ["large", "larger", "bigger"]}, "places": same(language.PLACES),
            "relations": relations, "edits": edits, "things": {}, "scenery": {}, "unknown_words": "spelled", "choices": choices()}


def choices() -> dict:
    """What the upsampler must know to choose what a text leaves open; `hidden` are colours that hardly show on a background."""
    hidden = {"white": ["yellow"], "cream": ["yellow", "pink"], "navy": ["blue", "purple"], "mint": ["cyan", "green"]}
    return {"radius": language.SIZES, "pitch": 128 // 2 - language.MARGIN, "gap": language.GAP, "hidden": hidden,
            "most_objects": 3, "most_pieces": tokenizer_files.T5_LENGTH - 1}


def save(encoders: text.Encoders, autoencoder, flux, folder: Path = MODEL) -> None:
    """Saves beside `folder` first, then moves file by file, so that a reader never meets half a file."""
    fresh = WORK / "export"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    to_bf16 = lambda model: type(model).to(model, torch.bfloat16)
    for name, model in (("transformer", flux), ("vae", autoencoder), ("text_encoder", encoders.clip), ("text_encoder_2", encoders.t5)):
        to_bf16(model).save_pretrained(fresh / name)
        model.float()
    FlowMatchEulerDiscreteScheduler(**SCHEDULER).save_pretrained(fresh / "scheduler")
    tokenizer_files.save(fresh)
    (fresh / "model_index.json").write_text(json.dumps(MODEL_INDEX, indent=2) + "\n")
    (fresh / "tintype.json").write_text(json.dumps(TINTYPE, indent=2) + "\n")
    (fresh / "language.json").write_text(json.dumps(spoken(), indent=1) + "\n")
    for source in sorted(fresh.rglob("*")):
        if source.is_file():
            target = folder / source.relative_to(fresh)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.chmod(0o644)
            os.replace(source, target)
