"""The names and shapes of FLUX.1's tensors as diffusers and transformers build the models, without a value; written to full_size.json.

Blocks that are alike stand there once, with a `*` for their number.
"""

import json
import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

# FLUX.1 [dev]; what is not said is the classes' own default.
TRANSFORMER = {"guidance_embeds": True}
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 16,
    "layers_per_block": 2,
    "sample_size": 1024,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
CLIP = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "eos_token_id": 2,
}
T5 = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
}

BLOCK = re.compile(r"((?:single_)?transformer_blocks|encoder\.layers|encoder\.block)\.(\d+)\.")


def clip_config() -> CLIPTextConfig:
    """CLIP-L's text encoder."""
    return CLIPTextConfig(**CLIP)


def t5_config() -> T5Config:
    """T5 v1.1 XXL."""
    return T5Config(**T5)


def described(model: torch.nn.Module, config: dict, prefix: str = "", more: dict | None = None) -> dict:
    """Its configuration, how often each block stands in it, and its tensors."""
    shapes = {prefix + name: list(tensor.shape) for name, tensor in model.state_dict().items()} | (more or {})
    blocks: dict[str, set[int]] = {}
    tensors: dict[str, list[int]] = {}
    for name, shape in shapes.items():
        found = BLOCK.search(name)
        # T5's first block has one more.
        if found is None or "relative_attention_bias" in name:
            tensors[name] = shape
            continue
        blocks.setdefault(name[: found.end(1)], set()).add(int(found[2]))
        starred = f"{name[: found.end(1)]}.*.{name[found.end():]}"
        assert tensors.setdefault(starred, shape) == shape, "blocks differ"
    counts = {name: len(numbers) for name, numbers in blocks.items()}
    # One that stands there under two names counts once.
    values = sum(parameter.numel() for parameter in model.parameters())
    return {"config": config, "values": values, "blocks": counts, "tensors": tensors}


def write(output: Path) -> None:
    """Writes full_size.json."""
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**TRANSFORMER)
        vae = AutoencoderKL(**VAE)
        clip = CLIPTextModel(clip_config())
        t5 = T5EncoderModel(t5_config())
    assert not any(name.startswith("text_model.") for name in clip.state_dict()), "the prefix is back"
    document = {
        "transformer": described(transformer, json.loads(transformer.to_json_string())),
        "vae": described(vae, json.loads(vae.to_json_string())),
        # As the published folder calls them.
        "text_encoder": described(clip, clip_config().to_dict(), "text_model."),
        "text_encoder_2": described(t5, t5_config().to_dict()),
    }
    parts = []
    for component, description in document.items():
        lines = ",\n".join(f"   {json.dumps(name)}: {json.dumps(shape)}" for name, shape in sorted(description.pop("tensors").items()))
        head = ",\n  ".join(f"{json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in description.items())
        parts.append(f' "{component}": {{\n  {head},\n  "tensors": {{\n{lines}\n  }}\n }}')
    (output / "full_size.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")
