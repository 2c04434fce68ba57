"""How scenes are said: captions in several ways, with unknown words around them, and loose descriptions.

A `Request` remembers what its text leaves free. Free things differ from picture to picture, so a trained model
chooses them by its seed; the judge accepts every choice.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from functools import cache

from scenes import Object, Scene, contrasts, distance, fits, random_object, random_scene, row_for
from words import (BACKGROUNDS, BETWEEN, COLOUR_WORDS, COLOURS, FILLERS, GROUND_WORDS, INSIDE, NUMBERS, ON_TOP, PATTERN_WORDS, PLACE_OF_CELL,
                   PLACE_WORDS, PLURALS, RELATIONS, SCENERY, SHAPE_WORDS, SIZE_WORDS, THINGS, TINY, words)

KNOWN_WORDS = frozenset(words())
T5_LENGTH = 40  # pieces with </s>; every word and every mark is one
# Backgrounds that come where none is asked for: light and calm.
UNSAID_BACKGROUNDS = {(name, pattern) for name in ("white", "cream", "blue", "green", "yellow", "pink", "purple") for pattern in ("plain", "gradient")}


@dataclass(frozen=True)
class Request:
    """A text and the scene that it was made for. `free` holds "background" or "objects", or what is open
    about each object: ("colour", 0) for the first one's colour, likewise "shape" and "place"."""

    text: str
    scene: Scene
    free: frozenset = frozenset()


@cache
def pieces_of(word: str) -> int:
    """An unknown word is one piece, but two where it begins with a known one."""
    known = KNOWN_WORDS
    return 1 if word in known or not any(word.startswith(k) for k in known) else 2


def pieces(text: str) -> int:
    """T5's pieces of a text without </s>."""
    return sum(map(pieces_of, re.findall(r"[\w'-]+|[^\w\s]", text.lower())))


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def pick(rng: random.Random, names, first: float = 0.7) -> str:
    """The usual word mostly, otherwise one of the others."""
    return names[0] if len(names) == 1 or rng.random() < first else rng.choice(names[1:])


# ---------------------------------------------------------------- one object


def noun_phrase(rng: random.Random, o: Object, with_size: bool = True, colour: bool = True, shape: bool = True) -> str:
    """`a red circle`, `a large red circle with a black outline`; medium is mostly left unsaid."""
    things = [word for word, (s, c) in THINGS.items() if (s, c) == (o.shape, o.colour)]
    if things and colour and shape and rng.random() < 0.1:
        words = [rng.choice(things)]
    else:
        words = [pick(rng, COLOUR_WORDS[o.colour], 0.8)] if colour else []
        words.append(pick(rng, SHAPE_WORDS[o.shape], 0.8) if shape else "shape")
    if with_size and o.size != TINY and (o.size != "medium" or rng.random() < 0.08):
        words.insert(0, pick(rng, SIZE_WORDS[o.size]))
    if o.outline and rng.random() < 0.2:
        words.insert(0, f"{o.outline} outlined")
        return f"{article(words[0])} {' '.join(words)}"
    tail = f" with a {o.outline} outline" if o.outline else ""
    return f"{article(words[0])} {' '.join(words)}{tail}"


def place_phrase(rng: random.Random, cell) -> str:
    word = rng.choice(PLACE_WORDS[PLACE_OF_CELL[cell]])
    side = " side" if word in ("left", "right") and rng.random() < 0.15 else ""
    return f"{rng.choice(('in', 'at', 'on') if word in ('left', 'right') else ('in', 'in', 'at'))} the {word}{side}"


def placed(rng: random.Random, phrase: str, cell) -> str:
    place = place_phrase(rng, cell)
    return f"{place} {phrase}" if rng.random() < 0.07 else f"{phrase} {place}"


# ---------------------------------------------------------------- the background


