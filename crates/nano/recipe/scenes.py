"""Scenes: a background and one to four flat objects on a 3 x 3 grid of places, and how they are chosen.

Every centre is a multiple of 16 pixels, so that a shape falls alike on the 16-fold latent grid wherever it stands.
`held_out` hashes what a scene shows; one scene in sixteen is never trained on.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace

from words import (BACKGROUNDS, BETWEEN, CELLS, COLOURS, CONTAINERS, INSIDE, ON_TOP, OUTLINE, OUTLINES, PATTERNS, RADIUS, RELATIONS, SHAPES, SIZES, TINY)

MARGIN = 48  # pixels from an edge to the centre of the outer places: 1.5 tokens
GAP = 6  # pixels that two objects must stay apart
STACK = ((0, -32), (0, 16))  # what stands on top of something, and what it stands on, from the cell's centre
LEAST_CONTRAST = 72.0  # RGB distance of an object's colour from the background's
HELD_OUT_ONE_IN = 16
MOST_WORDS = 36  # of a scene's caption: T5's length less </s> and some room for longer ways to say it
COUNTS, COUNT_WEIGHTS = (1, 2, 3, 4), (32, 36, 20, 12)
FINE = {OUTLINE: 0.3, INSIDE: 0.55, ON_TOP: 0.15}  # what is finer than a shape on a background, and how often each is asked for where fine scenes are
ROW, COLUMN = ((0, 1), (1, 1), (2, 1)), ((1, 0), (1, 1), (1, 2))
CORNERS = ((0, 0), (2, 0), (0, 2), (2, 2))

# Sides in pixels at about 65,536 pixels, multiples of 32: what the service asks for, by both of its tables of 13 ratios.
SIZES_BY_ASPECT = {
    "1:1": (256, 256), "16:9": (352, 192), "9:16": (192, 352), "4:3": (288, 224), "3:4": (224, 288), "3:2": (320, 224), "2:3": (224, 320),
    "4:5": (224, 288), "5:4": (288, 224), "21:9": (384, 160), "9:21": (160, 384), "2:1": (352, 192), "1:2": (192, 352),
    "21:9 pro": (352, 160), "9:21 pro": (160, 352),
}
SQUARE = (256, 256)
FORMATS = tuple(dict.fromkeys(SIZES_BY_ASPECT.values()))


@dataclass(frozen=True)
class Object:
    """One flat shape; `offset` is in pixels from its cell's centre. Objects of one cell belong together."""

    shape: str
    colour: str
    size: str
    cell: tuple[int, int]
    outline: str | None = None
    offset: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Scene:
    """A background, the objects on it from back to front, and the picture's size in pixels.

    `layout` says how the objects came to their places, for the caption: "cells", "list", a relation's name or "same".
    """

    background: str
    pattern: str
    objects: tuple[Object, ...]
    width: int = 256
    height: int = 256
    layout: str = "cells"


def centre(o: Object, width: int, height: int) -> tuple[int, int]:
    along = lambda index, side: (MARGIN, side // 2, side - MARGIN)[index]
    return along(o.cell[0], width) + o.offset[0], along(o.cell[1], height) + o.offset[1]


def distance(a, b) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b)) ** 0.5


