"""The README's figures, written from figures.json, so that what it states is what the judge printed.

    python crates/nano/recipe/stated.py
"""

from __future__ import annotations

import json

from paths import FIGURES, README

BEGIN, END = "<!-- figures: written by recipe/stated.py -->", "<!-- end of figures -->"


def row(name: str, found: dict) -> str:
    return f"| {name} | " + " | ".join(f"{right:.1f}" for right in found.values()) + " |"


def share(told: str) -> str:
    """`79.5 of 400` -> `79.5`"""
    return told.split(" of ")[0]


def shares(groups: dict[str, str]) -> str:
    return ", ".join(f"{name} {share(told)}" for name, told in groups.items())


def text(found: dict) -> str:
    """The figures as Markdown."""
    counts = found["by number of objects"]
    formats = "; ".join(f"{size.replace(' x ', ' × ')} {v['prompts']:.0f} and {v['edits']:.0f}" for size, v in found["by size"].items())
    forms, edit_forms = found["by format"], found["edits by format"]
    judge = found["judge"]
    return f"""\
Judged on {found["pictures"]} held-out prompts and {found["edits"]} held-out edits, {found["steps"]} steps, true CFG {found["true cfg"]}, exported bf16 weights computed in f32:

| right, in % | {" | ".join(found["prompts"])} |
|{" --- |" * (len(found["prompts"]) + 1)}
{row("prompts", found["prompts"])}
{row("edits (all of the target scene)", found["edits, by question"])}

- Prompts right with one / two / three / four objects: {" / ".join(share(counts[count]) for count in sorted(counts))} %. By what is fine: {shares(found["by detail"])} %.
  By layout: {shares(found["by layout"])} %. By background: {shares(found["by pattern"])} %. Long descriptions: {found["loose descriptions"]} %.
- Edits right by kind: {shares(found["edits by kind"])} %. By what is said of the one of several objects that is meant (in other edits there is no choice, or there are two): {shares(found["edits by what names the thing"])} %.
- Square {share(forms["square"])} % of prompts and {share(edit_forms["square"])} % of edits, other formats {share(forms["other"])} and {share(edit_forms["other"])} %.
  Each format ({found["of each size"]} prompts and {found["of each size"]} edits, in %): {formats}.
- Of prompts in the words of this model's first version (one to three of six shapes, eight colours, plain backgrounds, square) {share(found["first version's words"])} % are right.
- The judge passes {judge["drawn"]} % of drawn targets, {judge["shuffled"]} % of drawings of another scene, and {judge["vae reconstructions"]} % of targets that went through the VAE.
"""


def state() -> None:
    """Puts the figures of figures.json between the README's two marks."""
    before, mark, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    assert mark and after, f"{README.name} lacks its marks, {BEGIN} and {END}"
    README.write_text(f"{before}{BEGIN}\n{text(json.loads(FIGURES.read_text()))}{END}{after}")


if __name__ == "__main__":
    state()
