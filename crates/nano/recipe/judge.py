"""The automatic judge: does a picture show its scene? And the figures of the exported model.

`read` looks at the picture near each object that the scene asks for and compares it with drawn shapes; what lies
elsewhere must be background. It is itself judged: drawn targets must pass, pictures of other scenes must fail.

    python crates/nano/recipe/judge.py [--count 400] [--true-cfg 1.0] [--sheet FILE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import torch

from draw import HALF_BOX, draw, placed_mask, sheet, to_pictures
from language import BACKGROUNDS, COLOURS, SHAPES, SIZES, Scene, centre, held_out_edits, held_out_scenes
from paths import FIGURES, MODEL

PALETTE = np.array(list(COLOURS.values()), dtype=np.float32)
GROUNDS = np.array(list(BACKGROUNDS.values()), dtype=np.float32)
FAR_FROM_BACKGROUND = 60.0  # RGB distance from which a pixel counts as object
PLACE_TOLERANCE = 7.0  # pixels between the centres of mass, in each direction
STRAY_PIXELS = 60  # object pixels that may lie where nothing was asked for
LEAST_OVERLAP = 0.62  # intersection over union with the best drawn shape


@dataclass
class Verdict:
    """What is right about one picture; the object questions hold for all of its objects together."""

    background: bool
    place: bool
    colour: bool
    shape: bool
    size: bool
    count: bool

    @property
    def everything(self) -> bool:
        return all(asdict(self).values())


def object_share(pixels: np.ndarray, background: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """How far each pixel lies from the background towards the colour, 0..1: the inverse of an anti-aliased edge."""
    along = colour - background
    return np.clip((pixels - background) @ along / max(along @ along, 1.0), 0, 1)


def read_object(picture, o, scene, mine, background) -> dict[str, bool]:
    """Judges one object by the pixels of its own neighbourhood `mine` (height, width) bool."""
    distance = np.linalg.norm(picture - background, axis=-1)
    found = mine & (distance > FAR_FROM_BACKGROUND)
    expected = placed_mask(o.shape, o.size, *np.add(centre(o.cell, scene.width, scene.height), o.shift), scene.width, scene.height)
    if found.sum() < 0.35 * expected.sum():
        return dict.fromkeys(("place", "colour", "shape", "size", "count"), False)
    solid = picture[mine & (distance > max(FAR_FROM_BACKGROUND, 0.7 * np.quantile(distance[found], 0.8)))]
    nearest = np.linalg.norm(solid[:, None] - PALETTE, axis=-1).argmin(1)
    colour = np.bincount(nearest, minlength=len(PALETTE)).argmax()
    coverage = object_share(picture, background, np.median(solid, axis=0)) * mine
    rows, columns = np.indices(coverage.shape)
    middle = lambda m: np.array(((m * columns).sum(), (m * rows).sum())) / m.sum()
    place = np.abs(middle(coverage) - middle(expected)).max() <= PLACE_TOLERANCE
    best, shape, size = best_shape(coverage, middle(coverage), scene)
    return {"place": bool(place), "colour": list(COLOURS)[colour] == o.colour, "shape": shape == o.shape and best >= LEAST_OVERLAP,
            "size": size == o.size, "count": True}


def best_shape(coverage, middle, scene) -> tuple[float, str, str]:
    """The drawn shape and size that overlap most, moved so that the centres of mass meet (and a pixel around)."""
    best = (0.0, "", "")
    for shape in SHAPES:
        for size in SIZES:
            own = placed_mask(shape, size, HALF_BOX, HALF_BOX, 2 * HALF_BOX, 2 * HALF_BOX)
            rows, columns = np.indices(own.shape)
            offset = np.array(((own * columns).sum(), (own * rows).sum())) / own.sum() - HALF_BOX
            x, y = np.round(middle - offset).astype(int)
            for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
                if not (0 <= x + dx < scene.width and 0 <= y + dy < scene.height):
                    continue
                there = placed_mask(shape, size, x + dx, y + dy, scene.width, scene.height)
                overlap = float(np.minimum(there, coverage).sum() / np.maximum(there, coverage).sum())
                best = max(best, (overlap, shape, size))
    return best


def read(picture: np.ndarray, scene: Scene) -> Verdict:
    """The verdict on one (height, width, 3) uint8 picture."""
    picture = picture.astype(np.float32)
    rows, columns = np.indices(picture.shape[:2])
    reach = []  # distance of every pixel from each object's rim: negative inside its circle
    for o in scene.objects:
        x, y = centre(o.cell, scene.width, scene.height)
        reach.append(np.hypot(columns - x - o.shift[0], rows - y - o.shift[1]) - SIZES[o.size])
    nearest = np.min(reach, axis=0) if reach else np.full(picture.shape[:2], np.inf)
    empty = nearest > 8
    background = np.median(picture[empty], axis=0)
    wanted = np.array(BACKGROUNDS[scene.background], dtype=np.float32)
    right_name = np.linalg.norm(GROUNDS - background, axis=1).argmin() == list(BACKGROUNDS).index(scene.background)
    stray = (np.linalg.norm(picture - background, axis=-1) > FAR_FROM_BACKGROUND) & empty
    answers = [read_object(picture, o, scene, (reach[i] <= nearest) & (reach[i] < 10), background) for i, o in enumerate(scene.objects)]
    every = lambda name: all(answer[name] for answer in answers)
    return Verdict(background=bool(right_name and np.linalg.norm(background - wanted) < 40), place=every("place"), colour=every("colour"),
                   shape=every("shape"), size=every("size"), count=every("count") and bool(stray.sum() < STRAY_PIXELS))


# ---------------------------------------------------------------- figures


def shares(verdicts: list[Verdict]) -> dict[str, float]:
    if not verdicts:
        return {}
    found = {name: float(np.mean([getattr(v, name) for v in verdicts])) for name in Verdict.__dataclass_fields__}
    return found | {"everything": float(np.mean([v.everything for v in verdicts]))}


def judge_itself(count: int = 400) -> dict[str, float]:
    """Drawn held-out targets should pass, drawn pictures of the next scene of the same size should not."""
    scenes = [scene for _, scene in held_out_scenes(count)]
    drawn = [read(draw(scene), scene).everything for scene in scenes]
    shuffled = []
    for index, scene in enumerate(scenes):
        other = next((s for s in scenes[index + 1:] + scenes if s != scene and (s.width, s.height) == (scene.width, scene.height)), None)
        if other is not None:
            shuffled.append(read(draw(other), scene).everything)
    return {"drawn": float(np.mean(drawn)), "shuffled": float(np.mean(shuffled))}


def by_size(items, size_of, limit: int = 25):
    """Indices in batches of one picture size."""
    groups: dict = {}
    for index, item in enumerate(items):
        groups.setdefault(size_of(item), []).append(index)
    for size, indices in groups.items():
        for start in range(0, len(indices), limit):
            yield size, indices[start:start + limit]


def noise_for(indices, width, height, seed):
    """One generator a picture, so that the batch does not matter."""
    shape = (1, 16, height // 8, width // 8)
    return torch.cat([torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed + i)) for i in indices])


def generate(model, prompts, sizes, references=None, seed: int = 1000, true_cfg: float = 1.0) -> list[np.ndarray]:
    """Pictures for prompts; `references` are (height, width, 3) pictures to edit. `model` is (encoders, vae, flux)."""
    import vae
    from sample import sample

    encoders, autoencoder, flux = model
    pictures: list = [None] * len(prompts)
    with torch.no_grad():
        nothing = encoders([""]) if true_cfg != 1 else None
        for (width, height), indices in by_size(sizes, lambda size: size):
            states, pooled = encoders([prompts[i] for i in indices])
            reference = vae.encode(autoencoder, np.stack([references[i] for i in indices])) if references else None
            latents = sample(flux, states, pooled, noise_for(indices, width, height, seed), reference, nothing=nothing, true_cfg=true_cfg)
            for index, picture in zip(indices, to_pictures(vae.decode(autoencoder, latents).numpy())):
                pictures[index] = picture
    return pictures


def judged_prompts(folder, count: int, true_cfg: float):
    """-> held-out prompts with their scenes, the pictures drawn, the verdicts."""
    torch.set_num_threads(1)
    asked = held_out_scenes(count)
    pictures = generate(exported(folder), [words for words, _ in asked], [(s.width, s.height) for _, s in asked], true_cfg=true_cfg)
    return asked, pictures, [read(picture, scene) for picture, (_, scene) in zip(pictures, asked)]


def judged_edits(folder, count: int, true_cfg: float):
    """-> held-out edits, the edited pictures, the verdicts."""
    torch.set_num_threads(1)
    edits = held_out_edits(count)
    sources = [draw(edit.source) for edit in edits]
    sizes = [(edit.source.width, edit.source.height) for edit in edits]
    edited = generate(exported(folder), [edit.instruction for edit in edits], sizes, sources, 5000, true_cfg)
    return edits, edited, [read(picture, edit.target) for picture, edit in zip(edited, edits)]


def reconstructions(folder, count: int = 100) -> float:
    """The share of drawn targets that are still right after the VAE's encoder and decoder."""
    import vae

    autoencoder = exported(folder)[1]
    rebuild = lambda scene: to_pictures(vae.decode(autoencoder, vae.encode(autoencoder, draw(scene)[None])).numpy())[0]
    return float(np.mean([read(rebuild(scene), scene).everything for _, scene in held_out_scenes(count)]))


