"""T5-XXL and CLIP-L at their true sizes, with random weights, as transformers computes them: what
`tools/text_encoders` compares this program with.

Writes the two folders as a published model has them (bf16, T5 in shards), the two trained tokenizers, and
`expected.safetensors`: token ids and the encoders' outputs, computed in f32 and again in f64. How far f32 alone
is from f64 says how far a correct implementation may be.

T5 is 4.8 billion parameters: a block is made when transformers' own model reaches it, and dropped after it.

    python tools/golden/text_encoders.py work/text-encoders [--layers 24]
"""

import argparse
import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPTextModel, T5EncoderModel

import full_size
import vocabulary

PROMPTS = ["a red circle left of a blue square", "It's 7 naïve 漢字 stars 🙂 — swap the two colours!"]

# Tokens of T5's sequences: fewer than FLUX's 512, to be done in minutes.
T5_TOKENS = 24
CLIP_TOKENS = 77

# A prime, so that no row of a matrix is as another one.
POOL = 16_777_213


class Weights:
    """Normal numbers out of one drawn pool, from a start that the tensor's name decides."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.pool = torch.randn(POOL, generator=generator)
        self.seed = seed

    def normal(self, name: str, shape: list[int]) -> torch.Tensor:
        """Values of deviation 1."""
        start = hash_of(f"{self.seed} {name}") % POOL
        values = torch.empty(math.prod(shape))
        done = 0
        while done < len(values):
            piece = self.pool[start : start + len(values) - done]
            values[done : done + len(piece)] = piece
            done += len(piece)
            start = 0
        return values.reshape(shape)

    def tensor(self, name: str, shape: list[int], head: int) -> torch.Tensor:
        """A parameter in bf16, scaled so that it shows in the result: matrices by fan-in, norms about 1."""
        value = self.normal(name, shape)
        if "relative_attention_bias" in name:
            pass
        elif "embed" in name or name == "shared.weight":
            value *= 0.7
        elif len(shape) == 2:
            value *= shape[1] ** -0.5
            if ".SelfAttention.q." in name:  # T5 does not scale its logits.
                value *= head**-0.5
        elif name.endswith("bias"):
            value *= 0.2
        else:
            value = 1.0 + 0.25 * value
        return value.to(torch.bfloat16)


def hash_of(text: str) -> int:
    """FNV-1a with 64 bits."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


