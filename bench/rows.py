"""The table's rows: what each measures, against whom, and what is to be reached."""

from dataclasses import dataclass, field

# Who takes part: the name of a column, and how it is started (bench/turns.py).
OURS = "ours"
BF16 = "PyTorch bf16"
F32 = "PyTorch f32"
STABLE_DIFFUSION_CPP = "stable-diffusion.cpp"

# Memory that each takes, as a multiple of ours, which keeps weights in bf16; and gigabytes of libraries on top.
MEMORY = {OURS: 1.0, BF16: 1.0, F32: 2.0, STABLE_DIFFUSION_CPP: 1.0}
LIBRARIES_GIGABYTES = 0.5


@dataclass(frozen=True)
class Goal:
    """`ratio` is our time divided by a peer's, at most; `rate` is in GFLOP/s, at least."""

    text: str
    against: str | None = None
    ratio: float | None = None
    rate: float | None = None
    faster: float | None = None  # than one thread


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    case: dict
    goals: tuple[Goal, ...]
    peers: tuple[str, ...] = (BF16, F32)
    options: tuple[str, ...] = ()  # of our program, beside the case
    needs_isa: str | None = None
    gigabytes: float = 0.5  # of memory that ours takes: the others take as much or twice (MEMORY)
    threads: tuple[int, ...] = ()  # ours with each of these, in place of peers
    flops: float | None = None
    small: dict = field(default_factory=dict)  # what --quick replaces


def block(kind, image=1024):
    return {"what": "block", "geometry": "flux1", "kind": kind, "tokens_image": image, "tokens_text": 512}


def language(part, size="0.6b"):
    return {"what": "language", "geometry": f"qwen3-{size}", "part": part, "tokens": 256}


STEP = {
    "what": "step",
    "geometry": "flux1",
    "double": 2,
    "single": 4,
    "tokens_image": 1024,
    "tokens_text": 512,
}
LINEAR = {"what": "linear", "rows": 1536, "in": 3072, "out": 3072}
LINEAR_FLOPS = 2.0 * 1536 * 3072 * 3072
SMALL = {"tokens_image": 256, "tokens_text": 128}
SMALLEST = {"tokens_image": 64, "tokens_text": 64}


def against_bf16(ratio):
    return Goal(f"≤ {ratio} × PyTorch bf16", BF16, ratio)


AGAINST_F32 = Goal("no slower than PyTorch f32", F32, 1.0)
SCALES = Goal("≥ 1.8 × faster", faster=1.8)

ROWS = [
    Row("linear", "linear 1536 × 3072 × 3072", LINEAR,
        (Goal("≥ 1,300 GFLOP/s on an AMX core", rate=1300),), flops=LINEAR_FLOPS),
    Row("linear-int8", "the same in int8", LINEAR,
        (Goal("≥ 2,300 GOP/s on an AMX core", rate=2300),), peers=(),
        options=("--weights", "int8"), flops=LINEAR_FLOPS),
    Row("single", "FLUX.1 single block, 1024 + 512 tokens", block("single"), (against_bf16(0.55),),
        small=SMALL),
    Row("double", "FLUX.1 double block, 1024 + 512 tokens", block("double"), (against_bf16(0.55),),
        gigabytes=1, small=SMALL),
    Row("single-4096", "FLUX.1 single block, 4096 + 512 tokens", block("single", 4096),
        (against_bf16(0.6),), gigabytes=0.8, small=SMALL),
    Row("double-4096", "FLUX.1 double block, 4096 + 512 tokens", block("double", 4096),
        (against_bf16(0.6),), gigabytes=1.5, small=SMALL),
    Row("vae", "FLUX VAE, decode to 512 × 512", {"what": "vae-decode", "geometry": "flux1", "size": 512},
        (against_bf16(0.6),), gigabytes=1, small={"size": 128}),
    Row("t5", "T5-XXL geometry, 2 layers, 512 tokens",
        {"what": "text-encoder", "geometry": "t5-xxl", "layers": 2, "tokens": 512},
        (against_bf16(0.8),), gigabytes=1, small={"tokens": 128}),
    Row("step", "one step, FLUX.1 geometry with 2 + 4 blocks", STEP,
        (against_bf16(0.5), Goal("≤ 1/15 of stable-diffusion.cpp", STABLE_DIFFUSION_CPP, 1 / 15)),
        peers=(BF16, F32, STABLE_DIFFUSION_CPP), gigabytes=3, small=SMALLEST),
    Row("single-avx512", "single block, AVX-512 f32 forced", block("single"), (AGAINST_F32,),
        peers=(F32,), options=("--isa", "avx512"), needs_isa="avx512", small=SMALL),
    Row("single-avx2", "single block, AVX2 forced", block("single"), (AGAINST_F32,),
        peers=(F32,), options=("--isa", "avx2"), needs_isa="avx2", small=SMALL),
    Row("block-threads", "single block, 2 threads against 1", block("single"), (SCALES,),
        peers=(), threads=(1, 2), small=SMALL),
    Row("step-threads", "one step, 2 threads against 1", STEP, (SCALES,),
        peers=(), threads=(1, 2), gigabytes=3, small=SMALLEST),
    *(
        Row(f"language-{part}{suffix}", title.format(size), language(part, size.lower()), (Goal("stated"),),
            gigabytes=gigabytes, small={"tokens": 32, "geometry": "qwen3-0.6b"})
        for suffix, size, gigabytes in (("", "0.6B", 1.5), ("-1.7b", "1.7B", 4), ("-4b", "4B", 9))
        for part, title in (("prompt", "Qwen3-{}, a prompt of 256 tokens"), ("word", "Qwen3-{}, one word after it"))
    ),
    Row("language-threads", "Qwen3-0.6B, one word, 2 threads against 1", language("word"), (Goal("stated", faster=1.0),),
        peers=(), threads=(1, 2), gigabytes=1.5, small={"tokens": 32}),
    Row("nano", "nano, prompt to PNG, 16 steps, 1:1", {"what": "nano", "steps": 16},
        (Goal("stated"),), peers=()),
]
