"""Stage 2: the text encoders, taught to name what a sentence says before any picture is drawn.

T5 (token states for the transformer) and CLIP (one pooled state for its modulation) learn with throw-away heads.
T5's heads ask as the transformer will: nine queries, one a place, look at the token states once and must name what
stands there; one query for each kind of change asks what changes into what; one more for the background. So a noun's
token comes to carry its object's colour, size, outline and place, also where the sentence leaves the place to a rule.
Sentences of which nothing can be known are among them. Afterwards the encoders stay as they are.
"""

from __future__ import annotations

import random
import time

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from paths import WORK
from captions import T5_LENGTH, Request, as_typed, random_request
from edits import KINDS, Edit, random_edit
from parallel import Trainer, fill, run
from scenes import COLUMN, ROW, held_out, random_format
from tokenizer_files import CLIP_LENGTH, clip_tokenizer, t5_tokenizer
from words import BACKGROUNDS, BETWEEN, CELLS, COLOUR_WORDS, COLOURS, EDITS, KEEP, OUTLINES, PATTERNS, RADIUS, SHAPE_WORDS, SHAPES, TINY

STEPS, BATCH, RATE = 4000, 64, 4e-3  # the batch is each rank's
WIDTH, POOLED = 128, 64
CHECKPOINT = WORK / "text.pt"
UNKNOWN = -100
COLOUR_NAMES, GROUND_NAMES, SIZE_NAMES = tuple(COLOURS), tuple(BACKGROUNDS), tuple(RADIUS)
GROUPS = ("alone", "inside", "on top")
CHANGES = tuple(kind for kind in EDITS if kind != "background")
# What is asked, with the number of answers. Answer 0 of shapes is "nothing", of backgrounds and patterns "not said".
OF_A_PLACE = {"shape": 1 + len(SHAPES), "colour": len(COLOURS), "size": len(RADIUS), "outline": 1 + len(OUTLINES), "group": len(GROUPS),
              "second shape": len(SHAPES), "second colour": len(COLOURS)}
OF_A_CHANGE = {"asked": 2, "old shape": len(SHAPES), "old colour": len(COLOURS), "new shape": len(SHAPES), "new colour": len(COLOURS),
               "new size": len(RADIUS), "new outline": 1 + len(OUTLINES), "new place": len(CELLS)}
OF_A_SENTENCE = {"kind": 1 + len(KINDS), "background": 1 + len(BACKGROUNDS), "pattern": 1 + len(PATTERNS)}


def t5(vocabulary: int) -> T5EncoderModel:
    return T5EncoderModel(T5Config(
        vocab_size=vocabulary, d_model=WIDTH, d_kv=32, d_ff=256, num_layers=4, num_heads=4, feed_forward_proj="gated-gelu",
        relative_attention_num_buckets=32, relative_attention_max_distance=64, dropout_rate=0.0, is_encoder_decoder=False,
        use_cache=False, tie_word_embeddings=False, pad_token_id=0, eos_token_id=1))


def clip(vocabulary: int) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=POOLED, intermediate_size=256, projection_dim=POOLED, num_hidden_layers=2,
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


class Heads(nn.ModuleDict):
    """One linear layer a question."""

    def __init__(self, width: int, questions: dict[str, int]):
        super().__init__({name: nn.Linear(width, count) for name, count in questions.items()})

    def forward(self, x):
        return {name: layer(x) for name, layer in self.items()}


class Reader(nn.Module):
    """The throw-away heads: one look at T5's token states a query, linear layers on it and on CLIP's pooled state."""

    def __init__(self, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(len(CELLS) + len(CHANGES) + 1, WIDTH))
        self.keys, self.values = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.place_answers, self.change_answers = Heads(WIDTH, OF_A_PLACE), Heads(WIDTH, OF_A_CHANGE)
        self.answers, self.pooled_answers = Heads(WIDTH, OF_A_SENTENCE), Heads(POOLED, OF_A_SENTENCE)

    def look(self, states):
        split = lambda x: x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)  # (..., heads, tokens, width / heads)
        scores = split(self.queries) @ split(self.keys(states)).transpose(-1, -2) / (WIDTH / self.heads) ** 0.5
        return (scores.softmax(-1) @ split(self.values(states))).transpose(-3, -2).flatten(-2)

    def forward(self, states, pooled):
        """(batch, tokens, 128), (batch, 64) -> logits of places {(batch, 9, n)}, changes {(batch, 6, n)}, sentence, pooled {(batch, n)}."""
        places, changes, sentence = self.look(states).split((len(CELLS), len(CHANGES), 1), 1)
        return self.place_answers(places), self.change_answers(changes), self.answers(sentence[:, 0]), self.pooled_answers(pooled)


