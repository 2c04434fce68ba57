"""Trains the two tiny tokenizers: a byte-level BPE as CLIP's, a unigram model as T5's."""

import io
import json
import re
from collections import Counter
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer, T5Tokenizer

CORPUS = """
a red circle left of a blue square on a white background
a photograph of a large blue square above a small red circle, on a white background
two yellow triangles and a green star on a black background
make the circle green and keep the rest
remove the star; swap the two colours
replace the small square with a large triangle
a wooden table with three apples, a cup of tea and an open book in soft morning light
the quick brown fox jumps over the lazy dog
it's the artist's own picture, and they've framed it; we'll hang it where you'd like
blurry, low quality, 1234567890 items at 50% off
"""

CLIP_MERGES = 120
T5_PIECES = 100
T5_EXTRA_IDS = 4


def corpus_lines() -> list[str]:
    """The training sentences."""
    return [line for line in CORPUS.strip().splitlines() if line]


def learn_merges(words: list[list[str]], count: int) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent first; ties go to the smaller pair, so that every run learns the same ones."""
    merges = []
    for _ in range(count):
        pairs = Counter(pair for word in words for pair in zip(word, word[1:]))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = [merge_word(word, best) for word in words]
    return merges


def merge_word(word: list[str], pair: tuple[str, str]) -> list[str]:
    """The word with every occurrence of the pair joined."""
    joined = []
    for symbol in word:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def clip_files() -> tuple[dict[str, int], list[str]]:
    """A vocabulary in CLIP's order: bytes, bytes that end a word, merges, the two special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    spelled = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    words = [list(spelled.pre_tokenize_str(word)[0][0]) for line in corpus_lines() for word in re.findall(r"\w+|[^\w\s]+", line)]
    merges = learn_merges([word[:-1] + [word[-1] + "</w>"] for word in words], CLIP_MERGES)
    tokens = alphabet + [letter + "</w>" for letter in alphabet] + ["".join(pair) for pair in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    assert len(set(tokens)) == len(tokens)
    return {token: index for index, token in enumerate(tokens)}, [" ".join(pair) for pair in merges]


def clip_tokenizer(model_max_length: int = 77) -> CLIPTokenizer:
    """The tiny CLIP tokenizer."""
    vocab, merges = clip_files()
    return CLIPTokenizer(
        vocab=vocab, merges=[tuple(merge.split(" ")) for merge in merges], model_max_length=model_max_length
    )


def save_clip_files(directory: Path, model_max_length: int = 77) -> None:
    """Saves the CLIP tokenizer in its first form, vocab.json and merges.txt, as FLUX.1's folders have it."""
    vocab, merges = clip_files()
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<|endoftext|>")
    (directory / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    config = dict(special, tokenizer_class="CLIPTokenizer", model_max_length=model_max_length, do_lower_case=True)
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def t5_tokenizer(normalizer: str, model_max_length: int = 64) -> T5Tokenizer:
    """The tiny T5 tokenizer; `normalizer` is a SentencePiece rule name, "identity" or "nmt_nfkc"."""
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus_lines()),
        model_writer=trained,
        vocab_size=T5_PIECES,
        model_type="unigram",
        normalization_rule_name=normalizer,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    proto = sentencepiece_model_pb2.ModelProto.FromString(trained.getvalue())
    vocab = [(piece.piece, piece.score) for piece in proto.pieces]
    vocab += [(f"<extra_id_{i}>", 0.0) for i in reversed(range(T5_EXTRA_IDS))]
    charsmap = proto.normalizer_spec.precompiled_charsmap or None
    return T5Tokenizer(
        vocab=vocab, extra_ids=T5_EXTRA_IDS, _spm_precompiled_charsmap=charsmap, model_max_length=model_max_length
    )
