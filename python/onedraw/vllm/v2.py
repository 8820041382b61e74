"""vLLM's model runner V2: the draw in the place of `Sampler._sample_random`."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..functional import kept_mask, sample

__all__ = ["PROCESSED", "sample_random_with"]

_log = logging.getLogger("vllm.onedraw")

PROCESSED = ("processed_logits", "processed_logprobs")  # of logprobs_mode: of what was drawn from


def draw(
    sampler: Any,
    logits: Tensor,
    rows: Tensor,
    pos: Tensor,
    top_k: Tensor | None,
    top_p: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Draw int64 [N] from logits [N, V], and what was drawn from.

    vLLM has applied temperature and min-p by then, gives every request a seed, and keeps both where
    the device reads them: `rows` [N] says in which place. `pos` [N] is the position of the newest
    token, so the one that is drawn has the next.
    """
    states = sampler.sampling_states
    tokens = sample(
        logits,
        temperature=(states.temperature.gpu[rows] != 0).float(),
        top_k=top_k,
        top_p=top_p,
        ties="keep",
        seed=states.seeds.gpu[rows],
        position=pos.long() + 1,
        raise_on_bad=False,
    )
    filtered = top_k is not None or top_p is not None
    if filtered and (sampler.logprobs_mode in PROCESSED or sampler.return_sampling_mask):
        kept = kept_mask(logits, top_k=top_k, top_p=top_p, ties="keep", raise_on_bad=False)
        logits = logits.masked_fill(~kept, -torch.inf)
    return tokens, logits


def sample_random_with(own: Callable[..., Any]) -> Callable[..., Any]:
    """`Sampler._sample_random` by onedraw; by vLLM's `own` once that has failed."""
    arguments = inspect.signature(own)
    failed = False

    @functools.wraps(own)
    def drawn(*args: Any, **kwargs: Any) -> Any:
        nonlocal failed
        given = arguments.bind(*args, **kwargs).arguments
        if not failed:
            try:
                return draw(
                    given["self"],
                    given["processed_logits"],
                    given["expanded_idx_mapping"],
                    given["pos"],
                    given["top_k"],
                    given["top_p"],
                )
            except Exception:
                failed = True
                _log.warning("onedraw failed; vLLM's own sampler draws from here on", exc_info=True)
        return own(*args, **kwargs)

    return drawn
