"""The figures: held-out requests and edits, drawn and judged, and sheets to look at.

    python crates/nano/recipe/judge.py [--count 400] [--checkpoints] [--sheet FILE] [--formats 100] [--steps 4] [--true-cfg 1.5]
    python crates/nano/recipe/judge.py --write    # everything that the README states; some 13 minutes of two cores with AMX, 35 without

`--checkpoints` takes the last checkpoints as they are; without it the exported folder is judged (bf16 weights, f32 arithmetic).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch

from paths import FIGURES, MODEL, SAMPLES
import vae
from draw import draw, sheet, to_pictures
from export import STEPS, TRUE_CFG
from judge_picture import Verdict, read
from judged import drawn_targets, first_requests, held_out_edits, held_out_requests, loose_requests, named_by, shuffled_targets, wanted
from sample import sample
from scenes import FORMATS, SQUARE, fine_details
from stated import state


@dataclass(frozen=True)
class Sampling:
    """How pictures are drawn: steps, and true CFG's scale over the empty text (which keeps an edit's picture; 1 is without)."""

    steps: int = STEPS
    true_cfg: float = TRUE_CFG


SHEET_PROMPTS = (
    "a red circle left of a blue square on a white background", "a large yellow star on a dotted navy background",
    "a pink heart above a small green tree on cream", "a house on top of a brown square on a gradient blue background",
    "a white star inside a large red heart, striped pink background", "three orange stars on a navy background",
    "a cyan drop between a red flower and a purple moon on mint", "a cottage by the ocean",
)
SHEET_EDITS = ("make the circle green", "change the background to striped orange", "remove the blue square", "replace the square with a heart",
               "move the circle to the top left", "make the square bigger", "add a small yellow star at the bottom", "turn the circle into a star and make the square pink")
LOOK_AT = SHEET_PROMPTS + (
    "a red arrow, a white cloud, a green diamond and a black cross on yellow", "A serene photograph of a cottage in a meadow under a moody sky, 8k, bokeh",
    "a portrait of an old fisherman, dramatic light", "a large star", "a sun over the ocean",
)
EDITS_TO_LOOK_AT = SHEET_EDITS + ("make it look like a van Gogh painting", "remove the dog", "make the background dotted", "delete the circle and add a tree on the left")


def by_size(sizes, limit: int = 20):
    """Indices in batches of one picture size."""
    groups: dict = {}
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    for size, indices in groups.items():
        for start in range(0, len(indices), limit):
            yield size, indices[start:start + limit]


def noise_for(indices, width: int, height: int, seed: int) -> torch.Tensor:
    """One generator a picture, so that the batch does not matter."""
    shape = (1, 16, height // vae.FOLD, width // vae.FOLD)
    return torch.cat([torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed + i)) for i in indices])


@torch.no_grad()
def generate(model, texts, sizes, references=None, seed: int = 1000, sampling: Sampling = Sampling()) -> list[np.ndarray]:
    """Pictures for texts; `references` are (height, width, 3) pictures to edit. `model` is (encoders, vae, transformer)."""
    encoders, autoencoder, transformer = model
    pictures: list = [None] * len(texts)
    nothing = encoders([""])
    for (width, height), indices in by_size(sizes):
        states, pooled = encoders([texts[i] for i in indices])
        reference = vae.encode(autoencoder, np.stack([references[i] for i in indices])) if references else None
        latents = sample(transformer, states, pooled, noise_for(indices, width, height, seed), reference, sampling.steps, nothing=nothing,
                         true_cfg=sampling.true_cfg)
        for index, picture in zip(indices, to_pictures(vae.decode(autoencoder, latents).numpy())):
            pictures[index] = picture
    return pictures


def size_of(scene):
    return scene.width, scene.height


def judged_requests(load, requests, sampling=Sampling()):
    """-> the pictures drawn, the verdicts."""
    torch.set_num_threads(1)
    pictures = generate(load(), [r.text for r in requests], [size_of(r.scene) for r in requests], sampling=sampling)
    return pictures, [read(picture, r) for picture, r in zip(pictures, requests)]


def judged_edits(load, edits, sampling=Sampling()):
    """-> the edited pictures, the verdicts."""
    torch.set_num_threads(1)
    edited = generate(load(), [e.instruction for e in edits], [size_of(e.source) for e in edits], [draw(e.source) for e in edits], 5000, sampling)
    return edited, [read(picture, wanted(e)) for picture, e in zip(edited, edits)]


def percent(share: float) -> float:
    return round(100 * float(share), 1)


def right(verdicts: list[Verdict]) -> float | None:
    return percent(np.mean([v.everything for v in verdicts])) if verdicts else None


def shares(verdicts: list[Verdict]) -> dict[str, float]:
    found = {name: percent(np.mean([getattr(v, name) for v in verdicts])) for name in Verdict.__dataclass_fields__}
    return found | {"everything": right(verdicts)}


def grouped(items, verdicts, key) -> dict:
    found: dict = {}
    for item, verdict in zip(items, verdicts):
        found.setdefault(key(item), []).append(verdict)
    return {name: f"{right(part)} of {len(part)}" for name, part in sorted(found.items(), key=lambda pair: str(pair[0]))}


def figures(load, count: int, sheet_file=None, sampling=Sampling()) -> dict:
    requests, edits, loose = held_out_requests(count), held_out_edits(count), loose_requests(max(count // 8, 8))
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(judged_requests, load, requests + loose, sampling), pool.submit(judged_edits, load, edits, sampling)]
        (pictures, verdicts), (edited, edit_verdicts) = (job.result() for job in jobs)
    if sheet_file:
        pairs = [p for e, picture in zip(edits[:24], edited) for p in (draw(e.source), picture)]
        sheet(pictures[:32] + pairs, 8).save(sheet_file)
    plain = verdicts[:count]
    form = lambda scene: "square" if size_of(scene) == SQUARE else "other"
    return {
        "pictures": count, "edits": count, "steps": sampling.steps, "true cfg": sampling.true_cfg, "prompts": shares(plain),
        "by number of objects": grouped(requests, plain, lambda r: len(r.scene.objects)), "by layout": grouped(requests, plain, lambda r: r.scene.layout),
        "by detail": grouped(requests, plain, lambda r: " and ".join(sorted(fine_details(r.scene))) or "none"),
        "by pattern": grouped(requests, plain, lambda r: r.scene.pattern), "by format": grouped(requests, plain, lambda r: form(r.scene)),
        "loose descriptions": right(verdicts[count:]), "edits right": right(edit_verdicts), "edits, by question": shares(edit_verdicts),
        "edits by kind": grouped(edits, edit_verdicts, lambda e: e.kind), "edits by what names the thing": grouped(edits, edit_verdicts, named_by), "edits by format": grouped(edits, edit_verdicts, lambda e: form(e.source)),
    }


def format_figure(load, size, count: int, sampling) -> tuple[float, float]:
    """The shares of prompts and of edits that are right in one format."""
    requests, edits = held_out_requests(count, 4, size), held_out_edits(count, 5, size)
    return right(judged_requests(load, requests, sampling)[1]), right(judged_edits(load, edits, sampling)[1])


def format_figures(load, count: int, sampling) -> dict:
    """The same of each format, in two processes."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(format_figure, repeat(load), FORMATS, repeat(count), repeat(sampling)))
    return {f"{w} x {h}": {"prompts": prompts, "edits": edits} for (w, h), (prompts, edits) in zip(FORMATS, found)}


