"""What transformers' `generate` does for a token: a float32 copy, its processors, multinomial."""

import math
from typing import Any

import torch
from torch import Tensor
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from benchmarks.filters import Filters
from benchmarks.peers.base import Draw

NO_IDS: Any = torch.zeros((1, 1), dtype=torch.int64)  # these processors do not look at the prompt


def processors(filters: Filters) -> LogitsProcessorList:
    """In the order in which `generate` builds them."""
    found = LogitsProcessorList()
    if filters.temperature != 1.0:
        found.append(TemperatureLogitsWarper(filters.temperature))
    if filters.top_k is not None:
        found.append(TopKLogitsWarper(filters.top_k))
    if filters.top_p is not None:
        found.append(TopPLogitsWarper(filters.top_p))
    if filters.min_p is not None:
        found.append(MinPLogitsWarper(filters.min_p))
    return found


def prepare(filters: Filters, threads: int, logits: Tensor) -> Draw:
    if filters.greedy:
        return lambda logits: logits.to(copy=True, dtype=torch.float32).argmax(dim=-1)
    chain = processors(filters)

    def draw(logits: Tensor) -> Tensor:
        scores = chain(NO_IDS, logits.to(copy=True, dtype=torch.float32))
        return torch.multinomial(torch.softmax(scores, dim=-1), 1).squeeze(-1)

    return draw


def kept(filters: Filters, logits: Tensor) -> Tensor:
    scores = processors(filters)(NO_IDS, logits.to(copy=True, dtype=torch.float32))
    return torch.as_tensor(scores > -math.inf)
