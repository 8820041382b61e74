"""The usual torch idiom: sort, softmax, cumsum, scatter, multinomial over the whole vocabulary."""

import math

import torch
from torch import Tensor

from benchmarks.filters import Filters
from benchmarks.peers.base import Draw


def filtered(filters: Filters, logits: Tensor) -> Tensor:
    """[B, V] float32 logits over the temperature, -inf where a filter cut."""
    scores = logits.float() / filters.temperature
    if filters.top_k is not None:
        smallest = torch.topk(scores, min(filters.top_k, scores.shape[-1])).values[:, -1:]
        scores = scores.masked_fill(scores < smallest, -math.inf)
    if filters.top_p is not None:
        ordered, order = torch.sort(scores, dim=-1, descending=True)
        before = ordered.softmax(dim=-1).cumsum(dim=-1) > filters.top_p
        before[:, 1:] = before[:, :-1].clone()
        before[:, 0] = False
        scores = scores.masked_fill(before.scatter(1, order, before), -math.inf)
    if filters.min_p is not None:
        probs = scores.softmax(dim=-1)
        scores = scores.masked_fill(
            probs < filters.min_p * probs.amax(dim=-1, keepdim=True), -math.inf
        )
    return scores


def prepare(filters: Filters, threads: int, logits: Tensor) -> Draw:
    if filters.greedy:
        return lambda logits: logits.argmax(dim=-1)

    def draw(logits: Tensor) -> Tensor:
        probs = filtered(filters, logits).softmax(dim=-1)
        return torch.multinomial(probs, 1).squeeze(-1)

    return draw


def kept(filters: Filters, logits: Tensor) -> Tensor:
    return filtered(filters, logits) > -math.inf
