"""Which of transformers' warpers one draw does: the last ones of a list, in the kernel's order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from transformers.generation.logits_process import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from ..params import MIN_P, TEMPERATURE, TOP_K, TOP_P, Rule, number

__all__ = ["Split", "split"]

# In the order in which the kernel does them, which is that of `generate`.
WARPERS: dict[type, Rule] = {
    TemperatureLogitsWarper: TEMPERATURE,
    TopKLogitsWarper: TOP_K,
    TopPLogitsWarper: TOP_P,
    MinPLogitsWarper: MIN_P,
}
ORDER = list(WARPERS)


class Split(NamedTuple):
    """A list of logits processors in two."""

    head: list[Any]  # run as they are
    settings: dict[str, Any]  # what the rest says, by the names of `Sampler`


def split(processors: Sequence[Any]) -> Split:
    """Split a list into what runs as it is, and the longest end of it that one draw does.

    The end is a run of temperature, top-k, top-p and min-p warpers, each at most once, in this order.
    A subclass is not taken for one, nor a warper with a fill value, a least number of tokens to keep
    or a number that the kernel has not.
    """
    settings: dict[str, Any] = {}
    end, last = len(processors), len(ORDER)
    while end:
        warper = processors[end - 1]
        place = ORDER.index(type(warper)) if type(warper) in WARPERS else last
        if place >= last:
            break
        rule = WARPERS[type(warper)]
        value = _value(warper, rule)
        if value is None:
            break
        settings[rule.name] = value
        end, last = end - 1, place
    return Split(list(processors[:end]), settings)


def _value(warper: Any, rule: Rule) -> Any:
    """What the warper sets, if the kernel does exactly that; else None."""
    if getattr(warper, "filter_value", -math.inf) != -math.inf:
        return None
    if rule in (TOP_P, MIN_P) and warper.min_tokens_to_keep != 1:
        return None  # of top-k it is the least k, and in `top_k` already
    value = getattr(warper, rule.name)
    try:
        number(rule, value)
    except (TypeError, ValueError):
        return None  # a temperature of 1e-7, say, or top_p=0
    return value