class Encoders(nn.Module):
    """Both text encoders with their tokenizers."""

    def __init__(self):
        super().__init__()
        self.t5_tokenizer, self.clip_tokenizer = t5_tokenizer(), clip_tokenizer()
        self.t5, self.clip = t5(len(self.t5_tokenizer)), clip(len(self.clip_tokenizer))
        look_nearby(self.t5)

    def ids(self, sentences: list[str]):
        """-> T5's ids (batch, 40), CLIP's ids (batch, 64)."""
        of = lambda tokenizer, length: tokenizer(
            sentences, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
        return of(self.t5_tokenizer, T5_LENGTH), of(self.clip_tokenizer, CLIP_LENGTH)

    def states(self, t5_ids, clip_ids):
        """-> token states (batch, 40, 128) and pooled states (batch, 64)."""
        ends = (clip_ids == self.clip.config.eos_token_id).int().argmax(1)  # what follows is padding, and CLIP looks back only
        return self.t5(t5_ids).last_hidden_state, self.clip(clip_ids[:, :int(ends.max()) + 1]).pooler_output

    def forward(self, sentences: list[str]):
        return self.states(*self.ids(sentences))


# ---------------------------------------------------------------- questions and answers


def unanswered() -> dict:
    return {"places": {name: [UNKNOWN] * len(CELLS) for name in OF_A_PLACE}, "changes": {name: [UNKNOWN] * len(CHANGES) for name in OF_A_CHANGE},
            "sentence": dict.fromkeys(OF_A_SENTENCE, UNKNOWN)}


def outline_answer(o) -> int:
    return 1 + OUTLINES.index(o.outline) if o.outline else 0


def request_answers(request: Request) -> dict:
    """What is known of a picture. Lists and `between` are asked for as if the picture were wide: that is the transformer's to turn."""
    scene, free, answers = request.scene, request.free, unanswered()
    said = "background" not in free
    answers["sentence"] = {"kind": 0, "background": 1 + GROUND_NAMES.index(scene.background) if said else 0, "pattern": 1 + PATTERNS.index(scene.pattern) if said else 0}
    answers["changes"]["asked"] = [0] * len(CHANGES)
    if "objects" in free or ("place", 0) in free:
        return answers
    turned = scene.layout in ("list", "same") and len(scene.objects) in (2, 3) or scene.layout == BETWEEN
    upright = dict(zip(COLUMN, ROW)) if turned else {}
    places = answers["places"]
    places["shape"], places["group"] = [0] * len(CELLS), [UNKNOWN] * len(CELLS)
    seen = set()
    for o in scene.objects:
        place = CELLS.index(upright.get(o.cell, o.cell))
        if o.cell in seen:  # what is inside or on top comes second
            places["group"][place] = 1 if o.size == TINY else 2
            places["second shape"][place], places["second colour"][place] = SHAPES.index(o.shape), COLOUR_NAMES.index(o.colour)
            continue
        seen.add(o.cell)
        places["group"][place] = 0
        places["shape"][place] = UNKNOWN if ("shape", 0) in free else 1 + SHAPES.index(o.shape)
        places["colour"][place] = UNKNOWN if ("colour", 0) in free else COLOUR_NAMES.index(o.colour)
        places["size"][place], places["outline"][place] = SIZE_NAMES.index(o.size), outline_answer(o)
    return answers


def edit_answers(edit: Edit) -> dict:
    """What an instruction asks for. What speaks of absent things is left out: the words alone do not tell."""
    answers = unanswered()
    if edit.kind == KEEP and not edit.meaningless:
        return answers
    answers["sentence"] = {"kind": 1 + KINDS.index(edit.kind), "background": 0, "pattern": 0}
    changes, said = answers["changes"], set(edit.instruction.split())
    changes["asked"] = [0] * len(CHANGES)
    for kind, before, after in edit.changes:
        if kind == "background":
            only_pattern = before.background == after.background
            answers["sentence"] |= {"background": UNKNOWN if only_pattern else 1 + GROUND_NAMES.index(after.background), "pattern": 1 + PATTERNS.index(after.pattern)}
            continue
        index = CHANGES.index(kind)
        changes["asked"][index] = 1
        for o in set(before.objects) - set(after.objects):
            if said & set(SHAPE_WORDS[o.shape]):
                changes["old shape"][index] = SHAPES.index(o.shape)
            if said & set(COLOUR_WORDS[o.colour]):
                changes["old colour"][index] = COLOUR_NAMES.index(o.colour)
        for o in set(after.objects) - set(before.objects):
            new = {"new shape": SHAPES.index(o.shape), "new colour": COLOUR_NAMES.index(o.colour), "new size": SIZE_NAMES.index(o.size),
                   "new outline": outline_answer(o), "new place": CELLS.index(o.cell)}
            told = {"add": tuple(new), "replace": ("new shape",), "recolour": ("new colour",), "move": ("new place",), "resize": ("new size",)}[kind]
            for name in told:
                changes[name][index] = new[name]
    return answers


def batch(rng: random.Random, count: int, judged: bool = False):
    """Sentences and the answers to them; only held-out scenes where `judged`, never any otherwise."""
    sentences, answers = [], []
    while len(sentences) < count:
        size = random_format(rng)
        if rng.random() < 0.6:
            request = random_request(rng, *size, loose=0.12)
            if held_out(request.scene) == judged:
                sentences.append(as_typed(rng, request.text))
                answers.append(request_answers(request))
        else:
            edit = random_edit(rng, *size)
            if held_out(edit.target) == judged:
                sentences.append(as_typed(rng, edit.instruction))
                answers.append(edit_answers(edit))
    stacked = lambda part, names: {name: torch.tensor([a[part][name] for a in answers]) for name in names}
    return sentences, (stacked("places", OF_A_PLACE), stacked("changes", OF_A_CHANGE), stacked("sentence", OF_A_SENTENCE))


def losses(logits, answers) -> torch.Tensor:
    def entropy(x, y):
        known = (y != UNKNOWN).sum().clamp(min=1)
        return nn.functional.cross_entropy(x.flatten(0, -2), y.flatten(), ignore_index=UNKNOWN, reduction="sum") / known
    total = lambda part, target: sum(entropy(part[name], target[name]) for name in target)
    places, changes, sentence = answers
    return 2 * total(logits[0], places) + total(logits[1], changes) + total(logits[2], sentence) + 0.5 * total(logits[3], sentence)


@torch.no_grad()
def figures(encoders: Encoders, reader: Reader, seed: int = 3, count: int = 300) -> dict[str, float]:
    """The share of right answers on held-out sentences, and of sentences with every answer of T5's right."""
    sentences, answers = batch(random.Random(seed), count, judged=True)
    logits = reader(*encoders(sentences))
    found, whole = {}, torch.ones(count, dtype=torch.bool)
    for part, part_answers in zip(logits[:3], answers):
        for name, target in part_answers.items():
            known, right = target != UNKNOWN, part[name].argmax(-1) == target
            found[name] = right[known].float().mean().item()
            whole &= (right | ~known).reshape(count, -1).all(1)
    return found | {"everything": whole.float().mean().item()}


# ---------------------------------------------------------------- training


def fresh() -> nn.ModuleDict:
    return nn.ModuleDict({"encoders": Encoders(), "reader": Reader()})


def is_matrix(name: str, p: torch.Tensor) -> bool:
    return p.ndim == 2 and not any(part in name for part in ("embed", "shared", "bias", "queries", "answers"))


def worker(trainer: Trainer, steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    model = fresh()
    trainer.adopt(model.named_parameters(), is_matrix)
    start, began = trainer.load(CHECKPOINT), time.time()
    for step in range(start, steps):
        sentences, answers = batch(random.Random(f"text {seed} {step} {trainer.rank}"), BATCH)
        loss = losses(model["reader"](*model["encoders"](sentences)), answers)
        trainer.zero_grad()
        loss.backward()
        trainer.step(RATE * min(1, (step + 1) / 50, 1.5 * (1 - step / steps)))
        if trainer.rank == 0 and (step + 1) % 20 == 0:
            print(f"text {step + 1} loss {loss:.4f} {time.time() - began:.0f} s", flush=True)
        if trainer.rank == 0 and (step + 1) % 100 == 0:
            print(f"text {step + 1} " + " ".join(f"{name} {share:.3f}" for name, share in figures(model["encoders"], model["reader"]).items()), flush=True)
        if (step + 1) % 50 == 0 or step == steps - 1:
            trainer.save(CHECKPOINT, step + 1)


def train(steps: int = STEPS, seed: int = 21) -> None:
    """Trains from the last checkpoint, or from scratch."""
    run(worker, sum(p.numel() for p in fresh().parameters()), steps, seed)


def load() -> Encoders:
    model = fresh()
    fill(model.named_parameters(), torch.load(CHECKPOINT)["parameters"])
    encoders = model["encoders"].eval()
    for encoder in (encoders.t5, encoders.clip):
        encoder.set_attn_implementation("eager")  # of so few tokens in a third of the time of PyTorch's fused one
    return encoders


if __name__ == "__main__":
    WORK.mkdir(parents=True, exist_ok=True)
    train()
