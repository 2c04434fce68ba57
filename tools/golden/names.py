"""What diffusers' own converters make of the names of original files; written to names.json.

Every tensor holds the numbers of its rows, so what a converter gives back says which rows of which
tensor it took, and in which order.
"""

import json
from pathlib import Path

import torch
from diffusers.loaders.single_file_utils import (
    convert_flux_transformer_checkpoint_to_diffusers,
    convert_ldm_vae_checkpoint,
)

# The converter knows this width alone.
HIDDEN = 3072
BLOCKS = 2
LEVELS = 4


def transformer() -> dict[str, int]:
    """The tensors of a transformer of two blocks of each kind, in the names of its makers, with their rows."""
    rows: dict[str, int] = {}

    def linear(name: str, count: int) -> None:
        rows[f"{name}.weight"] = rows[f"{name}.bias"] = count

    for name in ("time_in", "vector_in", "guidance_in"):
        linear(f"{name}.in_layer", HIDDEN)
        linear(f"{name}.out_layer", HIDDEN)
    linear("img_in", HIDDEN)
    linear("txt_in", HIDDEN)
    for block in range(BLOCKS):
        for stream in ("img", "txt"):
            name = f"double_blocks.{block}.{stream}"
            linear(f"{name}_mod.lin", 6 * HIDDEN)
            linear(f"{name}_attn.qkv", 3 * HIDDEN)
            rows[f"{name}_attn.norm.query_norm.scale"] = 128
            rows[f"{name}_attn.norm.key_norm.scale"] = 128
            linear(f"{name}_attn.proj", HIDDEN)
            linear(f"{name}_mlp.0", 4 * HIDDEN)
            linear(f"{name}_mlp.2", HIDDEN)
        name = f"single_blocks.{block}"
        linear(f"{name}.modulation.lin", 3 * HIDDEN)
        linear(f"{name}.linear1", 7 * HIDDEN)
        linear(f"{name}.linear2", HIDDEN)
        rows[f"{name}.norm.query_norm.scale"] = 128
        rows[f"{name}.norm.key_norm.scale"] = 128
    linear("final_layer.adaLN_modulation.1", 2 * HIDDEN)
    linear("final_layer.linear", 64)
    return rows


def vae() -> dict[str, int]:
    """The tensors of FLUX's autoencoder in the names of its makers, with their rows (channels / 8)."""
    rows: dict[str, int] = {}

    def both(name: str, count: int) -> None:
        rows[f"{name}.weight"] = rows[f"{name}.bias"] = count

    def block(name: str, width: int, shortcut: bool) -> None:
        for layer in ("norm1", "conv1", "norm2", "conv2"):
            both(f"{name}.{layer}", width)
        if shortcut:
            both(f"{name}.nin_shortcut", width)

    def mid(name: str, width: int) -> None:
        block(f"{name}.block_1", width, False)
        block(f"{name}.block_2", width, False)
        for layer in ("norm", "q", "k", "v", "proj_out"):
            both(f"{name}.attn_1.{layer}", width)

    widths = [16, 32, 64, 64]
    for side in ("encoder", "decoder"):
        for layer in ("conv_in", "norm_out", "conv_out"):
            both(f"{side}.{layer}", 64)
        mid(f"{side}.mid", 64)
    for level, width in enumerate(widths):
        for index in range(2):
            block(f"encoder.down.{level}.block.{index}", width, index == 0 and level in (1, 2))
        for index in range(3):
            block(f"decoder.up.{level}.block.{index}", width, index == 0 and level in (0, 1))
        if level + 1 < LEVELS:
            both(f"encoder.down.{level}.downsample.conv", width)
        if level > 0:
            both(f"decoder.up.{level}.upsample.conv", width)
    return rows


def tagged(rows: dict[str, int]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """One column for each tensor: its number times a million plus the row's."""
    names = list(rows)
    numbers = {name: torch.arange(rows[name], dtype=torch.int64) + index * 1_000_000 for index, name in enumerate(names)}
    return numbers, names


def runs(column: torch.Tensor, names: list[str]) -> list[list]:
    """`[stored name, first row, row after the last]` of each run of rows."""
    found: list[list] = []
    for value in column.tolist():
        name, row = names[value // 1_000_000], value % 1_000_000
        if found and found[-1][0] == name and found[-1][2] == row:
            found[-1][2] += 1
        else:
            found.append([name, row, row + 1])
    return found


def convert(rows: dict[str, int], converter) -> dict:
    """The converter's answer as a table: wanted name to rows of stored tensors."""
    numbers, names = tagged(rows)
    answer = converter(dict(numbers))
    assert sum(column.numel() for column in answer.values()) == sum(rows.values()), "something was dropped"
    return {"stored": rows, "wanted": {name: runs(column, names) for name, column in sorted(answer.items())}}


def as_lines(document: dict) -> str:
    """JSON with one tensor a line."""
    parts = []
    for component, tables in document.items():
        lines = []
        for table, entries in tables.items():
            body = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in entries.items())
            lines.append(f'"{table}": {{\n{body}\n }}')
        parts.append(f'"{component}": {{' + ",\n ".join(lines) + "}")
    return "{" + ",\n".join(parts) + "}"


def write(output: Path) -> None:
    """Writes names.json."""

    def vae_converter(checkpoint):
        # 1 × 1 convolutions have four axes there.
        shaped = {
            name: column.reshape(-1, 1, 1, 1) if "attn_1" in name and "norm" not in name and name.endswith("weight") else column
            for name, column in checkpoint.items()
        }
        config = {"down_block_types": [""] * LEVELS, "up_block_types": [""] * LEVELS}
        return {name: column.reshape(-1) for name, column in convert_ldm_vae_checkpoint(shaped, config).items()}

    document = {
        "transformer": convert(transformer(), convert_flux_transformer_checkpoint_to_diffusers),
        "vae": convert(vae(), vae_converter),
    }
    (output / "names.json").write_text(as_lines(document) + "\n")
