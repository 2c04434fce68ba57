"""Where this recipe reads and writes, and the parts that it shares with the shipped version's recipe."""

import os
import subprocess
import sys
from pathlib import Path

RECIPE = Path(__file__).resolve().parent
NANO = RECIPE.parent
sys.path.append(str(NANO / "recipe"))  # muon.py, parallel.py and velocity.py are the same; a name here goes first


def _repository() -> Path:
    """The main checkout, so that every working tree shares one folder of checkpoints."""
    asked = ["git", "-C", str(RECIPE), "rev-parse", "--path-format=absolute", "--git-common-dir"]
    try:
        return Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()).parent
    except (OSError, subprocess.CalledProcessError):
        return NANO.parent.parent


# Checkpoints, logs and the exported folder, not in the repository; another folder serves trials.
WORK = Path(os.environ.get("NANO_WORK", _repository() / "work" / "nano2"))
MODEL = WORK / "model"
FIGURES = WORK / "figures.json"
