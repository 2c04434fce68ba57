"""Where the recipe reads and writes."""

from pathlib import Path

RECIPE = Path(__file__).resolve().parent
NANO = RECIPE.parent
MODEL = NANO / "model"
FIGURES = NANO / "figures.json"
SAMPLES = NANO / "samples.png"
WORK = NANO.parent.parent / "work" / "nano"  # checkpoints and logs, not in the repository
