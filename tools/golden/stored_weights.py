"""Weights in every encoding that is read, and what the `gguf` package and torch decode them to."""

from pathlib import Path

import gguf
import numpy
import torch
from safetensors.torch import save_file

OUTPUT = Path(__file__).resolve().parents[2] / "crates/weights/tests/golden"

# Where the f16 scales of a block lie.
SCALES = dict(
    Q4_0=[0], Q4_1=[0, 2], Q5_0=[0], Q5_1=[0, 2], Q8_0=[0], Q2_K=[80, 82], Q3_K=[108], Q4_K=[0, 2], Q5_K=[0, 2], Q6_K=[208]
)

# Zero of either sign, the least and the largest numbers below the normal ones, the largest of all, infinity, NaN, ordinary ones.
SCALE_BITS = [0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFC00, 0x7E01, 0x2C66, 0xA123, 0x1400]


def blocks(name: str, generator: numpy.random.Generator) -> numpy.ndarray:
    """Random bytes; in most rows the scales are chosen, each in turn."""
    kind = gguf.GGMLQuantizationType[name]
    values, size = gguf.GGML_QUANT_SIZES[kind]
    rows = generator.integers(0, 256, (24, 256 // values, size), dtype=numpy.uint8)
    for index, row in enumerate(rows[:20]):
        for turn, place in enumerate(SCALES[name]):
            bits = SCALE_BITS[(index + 3 * turn * (index // 10)) % len(SCALE_BITS)]
            row[:, place : place + 2] = [bits & 0xFF, bits >> 8]
    return rows.reshape(24, -1)


def write_blocks() -> None:
    """`encodings.gguf`: of each format `NAME`, 24 rows of 256 values, and `NAME.values` in f32; keys of every type."""
    generator = numpy.random.Generator(numpy.random.PCG64(6))
    writer = gguf.GGUFWriter(OUTPUT / "encodings.gguf", "golden")
    writer.add_uint32("a.number", 7)
    writer.add_int64("a.negative", -7)
    writer.add_float64("a.half", 0.5)
    writer.add_bool("a.bool", True)
    writer.add_string("a.text", "naïve 漢字")
    writer.add_array("tokenizer.ggml.tokens", ["<pad>", "▁a", "🙂"])
    writer.add_array("tokenizer.ggml.scores", [0.0, -1.5, 2.25])
    for name in SCALES:
        kind = gguf.GGMLQuantizationType[name]
        stored = blocks(name, generator)
        writer.add_tensor(name, stored, raw_dtype=kind)
        writer.add_tensor(f"{name}.values", gguf.quants.dequantize(stored, kind).astype(numpy.float32))
    halves = generator.integers(0, 65536, (4, 64), dtype=numpy.uint16)
    writer.add_tensor("F16", halves.view(numpy.float16))
    writer.add_tensor("F16.values", halves.view(numpy.float16).astype(numpy.float32))
    writer.add_tensor("BF16", halves.view(numpy.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.add_tensor("BF16.values", torch.from_numpy(halves.view(numpy.int16)).view(torch.bfloat16).to(torch.float32).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_floats() -> None:
    """`float8.safetensors`: all bytes as fp8 of both kinds with two scales, and their values in f32."""
    every = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    tensors = {}
    for name, kind in dict(e4m3=torch.float8_e4m3fn, e5m2=torch.float8_e5m2).items():
        for scale in [1.0, 0.0123]:
            weight = every.view(kind)
            case = f"{name}.{scale}"
            tensors[case] = weight.clone()
            tensors[f"{case}.weight_scale"] = torch.tensor(scale)
            tensors[f"{case}.values"] = weight.to(torch.float32) * torch.tensor(scale)
    save_file(tensors, OUTPUT / "float8.safetensors", metadata={"_quantization_metadata": '{"format_version": "1.0"}'})


def write(_: Path) -> None:
    """All of it."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    write_blocks()
    write_floats()