class T5:
    """The encoder in a folder of shards: the first holds what is no block, then one for each block."""

    def __init__(self, folder: Path, layers: int) -> None:
        self.folder = folder
        self.config = full_size.t5_config()
        self.config.num_layers = layers
        with torch.device("meta"):
            model = T5EncoderModel(self.config)
        self.shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
        self.shards = layers + 1
        self.weights = Weights(1)

    def path(self, shard: int) -> Path:
        return self.folder / f"model-{shard + 1:05}-of-{self.shards:05}.safetensors"

    def names(self, shard: int) -> list[str]:
        """The first shard's tensors, or those of a block."""
        block = f"encoder.block.{shard - 1}."
        if shard > 0:
            return [name for name in self.shapes if name.startswith(block)]
        # Published folders of FLUX.1 have it under both of its names; one is enough.
        return [name for name in self.shapes if ".block." not in name and name != "encoder.embed_tokens.weight"]

    def tensors(self, shard: int) -> dict[str, torch.Tensor]:
        """A shard's values: made again each time, which is sooner than read."""
        return {name: self.weights.tensor(name, self.shapes[name], self.config.d_kv) for name in self.names(shard)}

    def write(self) -> None:
        """Every shard, their index and the configuration."""
        self.folder.mkdir(parents=True)
        places = {}
        for shard in range(self.shards):
            tensors = self.tensors(shard)
            save_file(tensors, self.path(shard), metadata={"format": "pt"})
            places |= {name: self.path(shard).name for name in tensors}
        index = {"metadata": {}, "weight_map": places}
        (self.folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
        (self.folder / "config.json").write_text(json.dumps(self.config.to_dict(), indent=1))

    def run(self, ids: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """transformers' own model; a block has its weights while it computes."""
        torch.set_default_dtype(dtype)
        with torch.device("meta"):
            model = T5EncoderModel(self.config).eval()
        torch.set_default_dtype(torch.float32)
        assert not list(model.buffers()), "buffers have values, too"

        def load(shard: int, prefix: str) -> dict[str, torch.Tensor]:
            return {name.removeprefix(prefix): value.to(dtype) for name, value in self.tensors(shard).items()}

        rest = load(0, "")
        rest["encoder.embed_tokens.weight"] = rest["shared.weight"]
        missing = model.load_state_dict(rest, strict=False, assign=True)
        assert all(".block." in name for name in missing.missing_keys), missing
        assert not missing.unexpected_keys, missing
        for index, block in enumerate(model.encoder.block):

            def fill(module, _inputs, index=index):
                module.load_state_dict(load(index + 1, f"encoder.block.{index}."), assign=True)

            def empty(module, _inputs, _output):
                module.to("meta")

            block.register_forward_pre_hook(fill)
            block.register_forward_hook(empty)
        return model(input_ids=ids).last_hidden_state


def run_clip(folder: Path, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """Writes CLIP-L and runs it in f32 and f64."""
    config = full_size.clip_config()
    with torch.device("meta"):
        model = CLIPTextModel(config)
    weights = Weights(2)
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    tensors = {name: weights.tensor(name, shape, 1) for name, shape in shapes.items()}
    folder.mkdir(parents=True)
    # As the published folder calls them.
    published = {f"text_model.{name}": tensor for name, tensor in tensors.items()}
    save_file(published, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config.to_dict(), indent=1))
    found = {}
    for name, dtype in (("f32", torch.float32), ("f64", torch.float64)):
        model = CLIPTextModel(config).eval().to(dtype)
        model.load_state_dict({name: tensor.to(dtype) for name, tensor in tensors.items()}, strict=False)
        output = model(input_ids=ids)
        found |= {f"clip.hidden.{name}": output.last_hidden_state, f"clip.pooled.{name}": output.pooler_output}
    return found


def sequences(tokenizer, tokens: int, vocabulary_size: int, seed: int) -> torch.Tensor:
    """The prompts' ids, and one sequence over the whole vocabulary: trained tokenizers have a small one."""
    said = tokenizer(PROMPTS, padding="max_length", max_length=tokens, truncation=True, return_tensors="pt").input_ids
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, vocabulary_size, (1, tokens), generator=generator)
    return torch.cat([said, drawn])


@torch.inference_mode()
def main() -> None:
    """Parses the arguments and writes everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=24, help="blocks of T5; 24 in T5-XXL")
    arguments = parser.parse_args()
    folder = arguments.folder
    shutil.rmtree(folder, ignore_errors=True)
    vocabulary.save_clip_files(folder / "tokenizer")
    t5_tokenizer = vocabulary.t5_tokenizer("nmt_nfkc")
    t5_tokenizer.save_pretrained(folder / "tokenizer_2")
    (folder / "prompts.json").write_text(json.dumps(PROMPTS))

    clip_ids = sequences(vocabulary.clip_tokenizer(), CLIP_TOKENS, full_size.CLIP["vocab_size"], 3)
    expected = {"clip.ids": clip_ids} | run_clip(folder / "text_encoder", clip_ids)
    print("CLIP-L is computed", flush=True)
    t5 = T5(folder / "text_encoder_2", arguments.layers)
    t5.write()
    print(f"T5 is written, {arguments.layers} blocks", flush=True)
    t5_ids = sequences(t5_tokenizer, T5_TOKENS, full_size.T5["vocab_size"], 4)
    expected["t5.ids"] = t5_ids
    for name, dtype in (("f32", torch.float32), ("f64", torch.float64)):
        expected[f"t5.hidden.{name}"] = t5.run(t5_ids, dtype)
        print(f"T5 is computed in {name}", flush=True)
    save_file({name: tensor.contiguous() for name, tensor in expected.items()}, folder / "expected.safetensors")


if __name__ == "__main__":
    main()
