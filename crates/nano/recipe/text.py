"""Stage 2: the text encoders, taught to name what a sentence says before any picture is drawn.

T5 (token states for the transformer) and CLIP (one pooled state for its modulation) learn with throw-away heads.
T5's heads ask as the transformer will: nine queries, one a place, look at the token states once and must name shape,
colour and size of what stands there; eight more ask for the background and for the parts of an edit. So a noun's
token comes to carry its object's colour, size and place. Through the diffusion loss alone this takes an hour; here
it takes minutes. Afterwards the encoders stay as they are.
"""

from __future__ import annotations

import random
import time

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from language import BACKGROUNDS, COLOURS, EDITS, PLACE_OF_CELL, SHAPES, SIZES, Edit, Scene, caption, held_out, random_edit, random_scene, random_size
from parallel import Trainer, fill, run
from paths import WORK
from tokenizer_files import CLIP_LENGTH, T5_LENGTH, clip_tokenizer, t5_tokenizer

STEPS, BATCH, RATE = 400, 64, 4e-3  # the batch is each rank's
CHECKPOINT = WORK / "text.pt"
CELLS = tuple(PLACE_OF_CELL)
KINDS = ("picture", *EDITS)
# What is asked of every sentence, with the number of answers; answer 0 is "not said".
QUESTIONS = {
    "kind": len(KINDS), "background": 1 + len(BACKGROUNDS), "old_shape": 1 + len(SHAPES), "old_colour": 1 + len(COLOURS),
    "new_shape": 1 + len(SHAPES), "new_colour": 1 + len(COLOURS), "new_size": 1 + len(SIZES), "new_cell": 1 + len(CELLS),
}
# What is asked of every place of a picture; answer 0 of the shape is "nothing".
CELL_QUESTIONS = {"shape": 1 + len(SHAPES), "colour": len(COLOURS), "size": len(SIZES)}
UNKNOWN = -100


def t5(vocabulary: int) -> T5EncoderModel:
    return T5EncoderModel(T5Config(
        vocab_size=vocabulary, d_model=128, d_kv=32, d_ff=256, num_layers=3, num_heads=4, feed_forward_proj="gated-gelu",
        relative_attention_num_buckets=32, relative_attention_max_distance=64, dropout_rate=0.0, is_encoder_decoder=False,
        use_cache=False, tie_word_embeddings=False, pad_token_id=0, eos_token_id=1))


def clip(vocabulary: int) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=256, projection_dim=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=CLIP_LENGTH, hidden_act="quick_gelu",
        bos_token_id=vocabulary - 2, eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1))


@torch.no_grad()
def look_nearby(encoder: T5EncoderModel) -> None:
    """Starts the four heads as one that looks back, one that looks ahead, one that looks around and one free.

    What belongs together stands together in a sentence; without this start, binding colours and places to the
    right noun is what the encoder is slowest to learn.
    """
    attention = encoder.encoder.block[0].layer[0].SelfAttention
    offsets = torch.arange(-T5_LENGTH, T5_LENGTH + 1)  # key position - query position
    buckets = attention._relative_position_bucket(offsets, True, 32, attention.relative_attention_max_distance)
    for offset, bucket in zip(offsets.tolist(), buckets.tolist()):
        near = -0.6 * abs(offset)
        attention.relative_attention_bias.weight[bucket] = torch.tensor(
            [near if offset < 0 else -6.0, near if offset > 0 else -6.0, near, 0.0])


