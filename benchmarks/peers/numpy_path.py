"""NumPy: partition for top-k, argsort for top-p, and the inverse of the cumulative distribution."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.filters import Filters
from benchmarks.peers.base import Draw

Floats = NDArray[np.float32]


def filtered(filters: Filters, logits: Tensor) -> Floats:
    """[B, V] weights relative to the row's largest, 0 where a filter cut."""
    scores: NDArray[Any] = logits.float().numpy() / np.float32(filters.temperature)
    weights: Floats = np.exp(scores - scores.max(axis=-1, keepdims=True))
    size = weights.shape[-1]
    if filters.top_k is not None and filters.top_k < size:
        edge = np.partition(scores, size - filters.top_k, axis=-1)[:, size - filters.top_k, None]
        weights[scores < edge] = 0
    if filters.top_p is not None:
        order: NDArray[Any] = np.argsort(-weights, axis=-1)
        ordered = np.take_along_axis(weights, order, axis=-1)
        mass = np.cumsum(ordered, axis=-1, dtype=np.float64)
        ordered[mass - ordered > filters.top_p * mass[:, -1:]] = 0
        np.put_along_axis(weights, order, ordered, axis=-1)
    if filters.min_p is not None:  # the largest weight is 1
        weights[weights < filters.min_p] = 0
    return weights


def prepare(filters: Filters, threads: int, logits: Tensor) -> Draw:
    generator = np.random.default_rng(0)

    def greedy(logits: Tensor) -> Tensor:
        return torch.from_numpy(logits.float().numpy().argmax(axis=-1))

    def draw(logits: Tensor) -> Tensor:
        mass = filtered(filters, logits).cumsum(axis=-1, dtype=np.float64)
        target = generator.random((mass.shape[0], 1)) * mass[:, -1:]
        return torch.from_numpy((mass > target).argmax(axis=-1))

    return greedy if filters.greedy else draw


def kept(filters: Filters, logits: Tensor) -> Tensor:
    return torch.from_numpy(filtered(filters, logits) > 0)
