"""Records tensors with forward hooks, under the names that the Rust tests use.

Everything is recorded in torch's own layout (pictures and latents of the VAE are NCHW).
"""

from collections.abc import Callable
from contextlib import contextmanager

import torch


class Recorder:
    """Collects named tensors from hooks and from the outside."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self._handles = []

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Keeps a copy of one tensor: f32, or i64 for token ids."""
        assert name not in self.tensors, name
        if tensor.dtype not in (torch.int64, torch.uint8, torch.bfloat16):
            tensor = tensor.to(torch.float32)
        self.tensors[name] = tensor.detach().clone().contiguous()

    def watch(self, module: torch.nn.Module, name: str, pick: Callable = lambda output: output) -> None:
        """Records a module's output; a tuple of tensors picked gets the suffixes .0, .1 …"""

        def hook(_module, _inputs, output) -> None:
            picked = pick(output)
            if isinstance(picked, dict):
                for suffix, tensor in picked.items():
                    self.put(f"{name}.{suffix}", tensor)
            else:
                self.put(name, picked)

        self._handles.append(module.register_forward_hook(hook))

    def close(self) -> None:
        """Takes the hooks off again."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


@contextmanager
def recorder():
    """A recorder whose hooks are gone afterwards."""
    recording = Recorder()
    try:
        yield recording
    finally:
        recording.close()


def first(output):
    """The first member of a tuple, or the tensor itself."""
    return output[0] if isinstance(output, tuple) else output


def trace_t5(pipeline, prompts: list[str], length: int) -> dict[str, torch.Tensor]:
    """Token ids, each block's output, the final output."""
    ids = pipeline.tokenizer_2(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
    with recorder() as rec, torch.no_grad():
        rec.put("ids", ids)
        encoder = pipeline.text_encoder_2.encoder
        rec.watch(encoder.embed_tokens, "embedding")
        for index, block in enumerate(encoder.block):
            rec.watch(block, f"block.{index}", first)
        rec.put("output", pipeline.text_encoder_2(ids)[0])
        return rec.tensors


def trace_clip(pipeline, prompts: list[str]) -> dict[str, torch.Tensor]:
    """Token ids, embeddings, each layer's output, the normed sequence and the pooled vector."""
    ids = pipeline.tokenizer(
        prompts, padding="max_length", max_length=pipeline.tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).input_ids
    encoder = pipeline.text_encoder
    inner = getattr(encoder, "text_model", encoder)
    with recorder() as rec, torch.no_grad():
        rec.put("ids", ids)
        rec.watch(inner.embeddings, "embedding")
        for index, layer in enumerate(inner.encoder.layers):
            rec.watch(layer, f"layer.{index}", first)
        output = encoder(ids)
        rec.put("last_hidden_state", output.last_hidden_state)
        rec.put("pooled", output.pooler_output)
        return rec.tensors


def trace_transformer(transformer, batch: int, grid: tuple[int, int], reference_grid, seed: int) -> dict[str, torch.Tensor]:
    """One evaluation on random inputs: embedders, every block, the output.

    `grid` is (rows, columns) of packed latents; `reference_grid` the same for a reference's tokens, or None.
    """
    config = transformer.config
    generator = torch.Generator("cpu").manual_seed(seed)

    def ids(rows: int, columns: int, first_coordinate: float) -> torch.Tensor:
        table = torch.zeros(rows, columns, 3)
        table[..., 0] = first_coordinate
        table[..., 1] = torch.arange(rows)[:, None]
        table[..., 2] = torch.arange(columns)[None, :]
        return table.reshape(-1, 3)

    image_ids = ids(*grid, 0.0)
    if reference_grid is not None:
        image_ids = torch.cat([image_ids, ids(*reference_grid, 1.0)])
    text_length = 9
    inputs = {
        "latents": torch.randn(batch, len(image_ids), config.in_channels, generator=generator),
        "text": torch.randn(batch, text_length, config.joint_attention_dim, generator=generator),
        "pooled": torch.randn(batch, config.pooled_projection_dim, generator=generator),
        "timestep": torch.full((batch,), 0.7371),
        "image_ids": image_ids,
        "text_ids": torch.zeros(text_length, 3),
    }
    if config.guidance_embeds:
        inputs["guidance"] = torch.full((batch,), 3.25)
    with recorder() as rec, torch.no_grad():
        for name, tensor in inputs.items():
            rec.put(f"input.{name}", tensor)
        rec.watch(transformer.x_embedder, "x_embedder")
        rec.watch(transformer.context_embedder, "context_embedder")
        rec.watch(transformer.time_text_embed, "time_text_embed")
        rec.watch(transformer.pos_embed, "rope", lambda out: {"cos": out[0], "sin": out[1]})
        for index, block in enumerate(transformer.transformer_blocks):
            rec.watch(block, f"double.{index}", lambda out: {"text": out[0], "image": out[1]})
        for index, block in enumerate(transformer.single_transformer_blocks):
            rec.watch(block, f"single.{index}", lambda out: {"text": out[0], "image": out[1]})
        rec.watch(transformer.norm_out, "norm_out")
        output = transformer(
            hidden_states=inputs["latents"],
            encoder_hidden_states=inputs["text"],
            pooled_projections=inputs["pooled"],
            timestep=inputs["timestep"],
            guidance=inputs.get("guidance"),
            img_ids=inputs["image_ids"],
            txt_ids=inputs["text_ids"],
            return_dict=False,
        )[0]
        rec.put("output", output)
        return rec.tensors


def trace_vae(vae, batch: int, latent_size: tuple[int, int], seed: int) -> dict[str, torch.Tensor]:
    """Encoder and decoder, block by block, on random inputs. `latent_size` is (height, width) of the latents."""
    generator = torch.Generator("cpu").manual_seed(seed)
    scale = 2 ** (len(vae.config.block_out_channels) - 1)
    height, width = latent_size
    picture = 2 * torch.rand(batch, 3, height * scale, width * scale, generator=generator) - 1
    latents = torch.randn(batch, vae.config.latent_channels, height, width, generator=generator)
    with recorder() as rec, torch.no_grad():
        rec.put("encoder.input", picture)
        rec.watch(vae.encoder.conv_in, "encoder.conv_in")
        for index, block in enumerate(vae.encoder.down_blocks):
            rec.watch(block, f"encoder.down.{index}", first)
        rec.watch(vae.encoder.mid_block, "encoder.mid", first)
        rec.watch(vae.encoder, "encoder.conv_out", first)
        posterior = vae.encode(picture).latent_dist
        rec.put("encoder.mean", posterior.mode())
        rec.put("decoder.input", latents)
        rec.watch(vae.decoder.conv_in, "decoder.conv_in")
        rec.watch(vae.decoder.mid_block, "decoder.mid", first)
        for index, block in enumerate(vae.decoder.up_blocks):
            rec.watch(block, f"decoder.up.{index}", first)
        rec.put("decoder.output", vae.decode(latents).sample)
        return rec.tensors
