"""Does a picture show what was asked for? Analysis by synthesis: what lies near each object that was asked for is
compared with every shape and size that could be drawn there; everything else must be the background.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product

import numpy as np

from captions import Request
from draw import HALF_BOX, draw_background, draw_object, inner_mask, mask, placed_mask, window
from scenes import COLUMN, ROW, Object, Scene, centre, fits
from words import BACKGROUNDS, CELLS, COLOURS, PATTERNS, RADIUS, SHAPES, SIZES, TINY

GROUNDS = tuple(product(BACKGROUNDS, PATTERNS))
PALETTE = np.array(list(COLOURS.values()), np.float32)
NEAR_BACKGROUND = 22.0  # RGB distance, largest channel, up to which a pixel is of a background
FAR_FROM_BACKGROUND = 45.0  # from which it is of an object
WRONG_COLOUR = 70.0  # from the asked colour; palette colours lie further apart
PLACE_TOLERANCE = 10.0  # pixels between the centres of mass, in each direction
STRAY_PIXELS = 160  # object pixels that may lie where nothing was asked for: a quarter of a percent
LEAST_OVERLAP = 0.75  # intersection over union with the asked shape
REACH = 12  # pixels around an object that are looked at for it


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


@cache
def ground_samples(width: int, height: int) -> np.ndarray:
    """(48, height / 4, width / 4, 3): every background, seen at every fourth pixel."""
    return np.stack([draw_background(*ground, width, height)[1::4, 1::4] for ground in GROUNDS])


def read_background(picture: np.ndarray) -> tuple[str, str]:
    """The background that most of the picture shows."""
    height, width = picture.shape[:2]
    near = np.abs(ground_samples(width, height) - picture[1::4, 1::4]).max(-1) < NEAR_BACKGROUND
    return GROUNDS[int(near.mean((1, 2)).argmax())]


@cache
def drawn_shapes(tiny: bool):
    """[(shape, size, mask > 0.5, its centre of mass from the middle)]"""
    found = []
    for shape in SHAPES:
        for size in ((TINY,) if tiny else SIZES):
            own = mask(shape, size) > 0.5
            y, x = np.argwhere(own).mean(0) + 0.5 - HALF_BOX
            found.append((shape, size, own, (x, y)))
    return found


def best_shape(own: np.ndarray, seen: np.ndarray, x: int, y: int, tiny: bool):
    """The drawn shape that fits `own` (104, 104) best where it can be `seen`, moved onto its centre of mass.

    -> overlap, shape, size, how far its centre lies from the middle of the box
    """
    ys, xs = np.nonzero(own)
    middle = np.array((xs.mean() + 0.5 - HALF_BOX, ys.mean() + 0.5 - HALF_BOX))
    best = (0.0, "", "", (99.0, 99.0))
    for shape, size, drawn, mass in drawn_shapes(tiny):
        whole_seen = (drawn & ~seen).sum() < 4
        base = np.round(middle - mass).astype(int) if whole_seen else np.zeros(2, int)
        for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
            moved = np.roll(drawn, (base[1] + dy, base[0] + dx), (0, 1)) & seen
            overlap = (moved & own).sum() / max((moved | own).sum(), 1)
            if overlap > best[0]:
                best = (float(overlap), shape, size, (base[0] + dx, base[1] + dy))
    return best


def read_object(picture: np.ndarray, scene: Scene, index: int, free: set, ground: np.ndarray) -> dict[str, bool]:
    """Judges the object `index` of `scene` against the picture; `ground` is the background as read."""
    o = scene.objects[index]
    height, width = picture.shape[:2]
    x, y = centre(o, width, height)
    there, own_part = window(x, y, width, height)
    rows, columns = np.indices((2 * HALF_BOX, 2 * HALF_BOX)) - HALF_BOX + 0.5
    seen = np.zeros((2 * HALF_BOX, 2 * HALF_BOX), bool)
    seen[own_part] = True
    seen &= np.hypot(rows, columns) < RADIUS[o.size] + REACH
    behind = ground.copy()
    for other_index, other in enumerate(scene.objects):
        if other_index == index:
            continue
        hidden = np.zeros_like(seen)
        hidden[own_part] = near(other, width, height, 2)[there]
        if other_index > index or other.cell != o.cell:
            seen &= ~hidden
        else:
            draw_object(behind, other)
    box = lambda values: padded(values[there], own_part)
    pixels, back = box(picture), box(behind)
    core = (inner_mask(o.shape, o.size) if o.outline else mask(o.shape, o.size)) > 0.99
    core = (shrunk(core) if shrunk(core).sum() >= 40 else core) & seen
    wrong = dict.fromkeys(("place", "colour", "shape", "size", "count"), False)
    if core.sum() < 12:
        return wrong
    fill = np.median(pixels[core], 0)
    name = list(COLOURS)[int(np.linalg.norm(PALETTE - fill, axis=1).argmin())]
    right_colour = ("colour", index) in free or (name == o.colour and np.linalg.norm(fill - COLOURS[o.colour]) < WRONG_COLOUR)
    to_object = np.linalg.norm(pixels - fill, axis=-1)
    if o.outline:
        rim = (mask(o.shape, o.size) > 0.99) & (inner_mask(o.shape, o.size) < 0.01) & seen
        rim_colour = np.median(pixels[rim], 0) if rim.any() else fill
        right_colour &= bool(np.linalg.norm(rim_colour - COLOURS[o.outline]) < WRONG_COLOUR)
        to_object = np.minimum(to_object, np.linalg.norm(pixels - COLOURS[o.outline], axis=-1))
    own = (to_object < np.linalg.norm(pixels - back, axis=-1)) & seen
    if own.sum() < 0.35 * (mask(o.shape, o.size) > 0.5)[seen].sum():
        return wrong
    overlap, shape, size, moved = best_shape(own, seen, x, y, o.size == TINY)
    right_shape = overlap >= LEAST_OVERLAP and (shape == o.shape or ("shape", index) in free)
    return {"place": max(abs(moved[0]), abs(moved[1])) <= PLACE_TOLERANCE, "colour": bool(right_colour), "shape": right_shape, "size": size == o.size, "count": True}


def padded(part: np.ndarray, own_part) -> np.ndarray:
    whole = np.zeros((2 * HALF_BOX, 2 * HALF_BOX, 3), np.float32)
    whole[own_part] = part
    return whole


def shrunk(m: np.ndarray) -> np.ndarray:
    """Without its outermost pixel."""
    return m & np.roll(m, 1, 0) & np.roll(m, -1, 0) & np.roll(m, 1, 1) & np.roll(m, -1, 1)


def near(o: Object, width: int, height: int, pixels: int) -> np.ndarray:
    """(height, width) where the object is or ends within so many pixels."""
    m = placed_mask(o.shape, o.size, *centre(o, width, height), width, height) > 0.01
    for _ in range(pixels):
        grown = m.copy()
        grown[1:] |= m[:-1]
        grown[:-1] |= m[1:]
        grown[:, 1:] |= m[:, :-1]
        grown[:, :-1] |= m[:, 1:]
        m = grown
    return m


def choices(request: Request) -> list[Scene]:
    """The scenes that differ in where their objects stand, as far as the request leaves that open."""
    scene = request.scene
    if ("place", 0) in request.free:
        return [replace(scene, objects=(replace(scene.objects[0], cell=cell),)) for cell in CELLS]
    if ("orientation", 0) in request.free:
        middle, a, b = scene.objects
        ends = [(line[i], line[2 - i]) for line in (ROW, COLUMN) for i in (0, 2)]
        found = [replace(scene, objects=(middle, replace(a, cell=one), replace(b, cell=two))) for one, two in ends]
        return [s for s in found if fits(s)] or [scene]
    return [scene]


def read(picture: np.ndarray, request: Request) -> Verdict:
    """The verdict on one (height, width, 3) uint8 picture."""
    picture = picture.astype(np.float32)
    height, width = picture.shape[:2]
    found = read_background(picture)
    ground = draw_background(*found, width, height)
    background = "background" in request.free or found == (request.scene.background, request.scene.pattern)
    other = np.abs(picture - ground).max(-1) > FAR_FROM_BACKGROUND
    if "objects" in request.free:
        share = float(other.mean())
        return Verdict(background, *[0.005 < share < 0.6] * 5)
    best = None
    for scene in choices(request):
        answers = [read_object(picture, scene, i, request.free, ground) for i in range(len(scene.objects))]
        expected = np.zeros((height, width), bool)
        for o in scene.objects:
            expected |= near(o, width, height, 8)
        clean = int((other & ~expected).sum()) < STRAY_PIXELS
        every = lambda name: all(answer[name] for answer in answers)
        verdict = Verdict(background, every("place"), every("colour"), every("shape"), every("size"), every("count") and clean)
        if best is None or sum(asdict(verdict).values()) > sum(asdict(best).values()):
            best = verdict
    return best
