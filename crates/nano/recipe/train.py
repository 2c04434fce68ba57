"""Draws, trains every stage, exports and judges: `python crates/nano/recipe/train.py`, again after any interruption.

Each stage goes on from its last checkpoint in work/nano/ (vae.pt, text.pt, diffusion.pt, decoder.pt) and does nothing where it
is finished. `--export` only exports the last checkpoints. Remove work/nano/ to begin anew.
"""

from __future__ import annotations

import argparse

import decoder
import diffusion
import export
import judge
import text
import vae
from paths import WORK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export", action="store_true", help="export the last checkpoints, train nothing")
    parser.add_argument("--count", type=int, default=400, help="held-out pictures and edits to judge; 0 judges none")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    if not options.export:
        for stage in (vae, text, diffusion, decoder):
            stage.train()
    export.save(text.load(), decoder.load(), diffusion.load())
    if options.count:
        judge.publish(judge.all_figures(judge.exported, options.count))


if __name__ == "__main__":
    main()