def judge_figures(load, count: int) -> dict:
    """Shares in % that the judge passes: of drawn targets, of other drawings, of targets after the VAE's encoder and decoder."""
    autoencoder = load()[1]
    through = lambda picture: to_pictures(vae.decode(autoencoder, vae.encode(autoencoder, picture[None])).numpy())[0]
    found = {"drawn": drawn_targets(count)["drawn"], "shuffled": shuffled_targets(count), "vae reconstructions": drawn_targets(count, through)["drawn"]}
    return {name: percent(share) for name, share in found.items()}


FIRST_COUNT = 150  # prompts in the first version's words


def all_figures(load, count: int, sheet_file=None, sampling=Sampling(), each_format: int | None = None) -> dict:
    """Everything that the README states; by default each format is judged by a quarter as many."""
    found = figures(load, count, sheet_file, sampling)
    each_format = count // 4 if each_format is None else each_format
    if each_format:
        found |= {"of each size": each_format, "by size": format_figures(load, each_format, sampling)}
    known = first_requests(FIRST_COUNT)
    found["first version's words"] = f"{right(judged_requests(load, known, sampling)[1])} of {FIRST_COUNT}"
    return found | {"judge": judge_figures(load, count)}


def publish(found: dict) -> None:
    """Prints the figures and writes them, the README's text of them and its sheet."""
    print(json.dumps(found, indent=2))
    FIGURES.write_text(json.dumps(found, indent=2) + "\n")
    state()
    sample_sheet(exported()).save(SAMPLES, optimize=True)


