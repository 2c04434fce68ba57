"""The same three stages on one accelerator, where one is within reach: large batches, pictures drawn by other processes.

    python crates/nano/recipe/accelerator.py [--minutes 25] [--stages vae text diffusion] [--scale 1.0]

Checkpoints are those of the CPU's stages (work/nano/, without the optimiser's state), so that either can export what the other
trained, and a stage that is finished is passed over. `--minutes` is shared out among the stages that are not; each brings its rate
to zero in its share of the time, because such machines are lent by the minute. `--scale` makes batches smaller.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from paths import WORK
import decoder
import diffusion
import export
import text
import vae
from diffusion import EDIT, PICTURE, TOKEN, Pool, blurred, flow_loss, scene_of, sentence, token_weights
from draw import draw, draw_background
from muon import MuonAdamW
from recognise import shown_by
from scenes import FORMATS, SQUARE, random_format
from transformer import is_block_matrix, pack

SHARES = {"vae": 0.2, "text": 0.1, "diffusion": 0.7}  # of the minutes
BATCHES = {"vae": 96, "text": 1024, PICTURE: 768, EDIT: 448}
CHUNK = {PICTURE: 32, EDIT: 20}
SAID_TIMES = 4  # how often each example is said
KEPT = {PICTURE: 300_000, EDIT: 200_000}  # examples on the accelerator: about 8 and 16 KB each
RATES = {"vae": 5e-3, "text": 4e-3, "diffusion": 5e-3}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WORKERS = max(1, min(15, (os.cpu_count() or 2) - 1))


class Clock:
    """How much of a stage's time has passed, 0..1."""

    def __init__(self, minutes: float):
        self.seconds, self.began = 60 * minutes, time.monotonic()

    def passed(self) -> float:
        return min(1.0, (time.monotonic() - self.began) / max(self.seconds, 1e-3))

    def rate(self, step: int, decay: float) -> float:
        """Warm-up by steps, then constant, then to zero in the last share `decay` of the time."""
        return min(1.0, (step + 1) / 100, (1 - self.passed()) / decay)


class Solo:
    """One process's parameters, optimiser and moving average; checkpoints as parallel.Trainer writes them."""

    def __init__(self, model, is_matrix, factor=lambda name: 1.0):
        self.named = list(model.named_parameters())
        split = {True: [], False: []}
        for name, p in self.named:
            split[bool(is_matrix(name, p))].append((p, factor(name)))
        self.optimiser = MuonAdamW(split[True], split[False])
        self.average = [p.detach().clone() for _, p in self.named]

    def step(self, loss, rate: float, decay: float = 0.0) -> None:
        for _, p in self.named:
            p.grad = None
        loss.backward()
        for _, p in self.named:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        self.optimiser.step(rate)
        torch._foreach_lerp_(self.average, [p.detach() for _, p in self.named], 1 - decay)

    def save(self, path, step: int) -> None:
        flat = lambda parts: torch.cat([p.detach().flatten().float().cpu() for p in parts])
        torch.save({"step": step, "parameters": flat([p for _, p in self.named]), "average": flat(self.average)}, f"{path}.new")
        os.replace(f"{path}.new", path)

    def load(self, path) -> None:
        """Goes on from the weights of an earlier run, if there is one."""
        if os.path.exists(path):
            saved, offset = torch.load(path, weights_only=True), 0
            for (_, p), average in zip(self.named, self.average):
                if offset == len(saved["average"]):
                    break  # what was added behind them since begins as it was built
                for to, name in ((p.data, "parameters"), (average, "average")):
                    to.copy_(saved[name][offset:offset + p.numel()].view(p.shape))
                offset += p.numel()


def finished(name: str, steps: int) -> bool:
    path = WORK / f"{name}.pt"
    return path.exists() and torch.load(path, weights_only=True)["step"] >= steps


class Endless(IterableDataset):
    """`make(rng)` for ever, each worker with its own random numbers."""

    def __init__(self, make, seed: str):
        self.make, self.seed = make, seed

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        torch.set_num_threads(1)
        rng = random.Random(f"{self.seed} {time.time_ns()} {info.id if info else 0}")
        while True:
            yield self.make(rng)


def stream(make, seed: str):
    return iter(DataLoader(Endless(make, seed), batch_size=None, num_workers=WORKERS, prefetch_factor=4, persistent_workers=True))


def half_precision():
    return torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda")


# ---------------------------------------------------------------- the VAE and the text encoders


class Crops:
    """(count, 3, 96, 96) crops, or two whole pictures of one size: made in a worker."""

    def __init__(self, whole: bool):
        self.whole = whole

    def __call__(self, rng):
        return vae.batch(rng, self.whole, 2)


