"""Builds a `diffusers` pipeline from a case.

The default initialisation of these libraries makes most paths invisible (zero biases, unit norms, tiny deviations), so every
parameter is drawn anew, and the three places where a scale matters (velocity, latents, picture) are calibrated to order one.
"""

import math
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxPipeline, FluxTransformer2DModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

import vocabulary
from cases import Case


def draw_parameters(model: torch.nn.Module, seed: int) -> None:
    """Draws every parameter: matrices by fan-in, biases and norms well away from their defaults."""
    generator = torch.Generator("cpu").manual_seed(seed)
    seen = set()
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            noise = torch.randn(parameter.shape, generator=generator)
            if "relative_attention_bias" in name:
                value = noise
            elif "embedding" in name or "embed_tokens" in name or name.startswith("shared"):
                value = 0.7 * noise
            elif parameter.ndim >= 2:
                value = noise / math.sqrt(parameter[0].numel())
                if ".SelfAttention.q." in name:  # T5 does not scale its logits
                    value = value / math.sqrt(model.config.d_kv)
            elif name.endswith("bias"):
                value = 0.2 * noise
            else:
                value = 1.0 + 0.25 * noise
            parameter.copy_(value)


def scale_to(layer: torch.nn.Module, output: torch.Tensor, deviation: float) -> None:
    """Scales a last layer so that `output`, which it made, would have the given standard deviation."""
    factor = deviation / output.std().item()
    with torch.no_grad():
        layer.weight.mul_(factor)
        layer.bias.mul_(factor)


def make_vae(config: dict, seed: int) -> AutoencoderKL:
    """A VAE whose latents and pictures have a standard deviation of about 1 and 0.5."""
    levels = len(config["block_out_channels"])
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        sample_size=64,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        **config,
    ).eval()
    draw_parameters(vae, seed)
    generator = torch.Generator("cpu").manual_seed(seed + 1)
    side = 2 ** (levels - 1) * 6
    with torch.no_grad():
        moments = vae._encode(2 * torch.rand(1, 3, side, side, generator=generator) - 1)
        mean, _ = moments.chunk(2, dim=1)
        scale_to(vae.encoder.conv_out if vae.quant_conv is None else vae.quant_conv, mean, 1.5)
        picture = vae.decode(1.5 * torch.randn(1, config["latent_channels"], 6, 6, generator=generator)).sample
        scale_to(vae.decoder.conv_out, picture, 0.5)
    return vae


def make_transformer(config: dict, seed: int) -> FluxTransformer2DModel:
    """A transformer whose output has a standard deviation of about 1."""
    model = FluxTransformer2DModel(patch_size=1, **config).eval()
    draw_parameters(model, seed)
    generator = torch.Generator("cpu").manual_seed(seed + 1)
    with torch.no_grad():
        output = model(
            hidden_states=torch.randn(1, 16, config["in_channels"], generator=generator),
            encoder_hidden_states=torch.randn(1, 8, config["joint_attention_dim"], generator=generator),
            pooled_projections=torch.randn(1, config["pooled_projection_dim"], generator=generator),
            timestep=torch.tensor([0.5]),
            guidance=torch.tensor([3.5]) if config["guidance_embeds"] else None,
            img_ids=torch.zeros(16, 3),
            txt_ids=torch.zeros(8, 3),
            return_dict=False,
        )[0]
    scale_to(model.proj_out, output, 1.0)
    return model


def use_published_names(directory: Path) -> None:
    """Renames the text encoders' tensors to what the published FLUX.1 folders call them.

    Newer `transformers` dropped CLIP's `text_model.` prefix and the second name of T5's shared embedding.
    """
    clip_file = directory / "text_encoder/model.safetensors"
    clip = {f"text_model.{name}": tensor for name, tensor in load_file(clip_file).items()}
    save_file(clip, clip_file, metadata={"format": "pt"})
    t5_file = directory / "text_encoder_2/model.safetensors"
    t5 = load_file(t5_file)
    t5["encoder.embed_tokens.weight"] = t5["shared.weight"].clone()
    save_file(t5, t5_file, metadata={"format": "pt"})


def save_pipeline(case: Case, directory: Path, seed: int) -> None:
    """Builds the case's models and saves them as a diffusers folder in the case's storage type."""
    tokenizer = vocabulary.clip_tokenizer()
    tokenizer_2 = vocabulary.t5_tokenizer(case.t5_normalizer)
    clip_config = CLIPTextConfig(
        **{
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 77,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            **case.clip,
        }
    )
    t5_config = T5Config(vocab_size=len(tokenizer_2), decoder_start_token_id=0, **case.t5)
    text_encoder = CLIPTextModel(clip_config).eval()
    text_encoder_2 = T5EncoderModel(t5_config).eval()
    draw_parameters(text_encoder, seed)
    draw_parameters(text_encoder_2, seed + 10)
    pipeline_class = FluxKontextPipeline if case.kontext else FluxPipeline
    pipeline = pipeline_class(
        scheduler=FlowMatchEulerDiscreteScheduler(**case.scheduler),
        vae=make_vae(case.vae, seed + 20),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        text_encoder_2=text_encoder_2,
        tokenizer_2=tokenizer_2,
        transformer=make_transformer(case.transformer, seed + 30),
    )
    pipeline.to(getattr(torch, case.storage))
    pipeline.save_pretrained(directory, max_shard_size=case.max_shard_size)
    if case.published_names:
        use_published_names(directory)
    if not case.tokenizer_json:
        for file in (directory / "tokenizer").iterdir():
            file.unlink()
        vocabulary.save_clip_files(directory / "tokenizer")


def open_pipeline(case: Case, directory: Path) -> FluxPipeline | FluxKontextPipeline:
    """Opens a saved folder in f32: what the Rust side does too."""
    pipeline_class = FluxKontextPipeline if case.kontext else FluxPipeline
    pipeline = pipeline_class.from_pretrained(directory, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
