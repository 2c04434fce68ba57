"""Draws, trains every stage, judges and exports: `python crates/nano/recipe/train.py`, again after any interruption.

Each stage goes on from its last checkpoint in work/nano/ (vae.pt, text.pt, diffusion.pt) and does nothing where it is
finished. `--export` only exports the last checkpoints. Remove work/nano/ to begin anew.
"""

from __future__ import annotations

import argparse
import json

import diffusion
import export
import judge
import text
import vae
from paths import FIGURES, SAMPLES, WORK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export", action="store_true", help="export the last checkpoints, train nothing")
    parser.add_argument("--count", type=int, default=400, help="held-out pictures and edits to judge; 0 judges none")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    if not options.export:
        vae.train()
        text.train()
        diffusion.train()
    export.save(text.load(), vae.load(), diffusion.load())
    if options.count:
        found = judge.figures(count=options.count)
        print(json.dumps(found, indent=2))
        FIGURES.write_text(json.dumps(found, indent=2) + "\n")
        judge.sample_sheet(judge.exported()).save(SAMPLES, optimize=True)


if __name__ == "__main__":
    main()