def sample_sheet(model):
    """The README's sheet: a row from prompts, then the first picture edited in eight ways."""
    pictures = generate(model, SHEET_PROMPTS, [SQUARE] * len(SHEET_PROMPTS), seed=42)
    edited = generate(model, SHEET_EDITS, [SQUARE] * len(SHEET_EDITS), [pictures[0]] * len(SHEET_EDITS), seed=42)
    return sheet(pictures + edited, 8)


def look(model, file) -> None:
    """A sheet of fixed prompts, three seeds of one that leaves much free, and edits of the first picture."""
    pictures = generate(model, LOOK_AT + ("a star",) * 4, [SQUARE] * (len(LOOK_AT) + 4), seed=42)
    sources = [pictures[0]] * len(EDITS_TO_LOOK_AT)
    edited = generate(model, EDITS_TO_LOOK_AT, [SQUARE] * len(sources), sources, seed=42)
    wide = generate(model, ("a red circle in the top left and a blue star in the bottom right on cream",) * 4, FORMATS[1:5], seed=42)
    sheet(pictures + edited + wide, 8).save(file)


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
    transformer = FluxTransformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)
    return encoders.eval(), autoencoder.eval(), transformer.eval()


def checkpoints():
    """The same of the last checkpoints."""
    import decoder
    import diffusion
    import text

    return text.load(), decoder.load(), diffusion.load()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--checkpoints", action="store_true", help="judge the last checkpoints")
    parser.add_argument("--sheet", help="a PNG of the first held-out pictures and edits")
    parser.add_argument("--look", help="a PNG of fixed prompts and edits; nothing is judged")
    parser.add_argument("--first", action="store_true", help="judge only prompts in the first version's words")
    parser.add_argument("--steps", type=int, default=Sampling.steps)
    parser.add_argument("--true-cfg", type=float, default=Sampling.true_cfg)
    parser.add_argument("--formats", type=int, help="judge so many prompts and edits of each format, too (with --write a quarter of --count)")
    parser.add_argument("--write", action="store_true", help=f"judge every format too; write {FIGURES.name}, the README's figures and {SAMPLES.name}")
    options = parser.parse_args()
    load = checkpoints if options.checkpoints else exported
    if options.look:
        look(load(), options.look)
        raise SystemExit
    sampling = Sampling(options.steps, options.true_cfg)
    if options.first:
        asked = first_requests(options.count)
        verdicts = judged_requests(load, asked, sampling)[1]
        print(json.dumps(shares(verdicts) | {"by number of objects": grouped(asked, verdicts, lambda r: len(r.scene.objects))}, indent=2))
        raise SystemExit
    found = all_figures(load, options.count, options.sheet, sampling, options.formats or (None if options.write else 0))
    if options.write:
        publish(found)
    else:
        print(json.dumps(found, indent=2))
