"""The language of nano: scenes, the captions that describe them and the instructions that edit them.

A scene is a plain background and one to three flat objects on a 3 x 3 grid of places. A prompt all but
determines its scene: no size word means medium, no place means the centre (one object) or a row (several),
no background means white. Only a shift of a few pixels and a touch of shade are left to chance, so the mean
picture at high noise is already right and a very small model can learn the language.

Held-out scenes: `held_out` hashes what a scene says (not its shifts or its size in pixels); one in sixteen is
never trained on. An edit is held out by its target scene.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
COLOURS = {
    "red": (226, 38, 44),
    "orange": (248, 138, 28),
    "yellow": (250, 218, 40),
    "green": (40, 160, 66),
    "cyan": (40, 200, 220),
    "blue": (38, 84, 226),
    "purple": (134, 52, 178),
    "pink": (250, 130, 186),
}
BACKGROUNDS = {
    "white": (250, 250, 250),
    "black": (18, 18, 20),
    "gray": (128, 130, 132),
    "cream": (248, 232, 196),
    "navy": (24, 34, 82),
    "mint": (184, 234, 208),
}
SIZES = {"small": 12, "medium": 17, "large": 22}  # radius in pixels, the same for every picture size
PLACES = {  # name -> (column, row)
    "top left": (0, 0), "top": (1, 0), "top right": (2, 0),
    "left": (0, 1), "center": (1, 1), "right": (2, 1),
    "bottom left": (0, 2), "bottom": (1, 2), "bottom right": (2, 2),
}
PLACE_OF_CELL = {cell: name for name, cell in PLACES.items()}
RELATIONS = {  # name -> (cell of the first object, cell of the second)
    "left of": ((0, 1), (2, 1)),
    "right of": ((2, 1), (0, 1)),
    "above": ((1, 0), (1, 2)),
    "below": ((1, 2), (1, 0)),
}
EDITS = ("recolour", "remove", "add", "replace", "move", "resize", "background")

MARGIN = 24  # pixels from an edge to the centre of the outer places: 1.5 latent tokens
GAP = 3  # pixels that two objects must stay apart
MAX_SHIFT = 0  # pixels of chance in each direction: even 2 make every edge a lottery on an 8-pixel latent grid
HELD_OUT_ONE_IN = 16

# Sides in pixels for the 13 aspect ratios at about 16,384 pixels; several ratios share a size.
SIZES_BY_ASPECT = {
    "1:1": (128, 128), "16:9": (176, 96), "9:16": (96, 176), "4:3": (144, 112), "3:4": (112, 144),
    "3:2": (160, 112), "2:3": (112, 160), "4:5": (112, 144), "5:4": (144, 112), "21:9": (192, 80),
    "9:21": (80, 192), "2:1": (176, 96), "1:2": (96, 176),
}


@dataclass(frozen=True)
class Object:
    """One flat shape in one cell; `shift` is its chance displacement in pixels, `shade` its touch of colour."""

    shape: str
    colour: str
    size: str
    cell: tuple[int, int]
    shift: tuple[int, int] = (0, 0)
    shade: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Scene:
    """A background name, the objects on it and the picture's size in pixels."""

    background: str
    objects: tuple[Object, ...]
    width: int = 128
    height: int = 128


@dataclass(frozen=True)
class Edit:
    """An instruction, the scene it is given and the scene it asks for. `kind` is one of EDITS."""

    kind: str
    instruction: str
    source: Scene
    target: Scene
    subject: Object | None  # the object spoken of (for "add" the new one), None for "background"


