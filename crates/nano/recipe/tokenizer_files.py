"""Writes the two tokenizers: a unigram one for T5 and a byte-level BPE one for CLIP.

Neither is trained: every word of the language is one piece. To T5 every other word is one <unk>, so that words which
no one thought of look like those which training showed, and a long description still fits. CLIP, which only colours
the modulation, sees other words as bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

from captions import T5_LENGTH
from transformers import CLIPTokenizer, T5Tokenizer
from words import words

CLIP_LENGTH = 64
MARKS = ",.!?:;"


def spoken_words() -> list[str]:
    """The words of the language, and each with a capital, since sentences may begin with any of them."""
    return words() + [word.capitalize() for word in words()]


def t5_tokenizer() -> T5Tokenizer:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [("▁" + word, -1.0) for word in spoken_words()]
    pieces += [(prefix + mark, -1.0) for mark in MARKS for prefix in ("", "▁")]
    return T5Tokenizer(vocab=pieces, extra_ids=0, additional_special_tokens=[], model_max_length=T5_LENGTH)


def split_by(merges: dict[tuple[str, str], int], word: str) -> list[str]:
    """Byte pair encoding of one word: the earliest merge that applies goes first."""
    parts = [*word[:-1], word[-1] + "</w>"]
    while True:
        ranked = [(merges[pair], index) for index, pair in enumerate(zip(parts, parts[1:])) if pair in merges]
        if not ranked:
            return parts
        index = min(ranked)[1]
        parts[index:index + 2] = [parts[index] + parts[index + 1]]


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte pieces, each also with the end of word, then the merges that make every word one piece."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]
    pieces = alphabet + [letter + "</w>" for letter in alphabet]
    merges: dict[tuple[str, str], int] = {}
    for word in words():
        while len(parts := split_by(merges, word)) > 1:
            merges[parts[0], parts[1]] = len(merges)
            pieces.append(parts[0] + parts[1])
    unique = list(dict.fromkeys(pieces)) + ["<|startoftext|>", "<|endoftext|>"]
    return {piece: index for index, piece in enumerate(unique)}, list(merges)


def clip_tokenizer() -> CLIPTokenizer:
    vocabulary, merges = clip_vocabulary()
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLIP_LENGTH)


def save(folder: Path) -> None:
    """Writes `tokenizer/` (CLIP) and `tokenizer_2/` (T5) into `folder`, with CLIP's classic vocab.json and merges.txt too."""
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    vocabulary, merges = clip_vocabulary()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (folder / "tokenizer" / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    t5_tokenizer().save_pretrained(folder / "tokenizer_2")