def figures(folder=MODEL, count: int = 400, true_cfg: float = 1.0, sheet_file=None) -> dict:
    """Everything that the README states, from `count` held-out prompts and `count` held-out edits. One process for each."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        later = [pool.submit(job, folder, count, true_cfg) for job in (judged_prompts, judged_edits)]
        (asked, pictures, verdicts), (edits, edited, edit_verdicts) = (job.result() for job in later)
    if sheet_file:
        pairs = [p for edit, picture in zip(edits[:30], edited) for p in (draw(edit.source), picture)]
        sheet(pictures[:40] + pairs, 10).save(sheet_file)
    some = lambda test: [v for v, (_, scene) in zip(verdicts, asked) if test(scene)]
    right = lambda chosen: float(np.mean([v.everything for v in chosen])) if chosen else None
    return {
        "pictures": count, "edits": count, "steps": 16, "true_cfg": true_cfg,
        "prompts": shares(verdicts),
        "prompts with one object": shares(some(lambda s: len(s.objects) == 1)),
        "everything right, by number of objects": {n: right(some(lambda s: len(s.objects) == n)) for n in (1, 2, 3)},
        "everything right, by format": {"square": right(some(lambda s: s.width == s.height)), "other": right(some(lambda s: s.width != s.height))},
        "edits right": right(edit_verdicts),
        "edits right, by kind": {kind: right([v for v, e in zip(edit_verdicts, edits) if e.kind == kind]) for kind in dict.fromkeys(e.kind for e in edits)},
        "edits right, by format": {"square": right([v for v, e in zip(edit_verdicts, edits) if e.source.width == e.source.height]),
                                   "other": right([v for v, e in zip(edit_verdicts, edits) if e.source.width != e.source.height])},
        "edits, by question": shares(edit_verdicts),
        "judge": judge_itself(count) | {"vae reconstructions": reconstructions(folder)},
    }


SHEET_PROMPTS = (
    "a red circle left of a blue square on a white background", "a large yellow star on a navy background",
    "a pink heart above a small green cross on cream", "a small orange triangle in the top right on a black background",
    "a cyan star, a purple heart and an orange circle on a mint background", "a large green cross in the bottom left, gray background",
    "a small pink star in the top left and a large blue circle in the bottom right on cream", "a purple square below a yellow circle on gray",
)
SHEET_EDITS = ("make the circle green", "change the background to cream", "remove the blue square", "replace the square with a heart",
               "move the circle to the top left", "make the square bigger", "add a small yellow star in the bottom", "turn the circle into a star")


def sample_sheet(model):
    """The README's sheet: two rows from prompts, then the first picture edited in eight ways."""
    pictures = generate(model, SHEET_PROMPTS, [(128, 128)] * len(SHEET_PROMPTS), seed=42)
    edited = generate(model, SHEET_EDITS, [(128, 128)] * len(SHEET_EDITS), [pictures[0]] * len(SHEET_EDITS), seed=42)
    return sheet(pictures + edited, 8)


def exported(folder=MODEL):
    """(encoders, vae, transformer) of an exported folder: bf16 weights, f32 arithmetic."""
    from diffusers import AutoencoderKL, FluxTransformer2DModel
    from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

    import text

    encoders = text.Encoders()
    encoders.clip = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    encoders.t5 = T5EncoderModel.from_pretrained(folder / "text_encoder_2", dtype=torch.float32)
    encoders.clip_tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    encoders.t5_tokenizer = T5TokenizerFast.from_pretrained(folder / "tokenizer_2")
    autoencoder = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    flux = FluxTransformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)
    return encoders.eval(), autoencoder.eval(), flux.eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--true-cfg", type=float, default=1.0)
    parser.add_argument("--sheet", help="a PNG of the first pictures and edits")
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}")
    options = parser.parse_args()
    found = figures(MODEL, options.count, options.true_cfg, options.sheet)
    text_of_figures = json.dumps(found, indent=2)
    print(text_of_figures)
    if options.write:
        FIGURES.write_text(text_of_figures + "\n")
