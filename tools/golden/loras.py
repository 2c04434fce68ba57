"""LoRA files as diffusers and PEFT, Kohya's scripts and XLabs write them, and what diffusers draws with them."""

import inspect
import json
import math
from pathlib import Path

import torch
from diffusers.loaders import lora_conversion_utils, lora_pipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

import models
import runs
from cases import CASES, Case, Run

# Lists of (file, weight); the picture of each is recorded.
RUNS = {
    "schnell": [
        ("peft", [("peft", 1.0)]),
        ("kohya", [("kohya", 0.75)]),
        ("xlabs", [("xlabs", 1.0)]),
        ("several", [("peft", 0.6), ("kohya", -0.4), ("xlabs", 0.5)]),
    ],
    "dev": [("peft", [("peft", 0.8)]), ("several", [("xlabs", 0.7), ("peft", -0.5)])],
}


def matrix(generator: torch.Generator, rows: int, columns: int) -> torch.Tensor:
    """A random matrix that keeps the size of what it is multiplied with."""
    return torch.randn(rows, columns, generator=generator) / math.sqrt(columns)


def write_peft(pipeline, path: Path, generator: torch.Generator) -> None:
    """What `save_lora_weights` writes: all linear layers, several ranks and alphas, biases, half of CLIP."""
    layers = [name for name, module in pipeline.transformer.named_modules() if isinstance(module, torch.nn.Linear)]
    config = LoraConfig(
        r=4,
        lora_alpha=2,
        target_modules=layers,
        rank_pattern={"attn.to_q": 2, "ff.net.0.proj": 7},
        alpha_pattern={"attn.to_k": 6, "norm1.linear": 1},
        lora_bias=True,
    )
    pipeline.transformer.add_adapter(config, "own")
    clip = LoraConfig(r=3, lora_alpha=9, target_modules=["q_proj", "v_proj", "fc1"], use_rslora=True)
    pipeline.text_encoder.add_adapter(clip, "own")
    for model in (pipeline.transformer, pipeline.text_encoder):
        for name, parameter in sorted(model.named_parameters()):
            if ".lora_" in name:
                with torch.no_grad():
                    shape = parameter.shape
                    value = matrix(generator, *shape) if len(shape) == 2 else 0.2 * torch.randn(shape, generator=generator)
                    parameter.copy_(0.6 * value)
    pipeline.save_lora_weights(
        path.parent,
        transformer_lora_layers=get_peft_model_state_dict(pipeline.transformer, adapter_name="own"),
        text_encoder_lora_layers=get_peft_model_state_dict(pipeline.text_encoder, adapter_name="own"),
        weight_name=path.name,
        # Without the place where the model lay.
        transformer_lora_adapter_metadata=config.to_dict() | {"base_model_name_or_path": None},
        text_encoder_lora_adapter_metadata=clip.to_dict() | {"base_model_name_or_path": None},
    )


def write_kohya(case: Case, path: Path, generator: torch.Generator) -> None:
    """All blocks under Kohya's names, in bf16, with alphas; queries, keys and values share a matrix; CLIP's parts too."""
    config = case.transformer
    hidden = config["attention_head_dim"] * config["num_attention_heads"]
    layers = {}
    for index in range(config["num_layers"]):
        for stream in ("img", "txt"):
            name = f"lora_unet_double_blocks_{index}_{stream}"
            layers |= {
                f"{name}_attn_qkv": (hidden, 3 * hidden),
                f"{name}_attn_proj": (hidden, hidden),
                f"{name}_mlp_0": (hidden, 4 * hidden),
                f"{name}_mlp_2": (4 * hidden, hidden),
                f"{name}_mod_lin": (hidden, 6 * hidden),
            }
    for index in range(config["num_single_layers"]):
        name = f"lora_unet_single_blocks_{index}"
        layers |= {
            f"{name}_linear1": (hidden, 7 * hidden),
            f"{name}_linear2": (5 * hidden, hidden),
            f"{name}_modulation_lin": (hidden, 3 * hidden),
        }
    width, inner = case.clip["hidden_size"], case.clip["intermediate_size"]
    for index in range(case.clip["num_hidden_layers"]):
        name = f"lora_te1_text_model_encoder_layers_{index}"
        layers |= {f"{name}_self_attn_{part}": (width, width) for part in ("q_proj", "k_proj", "v_proj", "out_proj")}
        layers |= {f"{name}_mlp_fc1": (width, inner), f"{name}_mlp_fc2": (inner, width)}
    tensors = {}
    for number, (name, (columns, rows)) in enumerate(sorted(layers.items())):
        rank = 3 + number % 3
        tensors[f"{name}.lora_down.weight"] = 0.6 * matrix(generator, rank, columns)
        tensors[f"{name}.lora_up.weight"] = matrix(generator, rows, rank)
        if number % 4:
            tensors[f"{name}.alpha"] = torch.tensor(float(number % 4 + 1))
    tags = {"ss_tag_frequency": json.dumps({"10_style": {"tintype": 12, "portrait": 3}}), "ss_output_name": "golden kohya"}
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}, path, metadata=tags)