def background_phrase(rng: random.Random, name: str, pattern: str) -> str:
    scenery = [word for word, found in SCENERY.items() if found == (name, pattern)]
    if scenery and rng.random() < 0.1:
        return rng.choice((" in the {}", ", {}", " and the {}")).format(rng.choice(scenery))
    colour = pick(rng, GROUND_WORDS[name], 0.85)
    if pattern == "plain":
        colour = rng.choice(("plain ", "solid ")) + colour if rng.random() < 0.06 else colour
        return rng.choice((" on {a} {} background", " on {a} {} background", ", {} background", " on {}", " against {a} {} backdrop")).format(colour, a=article(colour))
    word = pick(rng, PATTERN_WORDS[pattern], 0.85)
    shapes = {"striped": " on {a} {} background with stripes", "dotted": " on {a} {} background with dots", "gradient": " on {a} {} gradient"}
    ways = (f" on a {word} {{}} background", f", {word} {{}} background", f" on {{a}} {{}} {word} background", shapes[pattern])
    return rng.choice(ways).format(colour, a=article(colour))


# ---------------------------------------------------------------- whole captions


def group_phrase(rng: random.Random, group: list[Object]) -> str:
    """One object, or one with another inside or on top of it. Groups come from back to front."""
    if len(group) == 1:
        return noun_phrase(rng, group[0])
    under, above = (noun_phrase(rng, o, with_size=False) for o in group)
    relation = INSIDE if group[1].size == TINY else ON_TOP
    if rng.random() < 0.2:
        return f"{under} with {above} {'inside' if relation == INSIDE else 'on top'}"
    return f"{above} {pick(rng, (relation, 'in' if relation == INSIDE else 'on'), 0.85)} {under}"


