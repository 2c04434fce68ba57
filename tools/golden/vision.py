"""The picture classifier's cases: tiny random ViTs, what they see in a picture block by block, and Pillow's resizing for them."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import ViTConfig, ViTForImageClassification
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import recording

OUTPUT = Path(__file__).resolve().parents[2] / "crates/vision/tests/golden"


@dataclass(frozen=True)
class Case:
    """One model: its configuration, how it is stored, how it wants its pictures."""

    name: str
    config: dict
    dtype: torch.dtype
    processor: dict


CASES = [
    Case(
        "softmax",
        dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, image_size=40, patch_size=8, hidden_act="gelu",
             id2label={0: "normal", 1: "nsfw"}),
        torch.float32,
        dict(size=dict(height=40, width=40), resample=Image.Resampling.BILINEAR, image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5]),
    ),
    Case(
        "sigmoid",
        dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, image_size=[24, 36], patch_size=[12, 12], hidden_act="gelu_new",
             qkv_bias=False, layer_norm_eps=1e-5, id2label={0: "drawings", 1: "gore", 2: "sexy"}, problem_type="multi_label_classification"),
        torch.bfloat16,
        dict(size=dict(height=24, width=36), resample=Image.Resampling.BICUBIC, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]),
    ),
]


def picture(seed: int, width: int, height: int) -> Image.Image:
    """Smooth colours with noise: something that resizing changes."""
    generator = numpy.random.default_rng(seed)
    x, y = numpy.meshgrid(numpy.linspace(0, 1, width), numpy.linspace(0, 1, height))
    base = numpy.stack([x, y, numpy.sin(9 * x * y) * 0.5 + 0.5], -1) * 200
    return Image.fromarray((base + generator.integers(0, 56, base.shape)).clip(0, 255).astype(numpy.uint8))


def build(case: Case, seed: int) -> ViTForImageClassification:
    """A model whose every weight matters: the library's own start would leave most near zero."""
    labels = case.config["id2label"]
    config = ViTConfig(**case.config, label2id={label: index for index, label in labels.items()})
    torch.manual_seed(seed)
    model = ViTForImageClassification(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(centre + torch.randn_like(parameter) * (0.3 if parameter.ndim == 1 else 0.2))
    return model.to(case.dtype)


def write_case(case: Case, seed: int) -> None:
    """The folder as `transformers` writes it, and what the model sees in two pictures, computed in f32."""
    directory = OUTPUT / case.name
    shutil.rmtree(directory, ignore_errors=True)
    model, processor = build(case, seed), ViTImageProcessorPil(**case.processor)
    model.save_pretrained(directory / "model")
    processor.save_pretrained(directory / "model")
    model = model.float()
    pictures = [picture(seed + 1, 61, 47), picture(seed + 2, 19, 90)]
    with recording.recorder() as rec, torch.no_grad():
        pixels = processor(pictures, return_tensors="pt").pixel_values
        for index, each in enumerate(pictures):
            rec.put(f"picture.{index}", torch.from_numpy(numpy.array(each)))
        rec.put("pixels", pixels)
        rec.watch(model.vit.embeddings, "embedding")
        for index, layer in enumerate(model.vit.layers if hasattr(model.vit, "layers") else model.vit.encoder.layer):
            rec.watch(layer, f"block.{index}", recording.first)
        logits = model(pixels).logits
        rec.put("logits", logits)
        rec.put("scores", logits.sigmoid() if model.config.problem_type == "multi_label_classification" else logits.softmax(-1))
        save_file(rec.tensors, directory / "trace.safetensors")


def write() -> None:
    """All cases."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for index, case in enumerate(CASES):
        write_case(case, 7000 + 100 * index)
    resized = {}
    for index, (width, height) in enumerate([(61, 47), (7, 90)]):
        source = picture(50 + index, width, height)
        resized[f"{index}.source"] = torch.from_numpy(numpy.array(source))
        for name in ("BILINEAR", "BICUBIC", "LANCZOS", "BOX", "HAMMING"):
            for new in ((20, 31), (61, 33), (70, 40)):
                resized[f"{index}.{name.lower()}.{new[0]}x{new[1]}"] = torch.from_numpy(numpy.array(source.resize(new, Image.Resampling[name])))
    save_file(resized, Path(OUTPUT).parents[2] / "pixels/tests/resize.safetensors")