def write_xlabs(case: Case, path: Path, generator: torch.Generator) -> None:
    """Attention only, in f16, without alphas."""
    config = case.transformer
    hidden = config["attention_head_dim"] * config["num_attention_heads"]
    layers = {}
    for index in range(config["num_layers"]):
        for stream in (1, 2):
            layers[f"double_blocks.{index}.processor.qkv_lora{stream}"] = (hidden, 3 * hidden)
            layers[f"double_blocks.{index}.processor.proj_lora{stream}"] = (hidden, hidden)
    for index in range(config["num_single_layers"]):
        layers[f"single_blocks.{index}.processor.qkv_lora"] = (hidden, 3 * hidden)
        layers[f"single_blocks.{index}.processor.proj_lora"] = (5 * hidden, hidden)
    tensors = {}
    for name, (columns, rows) in sorted(layers.items()):
        tensors[f"{name}.down.weight"] = 0.7 * matrix(generator, 4, columns)
        tensors[f"{name}.up.weight"] = matrix(generator, rows, 4)
    save_file({name: tensor.to(torch.float16) for name, tensor in tensors.items()}, path)


def convert_any_size(case: Case):
    """diffusers' conversion of Kohya's names has FLUX.1's widths written into it."""
    config = case.transformer
    hidden = config["attention_head_dim"] * config["num_attention_heads"]
    source = inspect.getsource(lora_conversion_utils._convert_kohya_flux_lora_to_diffusers)
    assert "dims=[3072, 3072, 3072, 12288]" in source
    source = source.replace("dims=[3072, 3072, 3072, 12288]", f"dims=[{hidden}, {hidden}, {hidden}, {4 * hidden}]")
    namespace = dict(vars(lora_conversion_utils))
    exec(source, namespace)
    return namespace["_convert_kohya_flux_lora_to_diffusers"]


def draw(case: Case, folder: Path, loras: list[tuple[str, float]]) -> dict[str, torch.Tensor]:
    """The case's first run with these LoRAs."""
    pipeline = models.open_pipeline(case, folder.parents[1] / case.name / "model")
    for name, _ in loras:
        path = folder / f"{name}.safetensors"
        if name == "peft":  # as a file, for what stands in its header
            pipeline.load_lora_weights(folder, weight_name=path.name, adapter_name=name)
        else:  # as tensors, so that the file's type does not matter: the pipeline is in f32
            tensors = {key: tensor.float() for key, tensor in load_file(path).items()}
            pipeline.load_lora_weights(tensors, adapter_name=name)
    if loras:
        pipeline.set_adapters([name for name, _ in loras], [weight for _, weight in loras])
    return runs.run_pipeline(case, pipeline, case.runs[0])


def write_loras(output: Path) -> None:
    """One folder for each model: the files, and a recorded run for each choice of them."""
    for seed, case in enumerate(case for case in CASES if case.name in RUNS):
        folder = output / "lora" / case.name
        folder.mkdir(parents=True, exist_ok=True)
        generator = torch.Generator("cpu").manual_seed(7000 + seed)
        pipeline = models.open_pipeline(case, output / case.name / "model")
        write_peft(pipeline, folder / "peft.safetensors", generator)
        write_kohya(case, folder / "kohya.safetensors", generator)
        write_xlabs(case, folder / "xlabs.safetensors", generator)
        lora_pipeline._convert_kohya_flux_lora_to_diffusers = convert_any_size(case)
        plain = draw(case, folder, [])["picture"]
        for name, loras in RUNS[case.name]:
            recorded = draw(case, folder, loras)
            change = (recorded["picture"] - plain).square().mean().sqrt().item()
            assert change > 0.02, f"{case.name}/{name} changes the picture by {change}"
            print(f"{case.name}/{name}: changed by {change:.3f}")
            kept = {key: tensor for key, tensor in recorded.items() if key.startswith("latents.") or key == "picture"}
            save_file(kept, folder / f"run_{name}.safetensors")
        for file in folder.iterdir():
            file.chmod(0o644)
    choices = {case: [{"name": name, "loras": loras} for name, loras in choices] for case, choices in RUNS.items()}
    (output / "lora" / "runs.json").write_text(json.dumps(choices, indent=2) + "\n")
