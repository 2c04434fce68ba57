"""Writes the golden files. `python make.py [CASE …]`; see README.md."""

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

import language
import models
import parts
import runs
import recording
import vision
from cases import CASES, Case

OUTPUT = Path(__file__).resolve().parents[2] / "crates/flux/tests/golden"

PROMPTS = ["a red circle left of a blue square", "It's 7 naïve 漢字 stars 🙂 — swap the two colours!"]


def write_case(case: Case, seed: int) -> None:
    """Writes one model, its block-by-block traces and its runs."""
    directory = OUTPUT / case.name
    shutil.rmtree(directory, ignore_errors=True)
    models.save_pipeline(case, directory / "model", seed)
    settings = dict(name=f"golden-{case.name}", native_area=case.native_area, max_sequence_length=case.runs[0].max_sequence_length)
    (directory / "model/tintype.json").write_text(json.dumps(settings, indent=2) + "\n")
    pipeline = models.open_pipeline(case, directory / "model")
    save_file(recording.trace_t5(pipeline, PROMPTS, 20), directory / "t5.safetensors")
    save_file(recording.trace_clip(pipeline, PROMPTS), directory / "clip.safetensors")
    transformer = recording.trace_transformer(pipeline.transformer, 2, (3, 5), (2, 4) if case.kontext else None, seed + 40)
    save_file(transformer, directory / "mmdit.safetensors")
    save_file(recording.trace_vae(pipeline.vae, 2, case.vae_trace, seed + 50), directory / "vae.safetensors")
    for run in case.runs:
        save_file(runs.run_pipeline(case, pipeline, run), directory / f"run_{run.name}.safetensors")
    description = [dataclasses.asdict(run) for run in case.runs]
    (directory / "runs.json").write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n")


def main() -> None:
    """Parses the arguments and writes what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="names of cases; all by default")
    wanted = parser.parse_args().cases
    torch.set_num_threads(1)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for index, case in enumerate(CASES):
        if not wanted or case.name in wanted:
            write_case(case, 1000 * (index + 1))
            print(case.name)
    for name, write in {**parts.PARTS, "language": language.write}.items():
        if not wanted or name in wanted:
            write(OUTPUT)
            print(name)
    if not wanted or "vision" in wanted:
        vision.write()
        print("vision")


if __name__ == "__main__":
    main()
