"""Many draws of one row, and the distribution that they should follow, by its definition."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import onedraw

Floats = NDArray[np.float64]

CALL = 1 << 17  # draws a call: the tokens of a call are all that is ever held


def draws(logits: Tensor, count: int, *, seed: int = 0, stream: int = 0, **settings: Any) -> Tensor:
    """int64 [count] tokens of one row [V], at the positions 0 .. count - 1 of one seed and stream."""
    found = []
    for first in range(0, count, CALL):
        size = min(CALL, count - first)
        found.append(
            onedraw.sample(
                logits.expand(size, -1),
                seed=torch.full((size,), seed),
                stream=stream,
                position=torch.arange(first, first + size),
                **settings,
            )
        )
    return torch.cat(found)


def exact(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    allowed: Tensor | None = None,
    logit_bias: Tensor | None = None,
) -> Floats:
    """float64 [V] the distribution that a row [V] asks for, by its definition: sort, sum, cut."""
    values = logits.float()
    if logit_bias is not None:
        values = values + logit_bias
    if allowed is not None:
        values = values.masked_fill(~allowed, -math.inf)
    scores = values.double().numpy() / float(np.float32(temperature))
    probs = np.exp(scores - scores.max())
    order = np.argsort(-values.numpy(), kind="stable")
    size = int((probs > 0).sum())
    if top_k is not None:
        size = min(size, top_k)
    ordered = probs[order]
    if top_p is not None:
        mass = np.cumsum(ordered[:size])
        size = int(np.searchsorted(mass, float(np.float32(top_p)) * mass[-1])) + 1
    if min_p is not None:
        size = min(size, int((probs >= float(np.float32(min_p))).sum()))
    kept = np.zeros_like(probs)
    kept[order[:size]] = ordered[:size]
    share: Floats = kept / kept.sum()
    return share
