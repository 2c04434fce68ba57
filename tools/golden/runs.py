"""Full pipeline runs: prompts and seeds in; noise, latents after each step and the picture out."""

import inspect
from unittest import mock

import numpy
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxImg2ImgPipeline
from diffusers.pipelines.flux import pipeline_flux_kontext as diffusers_kontext
from PIL import Image

import recording
from cases import Case, Run

KONTEXT_SIZES = [(672, 1568), (688, 1504), (720, 1456), (752, 1392), (800, 1328), (832, 1248), (880, 1184), (944, 1104), (1024, 1024)]


def scaled_sizes(native_area: int, multiple: int) -> list[tuple[int, int]]:
    """Kontext's preferred sizes (width, height) for a model with another native area and multiple."""
    both = KONTEXT_SIZES + [(h, w) for w, h in KONTEXT_SIZES[:-1]]
    factor = (native_area / 1024**2) ** 0.5

    def scale(side: int) -> int:
        return max(multiple, int(side * factor / multiple + 0.5) * multiple)

    return sorted({(scale(w), scale(h)) for w, h in both})


def reference_picture(width: int, height: int, seed: int) -> Image.Image:
    """A picture with flat areas, a ramp, hard edges and a little noise."""
    rows, columns = numpy.mgrid[0:height, 0:width]
    picture = numpy.zeros((height, width, 3))
    picture[..., 0] = 255 * columns / max(width - 1, 1)
    picture[..., 1] = 180
    picture[..., 2] = 255 * rows / max(height - 1, 1)
    disc = (rows - 0.45 * height) ** 2 + (columns - 0.4 * width) ** 2 < (0.25 * min(width, height)) ** 2
    picture[disc] = (220, 30, 40)
    picture[int(0.6 * height) :, int(0.65 * width) :] = (20, 60, 230)
    picture += numpy.random.default_rng(seed).normal(0, 6, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(numpy.uint8))


def with_further_references(prepared, pipeline, prepare_latents, arguments: dict, pictures: list[Image.Image]):
    """What `prepare_latents` of Kontext gave for the first reference, with further ones behind it.

    `FluxKontextPipeline` takes one reference. Others go the same way: their latents follow in the sequence, and the first
    coordinate of their ids goes on with 2, 3 …
    """
    latents, image_latents, latent_ids, image_ids = prepared
    for number, picture in enumerate(pictures, start=2):
        height, width = pipeline.image_processor.get_default_height_width(picture)
        sizes = diffusers_kontext.PREFERRED_KONTEXT_RESOLUTIONS
        _, width, height = min((abs(width / height - w / h), w, h) for w, h in sizes)
        resized = pipeline.image_processor.resize(picture, height, width)
        image = pipeline.image_processor.preprocess(resized, height, width)
        _, more_latents, _, more_ids = prepare_latents(**{**arguments, "image": image, "latents": latents})
        more_ids[..., 0] = number
        image_latents = torch.cat([image_latents, more_latents], dim=1)
        image_ids = torch.cat([image_ids, more_ids], dim=0)
    return latents, image_latents, latent_ids, image_ids


def run_pipeline(case: Case, pipeline, run: Run) -> dict[str, torch.Tensor]:
    """Runs the pipeline once and records what the Rust pipeline must reproduce."""
    recorded = recording.Recorder()
    usual_scheduler = pipeline.scheduler
    if run.start is not None:
        pipeline = FluxImg2ImgPipeline.from_pipe(pipeline)
        pipeline.set_progress_bar_config(disable=True)
    if run.shift is not None:
        pipeline.scheduler = FlowMatchEulerDiscreteScheduler.from_config(usual_scheduler.config, use_dynamic_shifting=False, shift=run.shift)
    generators = [torch.Generator("cpu").manual_seed(seed if seed < 2**63 else seed - 2**64) for seed in run.seeds]
    multiple = pipeline.vae_scale_factor * 2
    arguments = dict(
        prompt=run.prompts,
        width=run.width,
        height=run.height,
        num_inference_steps=run.steps,
        guidance_scale=run.guidance,
        generator=generators if len(generators) > 1 else generators[0],
        max_sequence_length=run.max_sequence_length,
        num_images_per_prompt=run.pictures_each,
        output_type="pt",
    )
    if run.start is not None:
        picture = reference_picture(*run.start, 200)
        recorded.put("start", torch.from_numpy(numpy.array(picture)))
        arguments.update(image=picture, strength=run.strength)
    if run.negative_prompt is not None:
        arguments.update(negative_prompt=[run.negative_prompt] * len(run.prompts), true_cfg_scale=run.true_cfg)
    if case.kontext:
        arguments.update(max_area=run.width * run.height, _auto_resize=run.resize_reference)
    references = [reference_picture(width, height, 100 + index) for index, (width, height) in enumerate(run.references)]
    for index, picture in enumerate(references):
        recorded.put(f"reference.{index}", torch.from_numpy(numpy.array(picture)))
    firsts = references[:: run.references_each]
    assert run.references_each == 1 or len(firsts) == 1, "several references are for one prompt"
    if firsts:
        arguments["image"] = firsts if len(firsts) > 1 else firsts[0]

    steps_made = 0

    def after_step(_pipeline, step, _timestep, tensors):
        nonlocal steps_made
        steps_made = step + 1
        recorded.put(f"latents.{step}", tensors["latents"])
        return tensors

    prepare_latents = pipeline.prepare_latents

    def watched_prepare(*args, **kwargs):
        prepared = prepare_latents(*args, **kwargs)
        if run.references_each > 1:
            named = inspect.signature(prepare_latents).bind(*args, **kwargs).arguments
            prepared = with_further_references(prepared, pipeline, prepare_latents, named, references[1:])
        recorded.put("noise", prepared[0])
        if case.kontext and prepared[1] is not None:
            recorded.put("reference_latents", prepared[1])
            recorded.put("reference_ids", prepared[3])
        return prepared

    sizes = scaled_sizes(case.native_area, multiple)
    module = "diffusers.pipelines.flux.pipeline_flux_kontext.PREFERRED_KONTEXT_RESOLUTIONS"
    with mock.patch.object(pipeline, "prepare_latents", watched_prepare), mock.patch(module, sizes):
        picture = pipeline(callback_on_step_end=after_step, **arguments).images
    sigmas = pipeline.scheduler.sigmas
    recorded.put("sigmas", sigmas[len(sigmas) - 1 - steps_made :])
    pipeline.scheduler = usual_scheduler
    recorded.put("picture", picture)
    spread = picture.std().item()
    assert 0.05 < spread < 0.45, f"{case.name}/{run.name}: the picture says little, deviation {spread}"
    return recorded.tensors
