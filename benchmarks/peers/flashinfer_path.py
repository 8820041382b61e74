"""FlashInfer's samplers, one for each set of filters; logits over the temperature first, as its callers do.

The seed and the offset are tensors, so that a CUDA graph can hold the call (FlashInfer 0.6 and later).
"""

import math
from typing import Any

import torch
from torch import Tensor

from benchmarks.filters import Filters
from benchmarks.peers.base import Draw


def probabilities(filters: Filters, logits: Tensor) -> Tensor:
    """[B, V] float32, before any filter."""
    import flashinfer

    return flashinfer.sampling.softmax(logits.float(), temperature=filters.temperature)


def prepare(filters: Filters, threads: int, logits: Tensor) -> Draw:
    import flashinfer

    if filters.greedy:
        return lambda logits: logits.argmax(dim=-1)
    sampling = flashinfer.sampling
    random: dict[str, Any] = {
        "seed": torch.tensor([1], dtype=torch.int64, device=logits.device),
        "offset": torch.tensor([0], dtype=torch.int64, device=logits.device),
    }

    def draw(logits: Tensor) -> Tensor:
        if filters.top_k is not None and filters.top_p is not None and filters.min_p is None:
            scores = logits.float() / filters.temperature
            token = sampling.top_k_top_p_sampling_from_logits(
                scores, filters.top_k, filters.top_p, **random
            )
        else:
            token = sample(filters, probabilities(filters, logits), random)
        return token.view(-1).long()

    return draw


def sample(filters: Filters, probs: Tensor, random: dict[str, Any]) -> Tensor:
    import flashinfer

    sampling = flashinfer.sampling
    if filters.top_k is not None:
        return sampling.top_k_sampling_from_probs(probs, filters.top_k, **random)
    if filters.top_p is not None:
        return sampling.top_p_sampling_from_probs(probs, filters.top_p, **random)
    if filters.min_p is not None:
        return sampling.min_p_sampling_from_probs(probs, filters.min_p, **random)
    return sampling.sampling_from_probs(probs, **random)


def kept(filters: Filters, logits: Tensor) -> Tensor | None:
    """By its own renormalisation; it has none for min-p."""
    import flashinfer

    if filters.min_p is not None:
        return None
    if filters.top_k is None:
        probs = probabilities(filters, logits)
    else:
        scores = logits.float() / filters.temperature
        masked = flashinfer.sampling.top_k_mask_logits(scores, filters.top_k)
        if filters.top_p is None:
            return masked > -math.inf
        probs = masked.softmax(dim=-1)
    if filters.top_p is not None:
        probs = flashinfer.sampling.top_p_renorm_probs(probs, filters.top_p)
    return probs > 0