def joined(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def one_object(rng: random.Random, o: Object) -> tuple[str, set]:
    free = set()
    colour, shape = rng.random() >= 0.08, rng.random() >= 0.04
    if not colour and not o.outline:
        free.add(("colour", 0))
    if not shape:
        free.add(("shape", 0))
    text = noun_phrase(rng, o, colour=("colour", 0) not in free, shape=shape)
    if rng.random() < 0.05:
        return text + " somewhere", free | {("place", 0)}
    if o.cell != (1, 1) or rng.random() < 0.3:
        text = placed(rng, text, o.cell)
    return text, free


def objects_phrase(rng: random.Random, scene: Scene) -> tuple[str, set]:
    objects, layout = list(scene.objects), scene.layout
    if len(objects) == 1:
        return one_object(rng, objects[0])
    if layout == "same":
        first = objects[0]
        plural = PLURALS[first.shape]
        size = pick(rng, SIZE_WORDS[first.size]) + " " if first.size != "medium" else ""
        tail = f" with {first.outline} outlines" if first.outline else ""
        return f"{NUMBERS[len(objects)]} {size}{pick(rng, COLOUR_WORDS[first.colour], 0.8)} {plural}{tail}", set()
    if layout == "list":
        return joined([noun_phrase(rng, o) for o in objects]), set()
    if layout in RELATIONS and rng.random() < 0.85:
        other = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
        first, second = objects
        if rng.random() < 0.4:
            layout, first, second = other[layout], second, first
        ways = {"left of": ("left of", "to the left of"), "right of": ("right of", "to the right of"), "above": ("above", "over"), "below": ("below", "under", "beneath")}
        return f"{noun_phrase(rng, first)} {pick(rng, ways[layout])} {noun_phrase(rng, second)}", set()
    if layout == BETWEEN and rng.random() < 0.9:
        middle, one, two = (noun_phrase(rng, o) for o in objects)
        return f"{middle} between {one} and {two}", {("orientation", 0)}
    groups = [[o for o in objects if o.cell == cell] for cell in dict.fromkeys(o.cell for o in objects)]
    if len(groups) == 1 and groups[0][0].cell == (1, 1):
        return group_phrase(rng, groups[0]), set()
    rng.shuffle(groups)
    return joined([placed(rng, group_phrase(rng, group), group[0].cell) for group in groups]), set()


def around(rng: random.Random, text: str) -> str:
    """The same with an opening, or with words that mean nothing here."""
    chance, filler = rng.random(), lambda count: " ".join(rng.choice(FILLERS) for _ in range(count))
    if chance < 0.14:
        return rng.choice(("draw", "paint", "show me", "a picture of", "a drawing of", "an image of", "please draw")) + " " + text
    if chance < 0.20:
        return f"a {filler(rng.randint(1, 3))} of {text}"
    if chance < 0.30:
        return f"{text}, {filler(rng.randint(1, 5))}"
    return text


def caption(rng: random.Random, scene: Scene) -> Request:
    """One of the ways to say a scene, at most T5_LENGTH pieces."""
    while True:
        text, free = objects_phrase(rng, scene)
        if (scene.background, scene.pattern) in UNSAID_BACKGROUNDS and rng.random() < 0.35:
            free.add("background")
        else:
            text += background_phrase(rng, scene.background, scene.pattern)
        text = around(rng, text)
        if pieces(text) < T5_LENGTH:
            return Request(text, scene, frozenset(free))


def loose_request(rng: random.Random, width: int = 256, height: int = 256) -> Request:
    """A long description in words of which few or none are known, and the scene made from those."""
    while True:
        count = rng.choices((0, 1, 2, 3), weights=(25, 40, 25, 10))[0]
        free, chosen = set(), rng.sample(tuple(THINGS), count)
        ground = rng.choice(tuple(SCENERY)) if rng.random() < (0.65 if count else 0.35) else None
        if ground is None:
            background, pattern = rng.choice(sorted(UNSAID_BACKGROUNDS))
            free.add("background")
        else:
            background, pattern = SCENERY[ground]
        objects, said = [], []
        for word, cell in zip(chosen, row_for(max(count, 1), width, height)):
            shape, colour = THINGS[word]
            if rng.random() < 0.2:
                colour = rng.choice(tuple(COLOURS))
                word = f"{pick(rng, COLOUR_WORDS[colour])} {word}"
            objects.append(Object(shape, colour, "large" if count == 1 else "medium", cell))
            said.append(word)
        if not count:
            objects = [random_object(rng, cell, "large") for cell in row_for(rng.choice((1, 1, 2)), width, height)]
            free.add("objects")
        objects = [o if "objects" in free or contrasts(o.colour, background, pattern) else replace(o, outline="black" if sum(BACKGROUNDS[background]) > 330 else "white")
                   for o in objects]
        scene = Scene(background, pattern, tuple(objects), width, height, "list")
        text = loosely(rng, said + ([ground] if ground else []))
        if loosely_fits(scene) and pieces(text) < T5_LENGTH:
            return Request(text, scene, frozenset(free))


def loosely_fits(scene: Scene) -> bool:
    """As `fits`, but an outline makes up for a colour that the background hides."""
    outlined = [replace(o, colour="red" if index else "purple", outline=None) if o.outline and not contrasts(o.colour, scene.background, scene.pattern) else o
                for index, o in enumerate(scene.objects)]
    different = len({(o.shape, o.colour) for o in scene.objects}) == len(scene.objects)
    shows = all(o.outline is None or distance(COLOURS[o.outline], BACKGROUNDS[scene.background]) >= 72 and o.outline != o.colour for o in scene.objects)
    spaced = fits(replace(scene, background="white", pattern="plain", objects=tuple(replace(o, colour=c, outline=None) for o, c in zip(outlined, ("red", "blue", "green", "purple")))))
    return different and shows and spaced and all(o.outline or contrasts(o.colour, scene.background, scene.pattern) for o in scene.objects)


def loosely(rng: random.Random, known: list[str]) -> str:
    """The known words in their order, with unknown and small ones between."""
    between = lambda most: [rng.choice(("a", "the", "in", "of", "and", "with", ",") if rng.random() < 0.35 else FILLERS) for _ in range(rng.randint(0, most))]
    words = [rng.choice(FILLERS)] + between(5)
    for word in known:
        words += between(3) + [rng.choice(("a", "the", "")), word] + between(3)
    words += between(10)
    return re.sub(r"\s+,", ",", " ".join(" ".join(words).split())).strip(", ")


def as_typed(rng: random.Random, sentence: str) -> str:
    """Sometimes a capital in front and a full stop behind."""
    if sentence and rng.random() < 0.2:
        sentence = sentence[0].upper() + sentence[1:]
    return sentence + "." if sentence and rng.random() < 0.15 and pieces(sentence) < T5_LENGTH - 1 else sentence


def random_request(rng: random.Random, width: int = 256, height: int = 256, count: int | None = None, loose: float = 0.1) -> Request:
    if rng.random() < loose:
        return loose_request(rng, width, height)
    return caption(rng, random_scene(rng, count, width, height))