def tones(background: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A background's own colour and its second tone, for stripes, dots and gradients."""
    own = BACKGROUNDS[background]
    dark = sum(own) < 330
    toward, share = ((255, 255, 255), 0.28) if dark else ((255, 255, 255), 0.55)
    if sum(own) > 725:
        toward, share = (120, 140, 180), 0.28
    return own, tuple(round(a + share * (b - a)) for a, b in zip(own, toward))


def contrasts(colour: str, background: str, pattern: str) -> bool:
    own, second = tones(background)
    far = distance(COLOURS[colour], own) >= LEAST_CONTRAST
    return far and (pattern == "plain" or distance(COLOURS[colour], second) >= LEAST_CONTRAST)


def words_needed(scene: Scene) -> int:
    """About how many words and commas it takes to say the scene."""
    of_objects = sum(4 + (o.size in ("small", "large")) + 4 * (o.outline is not None) for o in scene.objects)
    places = {o.cell for o in scene.objects} if scene.layout == "cells" else ()
    return of_objects + sum(4 if 1 not in cell else 3 for cell in places) + (3 if scene.pattern == "plain" else 5)


def fits(scene: Scene) -> bool:
    """Whether no two objects come too near each other, every colour shows, no two look the same unless meant to, and it can be said."""
    objects = scene.objects
    if words_needed(scene) > MOST_WORDS:
        return False
    for o in objects:
        on_background = o.size != TINY or any(x.shape == "ring" and x.cell == o.cell for x in objects)
        if on_background and not contrasts(o.colour, scene.background, scene.pattern):
            return False
        if o.outline and (o.outline == o.colour or distance(COLOURS[o.outline], tones(scene.background)[0]) < LEAST_CONTRAST):
            return False
    for index, a in enumerate(objects):
        for b in objects[index + 1:]:
            if scene.layout != "same" and (a.shape, a.colour) == (b.shape, b.colour):
                return False
            if a.cell == b.cell:
                continue
            (ax, ay), (bx, by) = centre(a, scene.width, scene.height), centre(b, scene.width, scene.height)
            if max(abs(ax - bx), abs(ay - by)) < RADIUS[a.size] + RADIUS[b.size] + GAP:
                return False
    return True


def fine_details(scene: Scene) -> set[str]:
    """Which of FINE a scene shows."""
    told = {OUTLINE: any(o.outline for o in scene.objects), INSIDE: any(o.size == TINY for o in scene.objects), ON_TOP: any(o.offset != (0, 0) for o in scene.objects)}
    return {name for name, shown in told.items() if shown}


def between_along_the_longer_side(scene: Scene) -> Scene:
    """`between` leaves open whether it stands in a row or in a column: the shape of the picture says, as it does of a list."""
    if scene.layout != BETWEEN:
        return scene
    middle, *ends = scene.objects
    turned = tuple(replace(o, cell=cell) for o, cell in zip(ends, row_for(2, scene.width, scene.height)))
    again = replace(scene, objects=(middle, *turned))
    return again if fits(again) else scene


def held_out(scene: Scene) -> bool:
    """True for the one scene in sixteen that only the judge may see."""
    said = sorted((o.shape, o.colour, o.size, o.cell, str(o.outline), o.offset) for o in scene.objects)
    digest = hashlib.sha256(repr((scene.background, scene.pattern, said)).encode()).digest()
    return digest[0] % HELD_OUT_ONE_IN == 0


# ---------------------------------------------------------------- choosing


def random_object(rng: random.Random, cell, size: str | None = None) -> Object:
    size = size or rng.choices(tuple(SIZES), weights=(3, 5, 3))[0]
    outline = rng.choice(OUTLINES) if rng.random() < 0.12 else None
    return Object(rng.choice(SHAPES), rng.choice(tuple(COLOURS)), size, cell, outline)


def random_background(rng: random.Random) -> tuple[str, str]:
    return rng.choice(tuple(BACKGROUNDS)), rng.choices(PATTERNS, weights=(55, 15, 15, 15))[0]


def row_for(count: int, width: int, height: int):
    """The cells of a list that names no places: along the longer side, four in the corners."""
    if count == 1:
        return ((1, 1),)
    line = COLUMN if height > width else ROW
    return {2: (line[0], line[2]), 3: line, 4: CORNERS}[count]


def inside(rng: random.Random, cell) -> list[Object]:
    outer = replace(random_object(rng, cell, "large"), shape=rng.choice(CONTAINERS), outline=None)
    while True:
        inner = replace(random_object(rng, cell, TINY), outline=None)
        if outer.shape == "ring" or distance(COLOURS[inner.colour], COLOURS[outer.colour]) >= LEAST_CONTRAST:
            return [outer, inner]


def on_top(rng: random.Random, cell) -> list[Object]:
    while True:
        above, under = (replace(random_object(rng, cell, "medium"), offset=offset) for offset in STACK)
        if distance(COLOURS[above.colour], COLOURS[under.colour]) >= LEAST_CONTRAST:
            return [under, above]


def random_layout(rng: random.Random, count: int, width: int, height: int, grouped: bool) -> tuple[str, list[Object]]:
    chance = rng.random()
    plain = lambda cells: [random_object(rng, cell) for cell in cells]
    if count == 1:
        return "cells", plain([(1, 1) if rng.random() < 0.35 else rng.choice(CELLS)])
    if chance < 0.07 and grouped:
        first = random_object(rng, (1, 1))
        return "same", [replace(first, cell=cell) for cell in row_for(count, width, height)]
    if chance < 0.22:
        return "list", plain(row_for(count, width, height))
    if count == 2 and chance < 0.50:
        name = rng.choice(tuple(RELATIONS))
        return name, plain(RELATIONS[name])
    if count == 2 and chance < 0.60 and grouped:
        return "inside", inside(rng, (1, 1) if rng.random() < 0.6 else rng.choice(CELLS))
    if count == 2 and chance < 0.70 and grouped:
        return "on top of", on_top(rng, rng.choice(ROW) if rng.random() < 0.5 else (1, 1))
    if count == 3 and chance < 0.42:
        middle, *ends = plain(((1, 1), *rng.choice(((ROW[0], ROW[2]), (COLUMN[0], COLUMN[2])))))
        return "between", [middle, *ends]
    if count == 3 and chance < 0.55 and grouped:
        cell, third = rng.sample(CELLS, 2)
        return "cells", [*inside(rng, cell), random_object(rng, third)]
    return "cells", plain(rng.sample(CELLS, count))


def random_fine_scene(rng: random.Random, width: int = 256, height: int = 256) -> Scene:
    """A scene that shows one of FINE."""
    wanted = rng.choices(tuple(FINE), tuple(FINE.values()))[0]
    while True:
        scene = random_scene(rng, None, width, height)
        if wanted in fine_details(scene):
            return scene


def random_scene(rng: random.Random, count: int | None = None, width: int = 256, height: int = 256, grouped: bool = True) -> Scene:
    """A scene that fits its size; `grouped` allows objects inside, on top of each other, or all the same."""
    count = count or rng.choices(COUNTS, COUNT_WEIGHTS)[0]
    while True:
        layout, objects = random_layout(rng, count, width, height, grouped)
        for _ in range(4):
            scene = Scene(*random_background(rng), tuple(objects), width, height, layout)
            if fits(scene):
                return scene


def random_format(rng: random.Random, square_share: float = 0.4) -> tuple[int, int]:
    return SQUARE if rng.random() < square_share else rng.choice(FORMATS[1:])