class Reader(nn.Module):
    """The throw-away heads: one look at T5's token states a question, one linear layer on CLIP's pooled state."""

    def __init__(self, width: int = 128, pooled: int = 64, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.cell_queries = nn.Parameter(torch.randn(len(CELLS), width))
        self.queries = nn.Parameter(torch.randn(len(QUESTIONS), width))
        self.keys, self.values = nn.Linear(width, width), nn.Linear(width, width)
        self.cell_answers = nn.ModuleDict({name: nn.Linear(width, count) for name, count in CELL_QUESTIONS.items()})
        self.answers = nn.ModuleDict({name: nn.Linear(width, count) for name, count in QUESTIONS.items()})
        self.pooled_answers = nn.ModuleDict({name: nn.Linear(pooled, count) for name, count in QUESTIONS.items()})

    def look(self, queries, states):
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)  # (..., heads, tokens, width / heads)
        scores = split(queries) @ split(self.keys(states)).transpose(-1, -2) / (states.shape[-1] / self.heads) ** 0.5
        return (scores.softmax(-1) @ split(self.values(states))).transpose(-3, -2).flatten(-2)

    def forward(self, states, pooled):
        """(batch, tokens, 128), (batch, 64) -> logits: cells {(batch, 9, n)}, sentence {(batch, n)}, pooled {(batch, n)}."""
        cells, sentence = self.look(self.cell_queries, states), self.look(self.queries, states)
        return ({name: layer(cells) for name, layer in self.cell_answers.items()},
                {name: layer(sentence[:, index]) for index, (name, layer) in enumerate(self.answers.items())},
                {name: layer(pooled) for name, layer in self.pooled_answers.items()})


