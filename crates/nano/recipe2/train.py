"""Trains every stage, exports and judges: `python crates/nano/recipe2/train.py`, again after any interruption.

Each stage goes on from its last checkpoint in work/nano2/ (vae.pt, text.pt, diffusion.pt, decoder.pt) and does nothing where it
is finished; finished stages that the repository keeps (kept.py) are taken from there. `--export` only exports the last checkpoints. Remove work/nano2/ to begin anew.
"""

from __future__ import annotations

import argparse
import json

from paths import FIGURES, WORK
import decoder
import diffusion
import export
import judge
import kept
import text
import vae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--export", action="store_true", help="export the last checkpoints, train nothing")
    parser.add_argument("--count", type=int, default=400, help="held-out pictures and edits to judge; 0 judges none")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    if not options.export:
        kept.restore()
        for name, stage in (("vae", vae), ("text", text)):
            if not kept.finished(name):
                stage.train()
        diffusion.train()
        if not kept.finished("decoder"):
            decoder.train()
    export.save(text.load(), decoder.load(), diffusion.load())
    if options.count:
        found = judge.figures(judge.exported, options.count)
        print(json.dumps(found, indent=2))
        FIGURES.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
