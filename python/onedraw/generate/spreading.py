"""From one a request to one a row: the samples of a request stand together, [B, ...] -> [B * samples, ...]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..arrays import plain
from ..errors import shown

__all__ = ["spread", "spread_bias", "spread_mask"]


def spread(value: Any, samples: int) -> Any:
    """One value a request [B, ...] as one a row [B * samples, ...]."""
    return value.repeat_interleave(samples, 0) if isinstance(value, Tensor) else value


def spread_mask(allowed: Any, requests: int, samples: int) -> Tensor | None:
    """`allowed` of all requests [C] as it is, or one a request [B, C] as one a row."""
    if allowed is None:
        return None
    mask = plain(allowed, "allowed")
    if mask.dim() not in (1, 2) or (mask.dim() == 2 and mask.shape[0] != requests):
        raise ValueError(
            f"allowed must be bool [V] or [{requests}, V], or an int32 bitmask [W] or [{requests}, W], got "
            f"{shown(mask)}"
        )
    return mask if mask.dim() == 1 else mask.repeat_interleave(samples, 0)


def spread_bias(logit_bias: Any, requests: int, samples: int) -> Any:
    """`logit_bias` of all requests as it is, or one a request as one a row."""
    if logit_bias is None or isinstance(logit_bias, Mapping):
        return logit_bias
    if isinstance(logit_bias, (list, tuple)):
        if len(logit_bias) != requests:
            raise ValueError(
                f"logit_bias must have one mapping a request, {requests}, got {len(logit_bias)}"
            )
        return [row for row in logit_bias for _ in range(samples)]
    bias = plain(logit_bias, "logit_bias")
    if bias.dim() not in (1, 2) or (bias.dim() == 2 and bias.shape[0] != requests):
        raise ValueError(
            f"logit_bias must be a mapping, a list of {requests} mappings, or a tensor [V] or [{requests}, V], "
            f"got {shown(bias)}"
        )
    return bias if bias.dim() == 1 else bias.repeat_interleave(samples, 0)