def centre(cell: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Pixel centre of a cell: always a multiple of 8, so that shapes fall alike on the latent grid."""
    along = lambda index, side: (MARGIN, side // 2, side - MARGIN)[index]
    return along(cell[0], width), along(cell[1], height)


def fits(objects, width: int, height: int) -> bool:
    """Whether no two objects come too near each other and no two look the same."""
    for index, first in enumerate(objects):
        for second in objects[index + 1:]:
            (ax, ay), (bx, by) = centre(first.cell, width, height), centre(second.cell, width, height)
            if max(abs(ax - bx), abs(ay - by)) < SIZES[first.size] + SIZES[second.size] + GAP:
                return False
            if (first.shape, first.colour) == (second.shape, second.colour):
                return False
    return True


def held_out(scene: Scene) -> bool:
    """True for the one scene in sixteen that only the judge may see."""
    said = sorted((o.shape, o.colour, o.size, o.cell) for o in scene.objects)
    digest = hashlib.sha256(repr((scene.background, said)).encode()).digest()
    return digest[0] % HELD_OUT_ONE_IN == 0


# ---------------------------------------------------------------- scenes


def random_object(rng: random.Random, cell) -> Object:
    size = rng.choices(tuple(SIZES), weights=(3, 5, 3))[0]
    shift = (rng.randint(-MAX_SHIFT, MAX_SHIFT), rng.randint(-MAX_SHIFT, MAX_SHIFT))
    shade = tuple(rng.randint(-6, 6) for _ in range(3))
    return Object(rng.choice(SHAPES), rng.choice(tuple(COLOURS)), size, cell, shift, shade)


def random_scene(rng: random.Random, count: int, width: int = 128, height: int = 128) -> Scene:
    """A scene of `count` objects in different cells; half of the pairs stand in a relation."""
    while True:
        if count == 2 and rng.random() < 0.5:
            cells = list(rng.choice(tuple(RELATIONS.values())))
        elif count == 3 and rng.random() < 0.25:
            cells = [(0, 1), (1, 1), (2, 1)]
        else:
            cells = rng.sample(tuple(PLACE_OF_CELL), count)
        objects = tuple(random_object(rng, cell) for cell in cells)
        if fits(objects, width, height):
            return Scene(rng.choice(tuple(BACKGROUNDS)), objects, width, height)


# ---------------------------------------------------------------- captions


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def noun_phrase(rng: random.Random, o: Object) -> str:
    """`a red circle`, `a large red circle`; medium is mostly left unsaid."""
    words = [o.colour, o.shape]
    if o.size != "medium" or rng.random() < 0.1:
        words.insert(0, o.size)
    return " ".join([article(words[0]), *words])


def place_phrase(rng: random.Random, cell) -> str:
    name = PLACE_OF_CELL[cell]
    return f"{rng.choice(('in', 'in', 'at'))} the {name}"


def background_phrase(rng: random.Random, name: str) -> str:
    if name == "white" and rng.random() < 0.25:
        return ""
    return rng.choice((f" on a {name} background", f" on a {name} background", f", {name} background", f" on {name}"))


def caption(rng: random.Random, scene: Scene) -> str:
    """One of the ways to say a scene. At most 31 words and commas."""
    objects = list(scene.objects)
    tail = background_phrase(rng, scene.background)
    cells = tuple(o.cell for o in objects)
    if len(objects) == 1:
        text = noun_phrase(rng, objects[0])
        if objects[0].cell != (1, 1) or rng.random() < 0.4:
            text += " " + place_phrase(rng, objects[0].cell)
        text += tail
        opening = rng.random()
        if opening < 0.1:
            text = "draw " + text
        elif opening < 0.2:
            text = "a picture of " + text
        return text
    if len(objects) == 2:
        related = [name for name, pair in RELATIONS.items() if pair in (cells, cells[::-1])]
        if related and rng.random() < 0.85:
            name = rng.choice(related)
            first, second = objects if RELATIONS[name] == cells else objects[::-1]
            spoken = f"to the {name}" if name.endswith("of") and rng.random() < 0.3 else name
            if name == "left of" and rng.random() < 0.15:
                return f"{noun_phrase(rng, first)} and {noun_phrase(rng, second)}{tail}"
            return f"{noun_phrase(rng, first)} {spoken} {noun_phrase(rng, second)}{tail}"
        rng.shuffle(objects)
        first, second = (f"{noun_phrase(rng, o)} {place_phrase(rng, o.cell)}" for o in objects)
        return f"{first} and {second}{tail}"
    if cells == ((0, 1), (1, 1), (2, 1)) and rng.random() < 0.7:
        first, second, third = (noun_phrase(rng, o) for o in objects)
    else:
        rng.shuffle(objects)
        first, second, third = (f"{noun_phrase(rng, o)} {place_phrase(rng, o.cell)}" for o in objects)
    return f"{first}, {second} and {third}{tail}"


# ---------------------------------------------------------------- edits


def reference(rng: random.Random, scene: Scene, o: Object) -> str:
    """`the red circle`, or `the circle` where it is the only object."""
    return f"the {o.shape}" if len(scene.objects) == 1 and rng.random() < 0.5 else f"the {o.colour} {o.shape}"


def with_object(scene: Scene, old: Object | None, new: Object | None) -> Scene:
    """`scene` with `old` taken out and `new` put in."""
    objects = [new if o == old else o for o in scene.objects] if old else [*scene.objects, new]
    return replace(scene, objects=tuple(o for o in objects if o is not None))


def other(rng: random.Random, names, current):
    return rng.choice([name for name in names if name != current])


def random_edit(rng: random.Random, count: int, width: int = 128, height: int = 128, kind: str | None = None) -> Edit:
    """A scene of `count` objects and one change to it that leaves a scene of the language."""
    while True:
        source = random_scene(rng, count, width, height)
        chosen = kind or rng.choice(EDITS)
        o = rng.choice(source.objects)
        subject, ref = o, reference(rng, source, o)
        if chosen == "recolour":
            colour = other(rng, COLOURS, o.colour)
            target = with_object(source, o, replace(o, colour=colour))
            text = rng.choice((f"make {ref} {colour}", f"change {ref} to {colour}", f"turn {ref} {colour}"))
        elif chosen == "remove":
            target = with_object(source, o, None)
            text = f"{rng.choice(('remove', 'delete', 'erase'))} {ref}"
        elif chosen == "add":
            free = [cell for cell in PLACE_OF_CELL if cell not in {x.cell for x in source.objects}]
            subject = random_object(rng, rng.choice(free))
            target = with_object(source, None, subject)
            text = f"add {noun_phrase(rng, subject)} {place_phrase(rng, subject.cell)}"
        elif chosen == "replace":
            shape = other(rng, SHAPES, o.shape)
            target = with_object(source, o, replace(o, shape=shape))
            text = rng.choice((f"replace {ref} with a {shape}", f"turn {ref} into a {shape}"))
        elif chosen == "move":
            free = [cell for cell in PLACE_OF_CELL if cell not in {x.cell for x in source.objects}]
            moved = replace(o, cell=rng.choice(free))
            target = with_object(source, o, moved)
            text = f"move {ref} to the {PLACE_OF_CELL[moved.cell]}"
        elif chosen == "resize":
            size = other(rng, ("small", "large"), o.size)
            target = with_object(source, o, replace(o, size=size))
            word = rng.choice({"small": ("small", "smaller"), "large": ("large", "larger", "bigger")}[size])
            text = f"make {ref} {word}"
        else:
            subject = None
            name = other(rng, BACKGROUNDS, source.background)
            target = replace(source, background=name)
            text = rng.choice((f"change the background to {name}", f"make the background {name}"))
        if fits(target.objects, width, height) and len(target.objects) <= 3:
            return Edit(chosen, text, source, target, subject)


# ---------------------------------------------------------------- the judged set


def random_size(rng: random.Random) -> tuple[int, int]:
    """Sides of a judged or trained picture: two thirds square, the rest spread over the aspect ratios."""
    return (128, 128) if rng.random() < 2 / 3 else rng.choice(tuple(SIZES_BY_ASPECT.values()))


def held_out_scenes(count: int, seed: int = 1) -> list[tuple[str, Scene]]:
    """`count` captions with their scenes, none of which is ever trained on. 40 / 40 / 20 % have 1 / 2 / 3 objects."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        width, height = random_size(rng)
        scene = random_scene(rng, (1, 2, 1, 2, 3)[len(found) % 5], width, height)
        if held_out(scene):
            found.append((caption(rng, scene), scene))
    return found


def held_out_edits(count: int, seed: int = 2) -> list[Edit]:
    """`count` edits whose target scenes are never trained on; the kinds take turns."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        width, height = random_size(rng)
        kind = EDITS[len(found) % len(EDITS)]
        edit = random_edit(rng, 2 if kind == "remove" else rng.choice((1, 2)), width, height, kind)
        if held_out(edit.target):
            found.append(edit)
    return found


def words() -> list[str]:
    """Every word of the language, for the tokenizers."""
    said = set("a an the in at on of to and with into background picture draw make change turn remove delete erase "
               "add replace move smaller larger bigger above below left right top bottom center".split())
    return sorted(said | set(SHAPES) | set(COLOURS) | set(BACKGROUNDS) | set(SIZES))
