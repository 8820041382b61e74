"""vLLM's way without FlashInfer: its Triton kernel masks the logits in place, then softmax and a race.

It has no min-p there. The float32 copy that vLLM makes, and divides by the temperature, is part of the call.
"""

import math

import torch
from torch import Tensor

from benchmarks.filters import Filters
from benchmarks.peers.base import Draw


def parameters(filters: Filters, logits: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """top-k int32 [B] and top-p float32 [B], or None where off."""
    rows, device = logits.shape[0], logits.device
    top_k = top_p = None
    if filters.top_k is not None:
        top_k = torch.full((rows,), filters.top_k, dtype=torch.int32, device=device)
    if filters.top_p is not None:
        top_p = torch.full((rows,), filters.top_p, dtype=torch.float32, device=device)
    return top_k, top_p


def masked(filters: Filters, logits: Tensor, top_k: Tensor | None, top_p: Tensor | None) -> Tensor:
    """[B, V] float32, -inf where cut."""
    from vllm.v1.sample.ops.topk_topp_triton import apply_top_k_top_p_triton

    scores = logits.float() / filters.temperature
    if top_k is None and top_p is None:
        return scores
    return apply_top_k_top_p_triton(scores, top_k, top_p)


def prepare(filters: Filters, threads: int, logits: Tensor) -> Draw:
    from vllm.v1.sample.ops.topk_topp_sampler import random_sample

    if filters.greedy:
        return lambda logits: logits.argmax(dim=-1)
    top_k, top_p = parameters(filters, logits)

    def draw(logits: Tensor) -> Tensor:
        scores = masked(filters, logits, top_k, top_p)
        return random_sample(scores.softmax(dim=-1, dtype=torch.float32), {})

    return draw


def kept(filters: Filters, logits: Tensor) -> Tensor:
    return masked(filters, logits, *parameters(filters, logits)) > -math.inf
