"""Data-parallel training on a CPU: two processes of one thread each that share their parameters' memory.

On a machine that others use too, threads that wait for each other at every operation waste most of their time;
processes that meet twice a step do not. Each rank has its own gradient buffer and updates its own share of the
parameters (their optimiser state lives only there), so nothing is copied but gradients are read across.
"""

from __future__ import annotations

import os

import torch
import torch.multiprocessing as multiprocessing

from muon import MuonAdamW

RANKS = 2
# Read by glibc when a process starts: large pages, and memory that is kept, because every step asks for the same again.
ALLOCATOR = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
             "MALLOC_TOP_PAD_": str(1 << 26)}


def run(worker, floats: int, *arguments) -> None:
    """Runs `worker(trainer_memory, *arguments)` in every rank; `floats` is the number of parameters they share."""
    os.environ.update(ALLOCATOR, OMP_NUM_THREADS="1")
    context = multiprocessing.get_context("spawn")
    memory = torch.zeros(RANKS + 2, floats).share_memory_()  # parameters, moving average, gradients of each rank
    barrier = context.Barrier(RANKS)
    ranks = [context.Process(target=_start, args=(worker, rank, memory, barrier, arguments)) for rank in range(RANKS)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    if any(process.exitcode for process in ranks):
        raise RuntimeError("a training process failed; its trace is above")


def has_tiles() -> bool:
    """Whether the processor multiplies tiles of bf16 (AMX)."""
    return torch.cpu._is_amx_tile_supported()


def multiply_fast() -> None:
    """Products of f32 in bf16, added up in f32, where tiles make that some three times faster. Parameters and what lies between stay f32."""
    if has_tiles():
        torch.backends.mkldnn.matmul.fp32_precision = torch.backends.mkldnn.conv.fp32_precision = "bf16"


def _start(worker, rank, memory, barrier, arguments):
    torch.set_num_threads(1)
    multiply_fast()
    torch.set_flush_denormal(True)
    try:
        worker(Trainer(rank, memory, barrier), *arguments)
    except BaseException:
        barrier.abort()
        raise


class Trainer:
    """One rank's hold on the shared memory. `adopt` the model's parameters, then `step` after each backward pass."""

    def __init__(self, rank: int, memory: torch.Tensor, barrier):
        self.rank, self.memory, self.barrier = rank, memory, barrier
        self.parameters, self.average = memory[0], memory[1]

    def adopt(self, named_parameters, is_matrix, factor=lambda name: 1.0, **options) -> None:
        """Moves every parameter into the shared memory (rank 0's values win) and takes a share of the updates."""
        offset, matrices, others, self.views = 0, [], [], []
        load = [0.0] * RANKS
        for name, p in named_parameters:
            size = p.numel()
            place = self.parameters[offset:offset + size].view(p.shape)
            if self.rank == 0:
                place.copy_(p.data)
            p.data = place
            grads = [self.memory[2 + rank, offset:offset + size].view(p.shape) for rank in range(RANKS)]
            p.grad = grads[self.rank]
            matrix = is_matrix(name, p)
            owner = load.index(min(load))
            load[owner] += size * (min(p.flatten(1).shape) if matrix else 1)
            if owner == self.rank:
                mine = torch.nn.Parameter(place)
                (matrices if matrix else others).append((mine, factor(name)))
                self.views.append((mine, grads, offset))
            offset += size
        assert offset == self.parameters.numel(), "the shared memory was sized for another model"
        self.optimiser = MuonAdamW(matrices, others, **options)
        self.barrier.wait()
        if self.rank == 0:
            self.average.copy_(self.parameters)
        self.barrier.wait()

    def zero_grad(self) -> None:
        self.memory[2 + self.rank].zero_()

    @torch.no_grad()
    def step(self, rate: float, average_decay: float = 0.0) -> None:
        """Averages the ranks' gradients, updates this rank's share and moves its part of the moving average."""
        self.barrier.wait()
        first, *others = zip(*(grads for _, grads, _ in self.views))
        total = torch._foreach_mul(list(first), 1 / RANKS)
        for grads in others:
            torch._foreach_add_(total, list(grads), alpha=1 / RANKS)
        for (mine, _, _), gradient in zip(self.views, total):
            mine.grad = gradient
        self.optimiser.step(rate)
        if average_decay:
            averages = [self.average[offset:offset + mine.numel()].view(mine.shape) for mine, _, offset in self.views]
            torch._foreach_lerp_(averages, [mine.data for mine, _, _ in self.views], 1 - average_decay)
        self.barrier.wait()

    def save(self, path, step: int) -> None:
        """Rank 0 writes parameters and average, every rank its optimiser's state."""
        torch.save(self.optimiser.state_dict(), f"{path}.{self.rank}.new")
        if self.rank == 0:
            torch.save({"step": step, "parameters": self.parameters.clone(), "average": self.average.clone()}, f"{path}.new")
        self.barrier.wait()
        for suffix in (f".{self.rank}", "") if self.rank == 0 else (f".{self.rank}",):
            os.replace(f"{path}{suffix}.new", f"{path}{suffix}")
        self.barrier.wait()

    def load(self, path) -> int:
        """The step to go on from: 0 where there is no checkpoint."""
        if not os.path.exists(path):
            return 0
        saved = torch.load(path)
        if self.rank == 0:
            for name in ("parameters", "average"):  # what was added behind them since begins as it was built
                getattr(self, name)[:len(saved[name])].copy_(saved[name])
        state = f"{path}.{self.rank}"
        if os.path.exists(state):  # the accelerator's checkpoints are without
            self.optimiser.load_state_dict(torch.load(state))
        self.barrier.wait()
        return saved["step"]


def fill(named_parameters, flat: torch.Tensor) -> None:
    """Copies a flat checkpoint vector into a model's parameters."""
    offset = 0
    for _, p in named_parameters:
        p.data.copy_(flat[offset:offset + p.numel()].view(p.shape))
        offset += p.numel()