class Encoders(nn.Module):
    """Both text encoders with their tokenizers."""

    def __init__(self):
        super().__init__()
        self.t5_tokenizer, self.clip_tokenizer = t5_tokenizer(), clip_tokenizer()
        self.t5, self.clip = t5(len(self.t5_tokenizer)), clip(len(self.clip_tokenizer))
        look_nearby(self.t5)

    def forward(self, sentences: list[str]):
        """-> token states (batch, 32, 128) and pooled states (batch, 64)."""
        ids = lambda tokenizer, length: tokenizer(
            sentences, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
        return (self.t5(ids(self.t5_tokenizer, T5_LENGTH)).last_hidden_state,
                self.clip(ids(self.clip_tokenizer, CLIP_LENGTH)).pooler_output)


def as_typed(rng: random.Random, sentence: str) -> str:
    """Sometimes a capital in front and a full stop behind."""
    if rng.random() < 0.2:
        sentence = sentence[0].upper() + sentence[1:]
    return sentence + "." if rng.random() < 0.15 else sentence


def picture_answers(scene: Scene) -> dict:
    at = {o.cell: o for o in scene.objects}
    return {"kind": 0, "background": 1 + list(BACKGROUNDS).index(scene.background), "cells": {
        "shape": [1 + SHAPES.index(at[cell].shape) if cell in at else 0 for cell in CELLS],
        "colour": [list(COLOURS).index(at[cell].colour) if cell in at else UNKNOWN for cell in CELLS],
        "size": [list(SIZES).index(at[cell].size) if cell in at else UNKNOWN for cell in CELLS]}}


def edit_answers(edit: Edit) -> dict:
    answers = {name: 0 for name in QUESTIONS} | {"kind": KINDS.index(edit.kind)}
    old, new = set(edit.source.objects), set(edit.target.objects)
    if edit.kind == "background":
        answers["background"] = 1 + list(BACKGROUNDS).index(edit.target.background)
    for o in old - new:
        answers["old_shape"] = 1 + SHAPES.index(o.shape)
        if f"the {o.colour} {o.shape}" in edit.instruction:
            answers["old_colour"] = 1 + list(COLOURS).index(o.colour)
    for o in new - old:
        if edit.kind in ("add", "replace"):
            answers["new_shape"] = 1 + SHAPES.index(o.shape)
        if edit.kind in ("add", "recolour"):
            answers["new_colour"] = 1 + list(COLOURS).index(o.colour)
        if edit.kind in ("add", "resize"):
            answers["new_size"] = 1 + list(SIZES).index(o.size)
        if edit.kind in ("add", "move"):
            answers["new_cell"] = 1 + CELLS.index(o.cell)
    return answers


def batch(rng: random.Random, count: int, judged: bool = False):
    """Sentences and their answers; only held-out scenes where `judged`, never any otherwise."""
    sentences, answers = [], []
    while len(sentences) < count:
        width, height = random_size(rng)
        if rng.random() < 0.6:
            scene = random_scene(rng, rng.choice((1, 2, 2, 3)), width, height)
            if held_out(scene) == judged:
                sentences.append(as_typed(rng, caption(rng, scene)))
                answers.append(picture_answers(scene))
        else:
            edit = random_edit(rng, rng.choice((1, 2)), width, height)
            if held_out(edit.target) == judged:
                sentences.append(as_typed(rng, edit.instruction))
                answers.append(edit_answers(edit))
    nothing = {name: [UNKNOWN] * len(CELLS) for name in CELL_QUESTIONS}
    cells = {name: torch.tensor([a.get("cells", nothing)[name] for a in answers]) for name in CELL_QUESTIONS}
    return sentences, cells, {name: torch.tensor([a.get(name, UNKNOWN) for a in answers]) for name in QUESTIONS}


def losses(logits, cells, answers) -> torch.Tensor:
    entropy = lambda x, y: nn.functional.cross_entropy(x.flatten(0, -2), y.flatten(), ignore_index=UNKNOWN)
    return (sum(entropy(logits[0][name], cells[name]) for name in CELL_QUESTIONS) * 2
            + sum(entropy(logits[1][name], answers[name]) for name in QUESTIONS)
            + 0.5 * sum(entropy(logits[2][name], answers[name]) for name in QUESTIONS))


@torch.no_grad()
def figures(encoders: Encoders, reader: Reader, seed: int = 3, count: int = 400) -> dict[str, float]:
    """Shares of held-out sentences answered right: whole pictures, whole edits, each question of T5, CLIP's mean."""
    sentences, cells, answers = batch(random.Random(seed), count, judged=True)
    in_cells, in_sentence, in_pooled = reader(*encoders(sentences))
    picture = answers["kind"] == 0
    right = lambda x, y: (x.argmax(-1) == y) | (y == UNKNOWN)
    found = {f"cell {name}": (x.argmax(-1) == cells[name])[cells[name] > 0].float().mean().item() for name, x in in_cells.items()}
    every_cell = torch.stack([right(x, cells[name]).all(-1) for name, x in in_cells.items()]).all(0)
    every = torch.stack([right(x, answers[name]) for name, x in in_sentence.items()]).all(0)
    found["background"] = right(in_sentence["background"], answers["background"]).float().mean().item()
    found["whole pictures"] = (every & every_cell)[picture].float().mean().item()
    found["whole edits"] = every[~picture].float().mean().item()
    found["pooled"] = torch.stack([right(x, answers[name]).float().mean() for name, x in in_pooled.items()]).mean().item()
    return found


def worker(trainer: Trainer, steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    model = nn.ModuleDict({"encoders": Encoders(), "reader": Reader()})
    is_matrix = lambda name, p: p.ndim == 2 and not any(part in name for part in ("embed", "shared", "bias", "queries", "answers"))
    trainer.adopt(model.named_parameters(), is_matrix)
    start, began = trainer.load(CHECKPOINT), time.time()
    for step in range(start, steps):
        sentences, cells, answers = batch(random.Random(f"text {seed} {step} {trainer.rank}"), BATCH)
        loss = losses(model["reader"](*model["encoders"](sentences)), cells, answers)
        trainer.zero_grad()
        loss.backward()
        trainer.step(RATE * min(1, (step + 1) / 50, 1.5 * (1 - step / steps)))
        if trainer.rank == 0 and ((step + 1) % 100 == 0):
            shown = " ".join(f"{name} {share:.3f}" for name, share in figures(model["encoders"], model["reader"]).items())
            print(f"text {step + 1} loss {loss:.4f} {shown} {time.time() - began:.0f} s", flush=True)
        if (step + 1) % 200 == 0 or step == steps - 1:
            trainer.save(CHECKPOINT, step + 1)


def fresh() -> nn.ModuleDict:
    return nn.ModuleDict({"encoders": Encoders(), "reader": Reader()})


def train(steps: int = STEPS, seed: int = 21) -> Encoders:
    """Trains from the last checkpoint, or from scratch."""
    run(worker, sum(p.numel() for p in fresh().parameters()), steps, seed)
    return load()


def load() -> Encoders:
    model = fresh()
    fill(model.named_parameters(), torch.load(CHECKPOINT)["parameters"])
    return model["encoders"].eval()


if __name__ == "__main__":
    WORK.mkdir(parents=True, exist_ok=True)
    train()
