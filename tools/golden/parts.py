"""The cases without a model: noise, schedules, tokenizers, resizing, ids."""

import itertools
import json
from pathlib import Path

import numpy
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.flux.pipeline_flux import calculate_shift, retrieve_timesteps
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTokenizer, T5Tokenizer

import loras
import full_size
import names
import runs
import stored_weights

SEEDS = [0, 1, 42, 2**32 - 1, 2**32 + 5, 2**63 - 1, -1, -(2**63)]
SHORT_DRAWS = [1, 2, 5, 15]
LONG_DRAWS = [16, 17, 31, 32, 100, 384]
HASHED_DRAWS = [(0, 2**20), (42, 16 * 128 * 128), (-7, 1_000_003)]


def fnv1a(data: bytes) -> int:
    """FNV-1a over 32-bit words: a hash that takes a few lines in any language."""
    state = 0xCBF29CE484222325
    for word in numpy.frombuffer(data, dtype=numpy.uint32).tolist():
        state = ((state ^ word) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return state


def draw(seed: int, count: int, dtype: torch.dtype) -> torch.Tensor:
    """What `randn_tensor` draws for a pipeline of this dtype."""
    return torch.randn(count, generator=torch.Generator("cpu").manual_seed(seed), dtype=dtype)


def write_noise(output: Path) -> None:
    """Normal samples of torch's CPU generator; of three long draws only a hash."""
    tensors = {}
    for seed in SEEDS:
        for count in SHORT_DRAWS + LONG_DRAWS:
            tensors[f"f32.{seed}.{count}"] = draw(seed, count, torch.float32)
            tensors[f"bf16.{seed}.{count}"] = draw(seed, count, torch.bfloat16)
    save_file(tensors, output / "noise.safetensors")
    hashes = [dict(seed=seed, count=count, fnv1a=f"{fnv1a(draw(seed, count, torch.float32).numpy().tobytes()):016x}") for seed, count in HASHED_DRAWS]
    (output / "noise_hashes.json").write_text(json.dumps(hashes, indent=2) + "\n")


def schedule(config: dict, image_seq_len: int, steps: int) -> dict:
    """One schedule, asked for as the pipelines do."""
    scheduler = FlowMatchEulerDiscreteScheduler(**config)
    get = scheduler.config.get
    mu = calculate_shift(
        image_seq_len, get("base_image_seq_len"), get("max_image_seq_len"), get("base_shift"), get("max_shift")
    )
    retrieve_timesteps(scheduler, steps, "cpu", sigmas=numpy.linspace(1.0, 1 / steps, steps), mu=mu)
    return dict(
        config=config,
        image_seq_len=image_seq_len,
        steps=steps,
        sigmas=scheduler.sigmas.tolist(),
        timesteps=scheduler.timesteps.tolist(),
    )


def write_schedule(output: Path) -> None:
    """Sigmas and timesteps as the pipelines ask the scheduler for them."""
    dynamic = dict(use_dynamic_shifting=True, shift=3.0, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096)
    configs = [
        dict(use_dynamic_shifting=False, shift=1.0),
        dict(use_dynamic_shifting=False, shift=3.0),
        dynamic,
        dict(dynamic, base_shift=1.8, max_shift=1.8),
        dict(dynamic, base_image_seq_len=64, max_image_seq_len=1024, max_shift=2.05, time_shift_type="linear"),
        dict(dynamic, shift_terminal=0.1),
    ]
    cases = []
    for config in configs:
        lengths = [24, 256, 1024, 4096, 9216] if config["use_dynamic_shifting"] else [1024]
        for image_seq_len, steps in itertools.product(lengths, [1, 4, 28]):
            if not (config.get("shift_terminal") and steps == 1):  # diffusers divides by zero there
                cases.append(schedule(config, image_seq_len, steps))
    lines = ",\n".join(json.dumps(case) for case in cases)
    (output / "schedule.json").write_text(f"[\n{lines}\n]\n")


PROMPTS = [
    "",
    "   ",
    "a red circle left of a blue square",
    "A RED Circle,LEFT of a  blue\tsquare\n\non white.",
    "it's the artist's own; they've framed it, we'll hang 1234567 at 50% off!!!",
    "cafe\u0301 caf\u00e9 na\u00efve \u00dcber stra\u00dfe \u0130stanbul",
    "\u6f22\u5b57\u3068\u304b\u306a \ud55c\uad6d\uc5b4 \u0440\u0443\u0441\u0441\u043a\u0438\u0439 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "\U0001f642\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2014 \u201cquoted\u201d \u2026",
    "\uff21\uff22\uff23 \ufb01ne \u00bd \u2460 \u00a0nbsp\u3000wide",
    "control \u0000 \u0007 \u200b zero width \ufeff bom",
    "<|endoftext|> a <|startoftext|> b",
    "</s> a <pad> <unk> <extra_id_0> <extra_id_99>",
    "\u2581a\u2581b \u2581 c",
    "'s 'S don't DON'T rock'n'roll",
    "x" * 200,
    "a large green star, " * 40,
    "trailing space ",
    " leading space",
]


def write_tokenizers(output: Path) -> None:
    """Ids of tricky strings, for the tokenizers of three model cases."""
    result = {"prompts": PROMPTS, "t5_length": 40}
    for name in ["schnell", "dev", "kontext"]:
        clip = CLIPTokenizer.from_pretrained(output / name / "model/tokenizer")
        t5 = T5Tokenizer.from_pretrained(output / name / "model/tokenizer_2")
        result[name] = dict(
            clip=clip(PROMPTS, padding="max_length", max_length=clip.model_max_length, truncation=True).input_ids,
            t5=t5(PROMPTS, padding="max_length", max_length=result["t5_length"], truncation=True).input_ids,
        )
    lines = json.dumps(result, ensure_ascii=True).replace("]], ", "]],\n")
    (output / "tokenizers.json").write_text(lines + "\n")


def write_resize(output: Path) -> None:
    """Lanczos resizing as `VaeImageProcessor` does it: PIL, 8 bits."""
    processor = VaeImageProcessor(vae_scale_factor=1)
    tensors = {}
    for index, (width, height) in enumerate([(61, 43), (157, 30)]):
        picture = runs.reference_picture(width, height, 200 + index)
        tensors[f"{index}.source"] = torch.from_numpy(numpy.array(picture))
        for target_width, target_height in [(48, 32), (96, 80), (17, 90), (width, 16)]:
            resized: Image.Image = processor.resize(picture, target_height, target_width)
            tensors[f"{index}.{target_width}x{target_height}"] = torch.from_numpy(numpy.array(resized))
    save_file(tensors, output / "resize.safetensors")


def write_packing(output: Path) -> None:
    """Packing of latents into tokens, and the ids of the tokens."""
    latents = torch.arange(2 * 3 * 4 * 6, dtype=torch.float32).reshape(2, 3, 4, 6)
    tensors = {
        "latents": latents,
        "packed": FluxPipeline._pack_latents(latents, 2, 3, 4, 6),
        "ids": FluxPipeline._prepare_latent_image_ids(2, 2, 3, "cpu", torch.float32),
    }
    save_file(tensors, output / "packing.safetensors")


PARTS = {
    "stored_weights": stored_weights.write,
    "noise": write_noise,
    "schedule": write_schedule,
    "tokenizers": write_tokenizers,
    "resize": write_resize,
    "packing": write_packing,
    "lora": loras.write_loras,
    "names": names.write,
    "full_size": full_size.write,
}
