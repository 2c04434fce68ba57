"""Where the recipe reads and writes."""

import os
from pathlib import Path

RECIPE = Path(__file__).resolve().parent
NANO = RECIPE.parent
MODEL = NANO / "model"
FIGURES = NANO / "figures.json"
SAMPLES = NANO / "samples.png"
README = NANO / "README.md"
# Checkpoints and logs, not in the repository; another folder serves trials.
WORK = Path(os.environ.get("NANO_WORK", NANO.parent.parent / "work" / "nano"))
