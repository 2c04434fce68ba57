"""What is judged: held-out requests and edits, always the same. And the judge judged by drawn pictures.

    python crates/nano/recipe/judged.py [count]
"""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from dataclasses import asdict

from captions import Request, caption, loose_request
from draw import draw
from edits import Edit, random_edit
from judge_picture import read
from scenes import held_out, random_format, random_scene
from words import COLOUR_WORDS, COLOURS, EDITS, KEEP, SHAPE_WORDS, SHAPES, TWO

FIRST_SHAPES, FIRST_COLOURS = SHAPES[:6], tuple(COLOURS)[:8]
FIRST_BACKGROUNDS = ("white", "black", "gray", "cream", "navy", "green")


def held_out_requests(count: int, seed: int = 1, size=None) -> list[Request]:
    """Captions of scenes that are never trained on: 40 % square, the others of every format."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        scene = random_scene(rng, None, *(size or random_format(rng)))
        if held_out(scene):
            found.append(caption(rng, scene))
    return found


def held_out_edits(count: int, seed: int = 2, size=None) -> list[Edit]:
    """Edits whose target scenes are never trained on; the kinds take turns, two at once and impossible ones among them."""
    rng, found, kinds = random.Random(seed), [], (*EDITS, TWO, KEEP)
    while len(found) < count:
        edit = random_edit(rng, *(size or random_format(rng)), kind=kinds[len(found) % len(kinds)])
        if held_out(edit.target):
            found.append(edit)
    return found


def first_requests(count: int, seed: int = 6) -> list[Request]:
    """Held-out requests of what the first version knew: square, one to three of six shapes without outlines, each with its own place."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        scene = random_scene(rng, (1, 2, 1, 2, 3)[len(found) % 5], grouped=False)
        known = scene.background in FIRST_BACKGROUNDS and scene.pattern == "plain" and all(
            o.shape in FIRST_SHAPES and o.colour in FIRST_COLOURS and o.outline is None for o in scene.objects)
        if known and held_out(scene):
            found.append(caption(rng, scene))
    return found


def loose_requests(count: int, seed: int = 3) -> list[Request]:
    """Descriptions in mostly unknown words."""
    rng = random.Random(seed)
    return [loose_request(rng, *random_format(rng)) for _ in range(count)]


def named_by(edit: Edit) -> str:
    """What an edit's instruction says of the thing it means, where the picture shows several: shape, colour or both."""
    gone = [o for o in edit.source.objects if o not in edit.target.objects]
    if len(edit.changes) != 1 or len(edit.source.objects) < 2 or not gone:
        return "other edits"
    said = set(re.findall(r"[\w-]+", edit.instruction.lower()))
    told = [name for name, words in (("colour", COLOUR_WORDS[gone[0].colour]), ("shape", SHAPE_WORDS[gone[0].shape])) if said & set(words)]
    return " and ".join(told)


def wanted(edit: Edit) -> Request:
    return Request(edit.instruction, edit.target)


def asked_of_the_judge(count: int) -> list[Request]:
    return held_out_requests(count) + [wanted(edit) for edit in held_out_edits(count // 4)]


def drawn_targets(count: int, through=lambda picture: picture) -> dict:
    """The share of drawn held-out targets that pass, after `through` was done to each picture; what was wrong with the others."""
    asked = asked_of_the_judge(count)
    verdicts = [read(through(draw(r.scene)), r) for r in asked]
    wrong = Counter(name for v in verdicts for name, right in asdict(v).items() if not right)
    return {"drawn": sum(v.everything for v in verdicts) / len(asked), "wrong": dict(wrong), "failed": [r.text for r, v in zip(asked, verdicts) if not v.everything]}


def shuffled_targets(count: int) -> float:
    """The share that pass of drawings of the next scene of the same size, which should not."""
    asked, passed = asked_of_the_judge(count), []
    for index, r in enumerate(asked):
        other = next((x for x in asked[index + 1:] + asked[:index] if (x.scene.width, x.scene.height) == (r.scene.width, r.scene.height) and x.scene != r.scene), None)
        if other:
            passed.append(read(draw(other.scene), r).everything)
    return sum(passed) / max(len(passed), 1)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    for name, value in (drawn_targets(count) | {"shuffled": shuffled_targets(count)}).items():
        print(name, value)
