"""stable-diffusion.cpp as a peer: one denoising step of a transformer of FLUX.1's geometry.

Started by bench/cpu like peers/pytorch.py. The library wants files, so one with random weights in f16
and the original names is written to work/bench/ (2.5 GB for two double and four single blocks), and
two more, a tiny autoencoder and a CLIP text encoder, whose work is not counted. Without T5 the library
takes 256 text tokens of zeros, whatever the case says: fewer than the others.

    python bench/peers/sdcpp.py --threads 1 '{"what": "step", "double": 2, …}'
"""

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import struct
import sys
import time
from pathlib import Path

import numpy

HIDDEN, HEAD, TEXT, POOLED, WAVES = 3072, 128, 4096, 768, 256
FOLDER = Path(__file__).resolve().parent.parent.parent / "work/bench"
POOL = 1_048_573  # A prime, so that no row of a matrix is as another one.


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("case", type=json.loads)
    arguments = parser.parse_args()
    # What the library prints shall not stand between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = prepare(arguments.case, arguments.threads)
    run()
    tell(answers, {"ready": True, "versions": {"stable-diffusion-cpp-python": importlib.metadata.version("stable-diffusion-cpp-python")}})
    for _ in sys.stdin:
        wall, processor = run()
        tell(answers, {"ms": wall * 1e3, "processor_ms": processor * 1e3})


def tell(answers, line):
    print(json.dumps(line), file=answers, flush=True)


def prepare(case, threads):
    from stable_diffusion_cpp import StableDiffusion

    side = math.isqrt(case["tokens_image"])
    if side * side != case["tokens_image"]:
        sys.exit("the library draws squares here: tokens_image must be a square number")
    transformer = write(f"flux-{case['double']}-{case['single']}", flux(case["double"], case["single"]))
    autoencoder = write("taef1", tiny_autoencoder())
    clip = write("clip_l", clip_l())
    library = StableDiffusion(
        diffusion_model_path=str(transformer), taesd_path=str(autoencoder), clip_l_path=str(clip), n_threads=threads
    )

    def run():
        """The second of two steps, from the end of the first to its own."""
        moments = []
        library.generate_image(
            prompt="", width=16 * side, height=16 * side, sample_steps=2, sample_method="euler", cfg_scale=1.0, seed=1,
            progress_callback=lambda step, steps, seconds: moments.append((time.perf_counter(), time.process_time())),
        )
        # The library may say "none done yet" first.
        first, second = moments[-2:]
        return second[0] - first[0], second[1] - first[1]

    return run


def flux(double, single):
    """Names and shapes of FLUX.1's transformer as Black Forest Labs publishes it."""

    def linear(name, inputs, outputs):
        yield f"{name}.weight", (outputs, inputs)
        yield f"{name}.bias", (outputs,)

    def norms(name):
        yield f"{name}.query_norm.scale", (HEAD,)
        yield f"{name}.key_norm.scale", (HEAD,)

    yield from linear("img_in", 64, HIDDEN)
    yield from linear("txt_in", TEXT, HIDDEN)
    for name, inputs in (("time_in", WAVES), ("guidance_in", WAVES), ("vector_in", POOLED)):
        yield from linear(f"{name}.in_layer", inputs, HIDDEN)
        yield from linear(f"{name}.out_layer", HIDDEN, HIDDEN)
    for index in range(double):
        for stream in ("img", "txt"):
            name = f"double_blocks.{index}.{stream}"
            yield from linear(f"{name}_mod.lin", HIDDEN, 6 * HIDDEN)
            yield from linear(f"{name}_attn.qkv", HIDDEN, 3 * HIDDEN)
            yield from norms(f"{name}_attn.norm")
            yield from linear(f"{name}_attn.proj", HIDDEN, HIDDEN)
            yield from linear(f"{name}_mlp.0", HIDDEN, 4 * HIDDEN)
            yield from linear(f"{name}_mlp.2", 4 * HIDDEN, HIDDEN)
    for index in range(single):
        name = f"single_blocks.{index}"
        yield from linear(f"{name}.modulation.lin", HIDDEN, 3 * HIDDEN)
        yield from linear(f"{name}.linear1", HIDDEN, 7 * HIDDEN)
        yield from norms(f"{name}.norm")
        yield from linear(f"{name}.linear2", 5 * HIDDEN, HIDDEN)
    yield from linear("final_layer.linear", HIDDEN, 64)
    yield from linear("final_layer.adaLN_modulation.1", HIDDEN, 2 * HIDDEN)


def tiny_autoencoder():
    """Names and shapes of TAEF1, the small autoencoder for FLUX.1's latents."""

    def conv(name, inputs, outputs, bias=True):
        yield f"{name}.weight", (outputs, inputs, 3, 3)
        if bias:
            yield f"{name}.bias", (outputs,)

    def block(name):
        for part in (0, 2, 4):
            yield from conv(f"{name}.conv.{part}", 64, 64)

    yield from conv("encoder.layers.0", 3, 64)
    yield from block("encoder.layers.1")
    for first in (2, 6, 10):
        yield from conv(f"encoder.layers.{first}", 64, 64, bias=False)
        for offset in (1, 2, 3):
            yield from block(f"encoder.layers.{first + offset}")
    yield from conv("encoder.layers.14", 64, 16)
    yield from conv("decoder.layers.0", 16, 64)
    for first in (2, 7, 12):
        for offset in (0, 1, 2):
            yield from block(f"decoder.layers.{first + offset}")
        yield from conv(f"decoder.layers.{first + 4}", 64, 64, bias=False)
    yield from block("decoder.layers.17")
    yield from conv("decoder.layers.18", 64, 3)


def clip_l():
    """Names and shapes of the CLIP text encoder of FLUX.1. Without it the library has no text at all."""

    def layer(name, *shape):
        yield f"{name}.weight", shape
        yield f"{name}.bias", (shape[0],)

    yield "text_model.embeddings.token_embedding.weight", (49408, POOLED)
    yield "text_model.embeddings.position_embedding.weight", (77, POOLED)
    for index in range(12):
        name = f"text_model.encoder.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from layer(f"{name}.self_attn.{part}", POOLED, POOLED)
        yield from layer(f"{name}.mlp.fc1", 4 * POOLED, POOLED)
        yield from layer(f"{name}.mlp.fc2", POOLED, 4 * POOLED)
        yield from layer(f"{name}.layer_norm1", POOLED)
        yield from layer(f"{name}.layer_norm2", POOLED)
    yield from layer("text_model.final_layer_norm", POOLED)


def write(name, tensors):
    """A safetensors file of random values in f16, kept for the next time."""
    path = FOLDER / f"{name}.safetensors"
    if path.exists():
        return path
    tensors = list(tensors)
    header, offset = {}, 0
    for key, shape in tensors:
        end = offset + 2 * math.prod(shape)
        header[key] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pool = numpy.random.default_rng(0).uniform(-1, 1, POOL).astype(numpy.float32)
    FOLDER.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for key, shape in tensors:
            scaled = (pool * scale(key, shape) + is_norm(key, shape)).astype(numpy.float16)
            whole, rest = divmod(math.prod(shape), POOL)
            for _ in range(whole):
                file.write(scaled.data)
            file.write(scaled[:rest].data)
    part.rename(path)
    return path


def is_norm(key, shape):
    return len(shape) == 1 and not key.endswith(".bias")


def scale(key, shape):
    """That activations keep their size."""
    if len(shape) == 1:
        return 1 / 8 if is_norm(key, shape) else 1 / 16
    return math.sqrt(3 / math.prod(shape[1:]))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