def train_vae(minutes: float, scale: float) -> None:
    from diffusers import AutoencoderKL

    torch.manual_seed(11)
    model = AutoencoderKL(**vae.CONFIG).to(DEVICE, memory_format=torch.channels_last)
    solo, clock, step = Solo(model, vae.is_matrix), Clock(minutes), 0
    solo.load(vae.CHECKPOINT)
    crops, wholes, waiting = stream(Crops(False), "crops"), stream(Crops(True), "wholes"), {}
    count = max(6, int(BATCHES["vae"] * scale))
    while clock.passed() < 1:
        if step % 3:
            x = torch.cat([next(crops) for _ in range(-(-count // vae.CROP_BATCH))])
        else:  # whole pictures, once enough of one size are there
            while True:
                pair = next(wholes)
                found = waiting.setdefault(pair.shape[2:], [])
                found.append(pair)
                if 2 * len(found) >= max(2, count // 6):
                    x = torch.cat(waiting.pop(pair.shape[2:]))
                    break
        loss, told = vae.loss_of(model, x.to(DEVICE, memory_format=torch.channels_last))
        solo.step(loss, RATES["vae"] * clock.rate(step, 0.6), 0.995)
        step += 1
        if step % 100 == 0:
            print(f"vae {step} " + " ".join(f"{name} {value:.4f}" for name, value in told().items()) + f" {clock.passed():.2f}", flush=True)
    solo.save(vae.CHECKPOINT, vae.STEPS)


class Sentences:
    """64 sentences as ids, with their answers."""

    def __init__(self, encoders):
        self.encoders = encoders

    def __call__(self, rng):
        sentences, answers = text.batch(rng, 64)
        return self.encoders.ids(sentences), answers


def train_text(minutes: float, scale: float) -> None:
    torch.manual_seed(21)
    model = text.fresh()
    batches = stream(Sentences(model["encoders"]), "text")
    model.to(DEVICE)
    solo, clock, step = Solo(model, text.is_matrix), Clock(minutes), 0
    solo.load(text.CHECKPOINT)
    while clock.passed() < 1:
        parts = [next(batches) for _ in range(max(1, int(BATCHES["text"] * scale) // 64))]
        ids = [torch.cat([p[0][i] for p in parts]).to(DEVICE) for i in range(2)]
        answers = [{name: torch.cat([p[1][i][name] for p in parts]).to(DEVICE) for name in parts[0][1][i]} for i in range(3)]
        loss = text.losses(model["reader"](*model["encoders"].states(*ids)), answers)
        solo.step(loss, RATES["text"] * clock.rate(step, 0.6))
        step += 1
        if step % 50 == 0:
            print(f"text {step} loss {loss.item():.4f} {clock.passed():.2f}", flush=True)
    solo.save(text.CHECKPOINT, text.STEPS)
    model.cpu()
    print("text " + " ".join(f"{name} {share:.3f}" for name, share in text.figures(model["encoders"], model["reader"]).items()), flush=True)


# ---------------------------------------------------------------- the transformer


@dataclass
class Chunk:
    """Fresh examples of one size: pictures (count, height, width, 3) uint8, what the sources show, token weights, ids (count, times, pieces)."""

    size: tuple[int, int]
    targets: torch.Tensor
    sources: torch.Tensor | None
    shown: torch.Tensor | None
    weights: torch.Tensor
    t5_ids: torch.Tensor
    clip_ids: torch.Tensor


class Examples:
    """Makes chunks of pictures or of edits in a worker."""

    def __init__(self, kind: int, tokenizers):
        self.kind, self.tokenizers = kind, tokenizers

    def __call__(self, rng) -> Chunk:
        pool, size, count = Pool(rng, None, self.kind == EDIT), random_format(rng, diffusion.SQUARE_SHARE), CHUNK[self.kind]
        said = [pool.fresh_edit(size, diffusion.FINE_FROM) if self.kind == EDIT else pool.fresh_scene(size, diffusion.FINE_FROM) for _ in range(count)]
        scenes = [scene_of(s) for s in said]
        targets = [draw(scene) for scene in scenes]
        before = [draw(s.source) for s in said] if self.kind == EDIT else [np.round(draw_background(s.background, s.pattern, *size)).astype(np.uint8) for s in scenes]
        weights = torch.stack([token_weights(*three) for three in zip(targets, before, scenes)])
        ids = self.tokenizers.ids([sentence(rng, s) for s in said for _ in range(SAID_TIMES)])
        t5_ids, clip_ids = (x.view(count, SAID_TIMES, -1).to(torch.int16) for x in ids)
        stacked = lambda pictures: torch.from_numpy(np.stack(pictures))
        shown = torch.stack([shown_by(s.source, TOKEN) for s in said]) if self.kind == EDIT else None
        return Chunk(size, stacked(targets), stacked(before) if self.kind == EDIT else None, shown, weights, t5_ids, clip_ids)


class Store:
    """Examples of one kind on the accelerator, by size; each size is a ring of its own."""

    def __init__(self, kind: int, autoencoder):
        self.kind, self.autoencoder, self.kept = kind, autoencoder, {}

    @torch.no_grad()
    def add(self, chunk: Chunk) -> None:
        encode = lambda pictures: pack(self.encode(pictures)).to(torch.bfloat16)
        ours = lambda x: None if x is None else x.to(DEVICE)
        fresh = [encode(chunk.targets), encode(chunk.sources) if chunk.sources is not None else None, ours(chunk.shown), chunk.weights.to(DEVICE), chunk.t5_ids.to(DEVICE), chunk.clip_ids.to(DEVICE)]
        room = KEPT[self.kind] // (2 if chunk.size == SQUARE else 2 * (len(FORMATS) - 1))
        if chunk.size not in self.kept:
            self.kept[chunk.size] = [0, [None if x is None else x.new_empty(room, *x.shape[1:]) for x in fresh]]
        ring = self.kept[chunk.size]
        places = torch.arange(ring[0], ring[0] + len(fresh[0]), device=DEVICE) % room
        for to, x in zip(ring[1], fresh):
            if x is not None:
                to[places] = x
        ring[0] += len(fresh[0])

    def encode(self, pictures):
        x = pictures.to(DEVICE).permute(0, 3, 1, 2).float() / 127.5 - 1
        config = self.autoencoder.config
        return (self.autoencoder.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist.mean - config.shift_factor) * config.scaling_factor

    def take(self, rng, count: int):
        """-> size, target, reference, what that shows, weight, T5's ids, CLIP's ids."""
        sizes = [size for size in self.kept if size != SQUARE]
        size = rng.choice(sizes) if sizes and rng.random() > diffusion.SQUARE_SHARE else SQUARE
        filled, parts = self.kept[size]
        chosen = torch.randint(min(filled, len(parts[0])), (count,), device=DEVICE)
        times = torch.randint(SAID_TIMES, (count,), device=DEVICE)
        target, reference, shown, weight = (None if x is None else x[chosen] for x in parts[:4])
        return size, target.float(), None if reference is None else reference.float(), shown, weight, *(x[chosen, times].long() for x in parts[4:])


def train_diffusion(minutes: float, scale: float) -> None:
    model = diffusion.learner().to(DEVICE)
    autoencoder, encoders = vae.load().to(DEVICE, memory_format=torch.channels_last), text.load()
    streams = {kind: stream(Examples(kind, encoders), f"examples {kind}") for kind in (PICTURE, EDIT)}
    encoders.to(DEVICE)
    solo = Solo(model, is_block_matrix, lambda name: diffusion.rate_factor(model, name))
    solo.load(diffusion.CHECKPOINT)
    stores, rng, logs = {kind: Store(kind, autoencoder) for kind in streams}, random.Random(time.time_ns()), {kind: [] for kind in streams}
    began = time.time()
    for kind, store in stores.items():
        while SQUARE not in store.kept or sum(ring[0] for ring in store.kept.values()) < 4000 * scale:
            store.add(next(streams[kind]))
    print(f"first examples after {time.time() - began:.0f} s", flush=True)
    clock, step = Clock(minutes - (time.time() - began) / 60), 0
    while clock.passed() < 1:
        total = 0
        for kind, store in stores.items():
            store.add(next(streams[kind]))
            size, target, reference, shown, weight, t5_ids, clip_ids = store.take(rng, max(2, int(BATCHES[kind] * scale)))
            normal, layout = torch.randn(len(target), device=DEVICE), torch.rand(len(target), device=DEVICE) < 0.7
            sigma = torch.sigmoid(torch.where(layout, 2.2 + 1.2 * normal, 0.4 + normal))
            with torch.no_grad():
                states, pooled = encoders.states(t5_ids, clip_ids)
            reference = None if reference is None else blurred(reference)
            with half_precision():
                loss, each = flow_loss(model, states, pooled, target, reference, shown, weight, torch.randn_like(target), sigma, size)
            total = total + loss / len(stores)
            logs[kind].append(each.float().detach().cpu() if step % 10 == 0 else each.new_zeros(2, 0).cpu())
        solo.step(total, RATES["diffusion"] * clock.rate(step, 0.45), min(0.999, (step + 1) / (step + 20)))
        step += 1
        if step % 200 == 0:
            diffusion.report(step, logs, time.time() - began)
        if step % 1000 == 0:
            solo.save(diffusion.CHECKPOINT, step)
    solo.save(diffusion.CHECKPOINT, diffusion.STEPS)
    print(f"{step} steps, {sum(ring[0] for ring in stores[PICTURE].kept.values())} pictures, {sum(ring[0] for ring in stores[EDIT].kept.values())} edits", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--stages", nargs="+", choices=tuple(SHARES), default=list(SHARES))
    parser.add_argument("--again", action="store_true", help="go on with stages that are finished, from their weights")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    steps = {"vae": vae.STEPS, "text": text.STEPS, "diffusion": diffusion.STEPS}
    todo = [name for name in options.stages if options.again or not finished(name, steps[name])]
    for name in todo:
        {"vae": train_vae, "text": train_text, "diffusion": train_diffusion}[name](options.minutes * SHARES[name] / sum(SHARES[n] for n in todo), options.scale)
    export.save(text.load(), decoder.load(), diffusion.load())


if __name__ == "__main__":
    main()
