"""Edits: an instruction, the scene it is given and the scene it asks for. What cannot be done leaves the scene as it is."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from captions import T5_LENGTH, background_phrase, noun_phrase, pick, pieces, place_phrase
from scenes import Object, Scene, fits, random_background, random_object, random_scene
from words import (BACKGROUNDS, CELLS, COLOUR_WORDS, COLOURS, EDITS, FILLERS, GROUND_WORDS, IMPOSSIBLE, KEEP, PATTERN_WORDS, PLACE_OF_CELL, PLACE_WORDS,
                   SHAPE_WORDS, SHAPES, TWO)

KINDS = (*EDITS, TWO, KEEP)


@dataclass(frozen=True)
class Edit:
    """`kind` is one of KINDS. `changes` are (kind, the scene before, the scene after) of each thing that was done.

    `meaningless` is an instruction that says nothing in this language; others that keep the scene speak of what is not there.
    """

    kind: str
    instruction: str
    source: Scene
    target: Scene
    changes: tuple[tuple[str, Scene, Scene], ...] = ()
    meaningless: bool = False


@dataclass(frozen=True)
class Naming:
    """How often a thing is named by its shape alone, and of the others by its colour alone, where that says which."""

    by_shape: float = 0.35
    by_colour: float = 0.1


def reference(rng: random.Random, scene: Scene, o: Object, naming: Naming) -> str:
    """`the red circle`; `the circle`, `the red one` or `it` where that says which."""
    shape = pick(rng, SHAPE_WORDS[o.shape], 0.85)
    colour = pick(rng, COLOUR_WORDS[o.colour], 0.85)
    if len(scene.objects) == 1 and rng.random() < 0.1:
        return "it"
    if sum(x.shape == o.shape for x in scene.objects) == 1 and rng.random() < naming.by_shape:
        return f"the {shape}"
    if sum(x.colour == o.colour for x in scene.objects) == 1 and rng.random() < naming.by_colour:
        return f"the {colour} {rng.choice(('one', 'shape'))}"
    return f"the {colour} {shape}"


def exchanged(scene: Scene, old: Object | None, new: Object | None) -> Scene:
    """`scene` with `old` taken out and `new` put in."""
    objects = [new if o == old else o for o in scene.objects] if old else [*scene.objects, new]
    return replace(scene, objects=tuple(o for o in objects if o is not None))


def other(rng: random.Random, names, current):
    return rng.choice([name for name in names if name != current])


def free_cell(rng: random.Random, scene: Scene):
    return rng.choice([cell for cell in CELLS if cell not in {x.cell for x in scene.objects}])


def background_words(rng: random.Random, name: str, pattern: str) -> str:
    colour = pick(rng, GROUND_WORDS[name], 0.85)
    return colour if pattern == "plain" else f"{pick(rng, PATTERN_WORDS[pattern], 0.85)} {colour}"


def change(rng: random.Random, kind: str, scene: Scene, o: Object | None, ref: str) -> tuple[str, Scene]:
    """One change to `o` of `scene`, which the instruction calls `ref`."""
    if kind == "recolour":
        colour = other(rng, COLOURS, o.colour)
        word = pick(rng, COLOUR_WORDS[colour], 0.8)
        ways = (f"make {ref} {word}", f"change {ref} to {word}", f"turn {ref} {word}", f"color {ref} {word}", f"recolor {ref} to {word}", f"paint {ref} {word}")
        return rng.choice(ways), exchanged(scene, o, replace(o, colour=colour, outline=None if o.outline == colour else o.outline))
    if kind == "remove":
        return f"{rng.choice(('remove', 'delete', 'erase', 'take away'))} {ref}", exchanged(scene, o, None)
    if kind == "add":
        new = random_object(rng, free_cell(rng, scene))
        return f"{rng.choice(('add', 'add', 'put', 'draw', 'place'))} {noun_phrase(rng, new)} {place_phrase(rng, new.cell)}", exchanged(scene, None, new)
    if kind == "replace":
        shape = other(rng, SHAPES, o.shape)
        word = pick(rng, SHAPE_WORDS[shape], 0.8)
        article = "an" if word[0] in "aeiou" else "a"
        ways = (f"replace {ref} with {article} {word}", f"turn {ref} into {article} {word}", f"change {ref} into {article} {word}", f"swap {ref} for {article} {word}")
        return rng.choice(ways), exchanged(scene, o, replace(o, shape=shape))
    if kind == "move":
        cell = free_cell(rng, scene)
        word = rng.choice(PLACE_WORDS[PLACE_OF_CELL[cell]])
        return f"{rng.choice(('move', 'move', 'shift', 'put'))} {ref} {rng.choice(('to', 'to', 'into'))} the {word}", exchanged(scene, o, replace(o, cell=cell))
    if kind == "resize":
        size = other(rng, ("small", "large"), o.size)
        ways = {"small": (f"make {ref} small", f"make {ref} smaller", f"shrink {ref}", f"make {ref} tiny"),
                "large": (f"make {ref} large", f"make {ref} larger", f"make {ref} bigger", f"enlarge {ref}", f"make {ref} big")}
        return rng.choice(ways[size]), exchanged(scene, o, replace(o, size=size))
    name, pattern = random_background(rng)
    target = replace(scene, background=name, pattern=pattern)
    chance = rng.random()
    if chance < 0.12 and scene.pattern != pattern != "plain":  # only the pattern
        return f"make the background {pick(rng, PATTERN_WORDS[pattern])}", replace(scene, pattern=pattern)
    if chance < 0.25:
        return f"put it{background_phrase(rng, name, pattern)}".replace("it,", "it on a"), target
    words = background_words(rng, name, pattern)
    return rng.choice((f"change the background to {words}", f"make the background {words}", f"set the background to {words}")), target


def meaningless(rng: random.Random) -> str:
    """An instruction that asks for nothing in this language."""
    chance = rng.random()
    if chance < 0.45:
        return rng.choice(IMPOSSIBLE)
    if chance < 0.8:
        return " ".join(rng.choice(FILLERS) if rng.random() < 0.8 else rng.choice(("the", "a", "with", "of", "and")) for _ in range(rng.randint(2, 14)))
    return asked_of(rng, rng.choice(FILLERS))


def asked_of(rng: random.Random, noun: str) -> str:
    return rng.choice((f"remove the {noun}", f"make the {noun} {rng.choice(tuple(COLOURS))}", f"make the {noun} bigger",
                       f"replace the {noun} with a {rng.choice(SHAPES)}", f"move the {noun} to the {rng.choice(tuple(PLACE_OF_CELL.values()))}"))


def of_the_absent(rng: random.Random, scene: Scene) -> str:
    """An instruction about a shape that the picture does not show."""
    return asked_of(rng, rng.choice([s for s in SHAPES if s not in {o.shape for o in scene.objects}]))


def single(rng: random.Random, kind: str, source: Scene, spoken_of: tuple[Object, ...], naming: Naming) -> tuple[str, Scene] | None:
    o = rng.choice(spoken_of) if kind not in ("add", "background") else None
    text, target = change(rng, kind, source, o, reference(rng, source, o, naming) if o else "")
    return (text, target) if target != source and fits(target) else None


def twice(rng: random.Random, source: Scene, naming: Naming) -> tuple[str, Scene, tuple] | None:
    """Two changes, of different things; both name their things as the source shows them."""
    kinds = rng.sample(EDITS, 2)
    first = single(rng, kinds[0], source, source.objects, naming)
    if first is None:
        return None
    untouched = tuple(o for o in source.objects if o in first[1].objects)
    if kinds[1] not in ("add", "background") and not untouched:
        return None
    o = rng.choice(untouched) if kinds[1] not in ("add", "background") else None
    text, target = change(rng, kinds[1], first[1], o, reference(rng, source, o, naming) if o else "")
    if target == first[1] or not fits(target):
        return None
    changes = ((kinds[0], source, first[1]), (kinds[1], first[1], target))
    return f"{first[0]} {rng.choice(('and', 'and', 'and then'))} {text}", target, changes


def random_edit(rng: random.Random, width: int = 256, height: int = 256, kind: str | None = None, count: int | None = None, naming: Naming = Naming()) -> Edit:
    """A scene and a change to it that leaves a scene of the language."""
    while True:
        chosen = kind or rng.choices(KINDS, weights=(12, 10, 12, 14, 14, 12, 10, 10, 6))[0]
        fewest = 2 if chosen == TWO else 1
        source = random_scene(rng, count or rng.choice([n for n in (1, 1, 2, 2, 2, 3, 3) if n >= fewest]), width, height, grouped=chosen == KEEP)
        if chosen == KEEP:
            empty = rng.random() < 0.7
            return Edit(KEEP, meaningless(rng) if empty else of_the_absent(rng, source), source, source, (), empty)
        done = twice(rng, source, naming) if chosen == TWO else single(rng, chosen, source, source.objects, naming)
        if done is None:
            continue
        text, target, *changes = done
        if pieces(text) < T5_LENGTH and len(target.objects) <= 4:
            return Edit(chosen, text, source, target, changes[0] if changes else ((chosen, source, target),))
