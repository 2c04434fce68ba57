"""PyTorch in its eager mode as a peer: the same layers, blocks and models on random weights.

Started by bench/cpu: loads one case, warms up, says that it is ready, then runs the case once for
each line that it reads and answers with the times. Models are diffusers' and transformers' own.

    python bench/peers/pytorch.py --threads 1 --type f32 '{"what": "linear", "rows": 8, …}'
"""

import argparse
import json
import math
import sys
import time

import torch
from torch import nn

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
FLUX1 = {"num_attention_heads": 24, "attention_head_dim": 128}
HIDDEN = 24 * 128
QWEN3 = {"qwen3-0.6b": (1024, 3072, 28, 16), "qwen3-1.7b": (2048, 6144, 28, 16), "qwen3-4b": (2560, 9728, 36, 32)}
POOL = 1_048_573  # A prime, so that no row of a matrix is as another one.


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--type", choices=TYPES, required=True)
    parser.add_argument("case", type=json.loads)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_default_dtype(TYPES[arguments.type])
    with torch.inference_mode():
        run = CASES[arguments.case["what"]](arguments.case)
        run()
        answer({"ready": True, "versions": versions()})
        for _ in sys.stdin:
            wall, processor = time.perf_counter(), time.process_time()
            run()
            passed = time.perf_counter() - wall, time.process_time() - processor
            answer({"ms": passed[0] * 1e3, "processor_ms": passed[1] * 1e3})


def answer(line):
    print(json.dumps(line), flush=True)


def versions():
    import importlib.metadata as metadata

    return {name: metadata.version(name) for name in ("torch", "diffusers", "transformers")}


class Weights:
    """Random values made as fast as memory is copied, scaled so that activations keep their size."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.pool = torch.rand(POOL, generator=generator, dtype=torch.float32) * 2 - 1
        self.pool = self.pool.to(torch.get_default_dtype())
        self.start = 0

    def fill(self, tensor, scale):
        values = tensor.view(-1)
        done = 0
        while done < len(values):
            stretch = self.pool[self.start :][: len(values) - done]
            torch.mul(stretch, scale, out=values[done : done + len(stretch)])
            done += len(stretch)
            self.start = (self.start + len(stretch)) % POOL
        return tensor

    def model(self, make):
        """A module with random weights, its memory taken once."""
        with torch.device("meta"):
            module = make()
        module = module.to_empty(device="cpu").eval()
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                self.fill(parameter.data, 1 / 16)
            elif parameter.dim() == 1:
                self.fill(parameter.data, 1 / 8).add_(1)
            else:
                inputs = math.prod(parameter.shape[1:])
                self.fill(parameter.data, 2.0 ** round(math.log2(math.sqrt(3 / inputs))))
        return module


def linear(case):
    layer = Weights().model(lambda: nn.Linear(case["in"], case["out"]))
    x = torch.randn(1, case["rows"], case["in"])
    return lambda: layer(x)


def conv(case):
    channels = case["channels"]
    layer = Weights().model(lambda: nn.Conv2d(channels, channels, 3, padding=1))
    layer = layer.to(memory_format=torch.channels_last)
    x = torch.randn(1, channels, case["height"], case["width"])
    x = x.to(memory_format=torch.channels_last)
    return lambda: layer(x)


def attention(case):
    shape = 1, case["heads"], case["tokens"], case["head_dim"]
    q, k, v = (torch.randn(shape) for _ in range(3))
    return lambda: nn.functional.scaled_dot_product_attention(q, k, v)


def positions(case):
    """Positions of text and picture tokens, (tokens, 3)."""
    tokens = case["tokens_image"]
    rows = max(r for r in range(1, math.isqrt(tokens) + 1) if tokens % r == 0)
    index = torch.arange(tokens)
    columns = tokens // rows
    image = torch.stack([torch.zeros_like(index), index // columns, index % columns], dim=1)
    return torch.zeros(case["tokens_text"], 3), image.to(torch.get_default_dtype())


def block(case):
    from diffusers.models.transformers import transformer_flux as flux

    text_ids, image_ids = positions(case)
    rope = flux.FluxPosEmbed(theta=10000, axes_dim=[16, 56, 56])
    inputs = {
        "hidden_states": torch.randn(1, case["tokens_image"], HIDDEN),
        "encoder_hidden_states": torch.randn(1, case["tokens_text"], HIDDEN),
        "temb": torch.randn(1, HIDDEN),
        "image_rotary_emb": rope(torch.cat([text_ids, image_ids]).float()),
    }
    kinds = {"single": flux.FluxSingleTransformerBlock, "double": flux.FluxTransformerBlock}
    module = Weights().model(lambda: kinds[case["kind"]](HIDDEN, **FLUX1))
    return lambda: module(**inputs)


def step(case):
    from diffusers import FluxTransformer2DModel

    text_ids, image_ids = positions(case)
    inputs = {
        "hidden_states": torch.randn(1, case["tokens_image"], 64),
        "encoder_hidden_states": torch.randn(1, case["tokens_text"], 4096),
        "pooled_projections": torch.randn(1, 768),
        "timestep": torch.tensor([0.5]),
        "guidance": torch.tensor([3.5]),
        "txt_ids": text_ids,
        "img_ids": image_ids,
    }
    depth = {"num_layers": case["double"], "num_single_layers": case["single"]}
    model = Weights().model(lambda: FluxTransformer2DModel(guidance_embeds=True, **depth, **FLUX1))
    return lambda: model(**inputs)


def vae_decode(case):
    from diffusers import AutoencoderKL

    levels = [128, 256, 512, 512]
    model = Weights().model(
        lambda: AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=levels,
            layers_per_block=2,
            latent_channels=16,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
    )
    model = model.to(memory_format=torch.channels_last)
    side = case["size"] // 8
    latents = torch.randn(1, 16, side, side).to(memory_format=torch.channels_last)
    return lambda: model.decode(latents)


def text_encoder(case):
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=1024,
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=case["layers"],
        num_heads=64,
        feed_forward_proj="gated-gelu",
    )
    model = Weights().model(lambda: T5EncoderModel(config))
    ids = torch.arange(case["tokens"]).unsqueeze(0) % config.vocab_size
    return lambda: model(ids)


def language(case):
    from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM
    from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding

    hidden, feed_forward, blocks, heads = QWEN3[case["geometry"]]
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )
    model = Weights().model(lambda: Qwen3ForCausalLM(config))
    # No parameter: it would be left as it came.
    model.model.rotary_emb = Qwen3RotaryEmbedding(config)
    tokens = case["tokens"]
    prompt = (torch.arange(tokens) * 7919 % config.vocab_size).unsqueeze(0)

    def read(ids, cache):
        return model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)

    if case["part"] == "prompt":
        return lambda: read(prompt, DynamicCache(config=config))
    cache = DynamicCache(config=config)
    read(prompt, cache)

    def word():
        read(prompt[:, :1], cache)
        cache.crop(-1)

    return word


CASES = {
    "linear": linear,
    "conv": conv,
    "attention": attention,
    "block": block,
    "step": step,
    "vae-decode": vae_decode,
    "text-encoder": text_encoder,
    "language": language,
}

if __name__ == "__main__":
    main()
