"""What the program knows of the language: the words with their meanings, written into the exported folder as language.json.

    python crates/nano/recipe/spoken.py    # the files that the program's tests read

`tintype nano explain` and the upsampler read a text by these tables alone. The tests' sentences are the recipe's own, each with what it says.
"""

from __future__ import annotations

import json
import random

from paths import NANO
from captions import T5_LENGTH, random_request
from edits import random_edit
from scenes import COUNTS, GAP, MARGIN, SQUARE, contrasts
from words import (BACKGROUNDS, COLOUR_WORDS, COLOURS, GROUND_WORDS, PATTERN_WORDS, PATTERNS, PLACE_OF_CELL, PLACE_WORDS, PLURALS, SCENERY, SHAPE_WORDS,
                   SIZE_WORDS, SIZES, THINGS, TINY)

GOLDEN = NANO / "src" / "explain" / "sentences.json"
COUNT = 150


def language() -> dict:
    """Names of everything, each with all the words for it."""
    relations = {"left of": ["left of", "to the left of"], "right of": ["right of", "to the right of"], "above": ["above", "over"],
                 "below": ["below", "under", "beneath"], "between": ["between"], "inside": ["inside"], "on top of": ["on top of", "on top"]}
    edits = {"recolour": ["make", "change", "turn", "color", "recolor", "paint"], "remove": ["remove", "delete", "erase", "take away"],
             "add": ["add", "put", "draw", "place"], "replace": ["replace", "swap"], "move": ["move", "shift"], "resize": ["shrink", "enlarge"], "background": ["set"]}
    unique = lambda table: {name: list(dict.fromkeys(words)) for name, words in table.items()}
    return {
        "shapes": {shape: [*words, *(w for w in (PLURALS[shape],))] for shape, words in SHAPE_WORDS.items()}, "colours": unique(COLOUR_WORDS),
        "backgrounds": unique(GROUND_WORDS), "patterns": {"plain": ["plain", "solid"], **PATTERN_WORDS} | {
            "striped": [*PATTERN_WORDS["striped"], "stripes"], "dotted": [*PATTERN_WORDS["dotted"], "polka", "dots"]},
        "sizes": {"small": [*SIZE_WORDS["small"], "smaller"], "medium": list(SIZE_WORDS["medium"]), "large": [*SIZE_WORDS["large"], "larger", "bigger"]},
        "places": unique(PLACE_WORDS), "relations": relations, "edits": edits,
        "things": {word: f"{colour} {shape}" for word, (shape, colour) in THINGS.items()},
        "scenery": {word: f"{pattern} {name}" for word, (name, pattern) in SCENERY.items()},
        "choices": choices(),
    }


def choices() -> dict:
    """What the upsampler must know to choose what a text leaves open."""
    hidden = {ground: [colour for colour in COLOURS if not all(contrasts(colour, ground, pattern) for pattern in PATTERNS)] for ground in BACKGROUNDS}
    return {"radius": SIZES, "pitch": SQUARE[0] // 2 - MARGIN, "gap": GAP, "hidden": {ground: names for ground, names in hidden.items() if names},
            "most_objects": max(COUNTS), "most_pieces": T5_LENGTH - 1}


def said(o, free, index: int) -> dict:
    """What is certain about an object whatever way it is said."""
    return {"shape": None if ("shape", index) in free else o.shape, "colour": None if ("colour", index) in free else o.colour,
            "size": o.size if o.size in ("small", "large") else None, "outline": o.outline}


def picture(rng: random.Random) -> dict:
    while True:
        request = random_request(rng, loose=0)
        scene, free = request.scene, request.free
        objects = scene.objects[:1] if scene.layout == "same" else scene.objects
        # Sizes of what is inside or on top of something are a matter of rule.
        grouped = any(a.cell == b.cell for i, a in enumerate(objects) for b in objects[i + 1:])
        facts = [said(o, free, i) | ({"size": None} if o.size == TINY or grouped else {}) for i, o in enumerate(objects)]
        ground = None if "background" in free else [scene.background, scene.pattern]
        return {"text": request.text, "objects": facts, "background": ground}


def instruction(rng: random.Random) -> dict:
    while True:
        edit = random_edit(rng)
        if edit.kind == "keep":
            continue
        places = [PLACE_OF_CELL[o.cell] if kind in ("add", "move") else None for kind, a, b in edit.changes for o in (*(set(b.objects) - set(a.objects)), None)[:1] if o or kind in ("background", "remove")]
        return {"text": edit.instruction, "kinds": [kind for kind, _, _ in edit.changes], "places": places}


if __name__ == "__main__":
    rng = random.Random(7)
    found = {"pictures": [picture(rng) for _ in range(COUNT)], "edits": [instruction(rng) for _ in range(COUNT)]}
    GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
