"""Writes the diffusers folder: bf16 safetensors, tokenizers, scheduler, language.json and tintype.json."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from paths import MODEL, WORK
import captions
import spoken
import text
import tokenizer_files

STEPS, TRUE_CFG = 4, 1.5  # what judged best: a text settles its picture, so paths are nearly straight
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
TINTYPE = {"name": "nano", "steps": STEPS, "guidance": 1.0, "true_cfg": TRUE_CFG, "native_area": 65536, "multiple": 32,
           "max_sequence_length": captions.T5_LENGTH}


def save(encoders: text.Encoders, autoencoder, transformer, folder: Path = MODEL) -> None:
    """Saves beside `folder` first, then moves file by file, so that a reader never meets half a file."""
    fresh = WORK / "export"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, model in (("transformer", transformer), ("vae", autoencoder), ("text_encoder", encoders.clip), ("text_encoder_2", encoders.t5)):
        type(model).to(model, torch.bfloat16).save_pretrained(fresh / name)
        model.float()
    FlowMatchEulerDiscreteScheduler(**SCHEDULER).save_pretrained(fresh / "scheduler")
    tokenizer_files.save(fresh)
    (fresh / "model_index.json").write_text(json.dumps(MODEL_INDEX, indent=2) + "\n")
    (fresh / "tintype.json").write_text(json.dumps(TINTYPE, indent=2) + "\n")
    (fresh / "language.json").write_text(json.dumps(spoken.language(), indent=1) + "\n")
    for source in sorted(fresh.rglob("*")):
        if source.is_file():
            target = folder / source.relative_to(fresh)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.chmod(0o644)
            os.replace(source, target)
