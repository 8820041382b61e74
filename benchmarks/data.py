"""Logits of a named distribution, and enough copies of them to leave or to stay in the caches."""

import math

import torch
from torch import Tensor

from benchmarks.environment import last_level_cache

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

# From this batch on, a call reads logits that no cache holds any more, as in a server, where a
# matrix product has just written tens of megabytes; below it the same buffer is read again.
MEMORY_BATCH = 64


def lm_like(batch: int, vocab: int, generator: torch.Generator) -> Tensor:
    """[B, V] float32: a Zipf tail of exponent 1.5 in random order, with noise on top.

    An exponential variate of mean 1.5 over V tokens has the order statistics 1.5 ln(V / rank); the
    logits of SmolLM2 fall by 1.4 to 1.7 a unit of ln(rank) over the first 10,000 ranks.
    """
    tail = torch.empty(batch, vocab).exponential_(1 / 1.5, generator=generator)
    return tail.add_(torch.randn(batch, vocab, generator=generator), alpha=0.8)


def peaked(batch: int, vocab: int, generator: torch.Generator) -> Tensor:
    """[B, V]: as `lm_like`, but one token a row has nearly all the mass."""
    logits = lm_like(batch, vocab, generator)
    favourite = torch.randint(vocab, (batch, 1), generator=generator)
    return logits.scatter_(1, favourite, 40.0)


def flat(batch: int, vocab: int, generator: torch.Generator) -> Tensor:
    """[B, V]: every token is about equally likely, no two are equal for sure."""
    return torch.randn(batch, vocab, generator=generator).mul_(0.01)


def all_equal(batch: int, vocab: int, generator: torch.Generator) -> Tensor:
    """[B, V]: one value, so that every cut goes through a tie."""
    return torch.full((batch, vocab), 1.5)


def mostly_inf(batch: int, vocab: int, generator: torch.Generator) -> Tensor:
    """[B, V]: as `lm_like`, with 99 % of the tokens at -inf, as after a grammar's mask."""
    logits = lm_like(batch, vocab, generator)
    closed = torch.rand(batch, vocab, generator=generator) < 0.99
    closed[:, 0] = False
    return logits.masked_fill_(closed, -math.inf)


DISTRIBUTIONS = {
    "lm": lm_like,
    "peaked": peaked,
    "flat": flat,
    "all equal": all_equal,
    "mostly -inf": mostly_inf,
}


def make_logits(
    distribution: str, batch: int, vocab: int, dtype: str = "float32", seed: int = 0
) -> Tensor:
    """[B, V] logits of a distribution in `DISTRIBUTIONS`, the same for the same arguments."""
    generator = torch.Generator().manual_seed(seed)
    return DISTRIBUTIONS[distribution](batch, vocab, generator).to(DTYPES[dtype])


def make_buffers(logits: Tensor) -> list[Tensor]:
    """The buffers that a measurement rotates: one for the cache, four caches' worth for memory."""
    batch = logits.shape[0]
    if batch < MEMORY_BATCH:
        return [logits]
    count = math.ceil(4 * last_level_cache() / (logits.numel() * logits.element_size()))
    return [logits, *(logits.clone() for _ in range(max(2, count) - 1))]
