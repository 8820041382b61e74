"""onedraw, as a user calls it (`Sampler`), and its compiled core without the Python around it."""

import torch
from torch import Tensor

import onedraw
from benchmarks.filters import Filters
from benchmarks.peers.base import Draw
from onedraw import _core

SEED = 1


def prepare(filters: Filters, threads: int, logits: Tensor) -> Draw:
    """A `Sampler` with a seed; the position advances from call to call."""
    sampler = onedraw.Sampler(seed=SEED, **filters.arguments())
    return lambda logits: sampler(logits)


def prepare_core(filters: Filters, threads: int, logits: Tensor) -> Draw:
    """A reused `Job` that writes into the same tokens; the position advances here too."""
    job = _core.Job()
    job.threads = threads
    job.row_stream = True
    job.set("seed", SEED)
    job.set("temperature", filters.temperature)
    job.set("top_k", filters.top_k or 0)
    job.set("top_p", 1.0 if filters.top_p is None else filters.top_p)
    job.set("min_p", filters.min_p or 0.0)
    token = torch.empty(logits.shape[0], dtype=torch.int64)
    status = torch.empty(logits.shape[0], dtype=torch.int32)
    job.output("token", token)
    job.output("status", status)
    position = 0

    def draw(logits: Tensor) -> Tensor:
        nonlocal position
        position += 1
        job.set("position", position)
        job.run(logits)
        return token

    return draw


def kept(filters: Filters, logits: Tensor) -> Tensor:
    return onedraw.kept_mask(logits, **filters.arguments())
