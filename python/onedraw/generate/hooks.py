"""What transformers lets a loop be given: processors of the scores before a draw, criteria of the stop after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .. import devices
from ..errors import shown

__all__ = ["Hook", "Processing", "hits", "hooks"]

Hook = Callable[..., Any]


def hooks(name: str, value: Any) -> list[Hook]:
    """A list of callables, as `logits_processor` and `stopping_criteria` are; None is none."""
    if value is None:
        return []
    if not isinstance(value, Sequence) or not all(callable(entry) for entry in value):
        raise TypeError(f"{name} must be a list of callables, got {shown(value)}")
    return list(value)


class Processing:
    """Logits of all rows, [R, V] -> [R, V], through processors, before a draw.

    Attributes
    ----------
    scores : tuple of Tensor, optional
        What was drawn from, step by step, where it is kept: the criteria get it.
    """

    def __init__(self, processors: Sequence[Hook]) -> None:
        self.processors = list(processors)
        self.scores: tuple[Tensor, ...] | None = None

    def __call__(self, ids: Tensor, logits: Tensor) -> Tensor:
        """Process the logits [R, V] behind the tokens [R, L]; the processors may write to what they get."""
        scores = logits.to(torch.float32, copy=True)
        for processor in self.processors:
            scores = checked(processor, processor(ids, scores), logits)
        return narrow(scores)


def narrow(scores: Tensor) -> Tensor:
    """What can be drawn from: a processor may have made the scores wider than they were."""
    return scores.float() if scores.dtype is torch.float64 else scores


def checked(processor: Hook, scores: Any, logits: Tensor) -> Tensor:
    """What a processor gave, refused if it is not the scores of the same tokens."""
    if not isinstance(scores, Tensor) or scores.shape != logits.shape:
        raise ValueError(
            f"logits_processor must give scores {list(logits.shape)} for scores {list(logits.shape)}, got "
            f"{shown(scores)} from {_name(processor)}"
        )
    return scores


def hits(criterion: Hook, ids: Tensor, scores: Any) -> Tensor:
    """Which rows a criterion stops, bool [R], behind the tokens [R, L]; nothing of it is looked at."""
    answer, rows = criterion(ids, scores), ids.shape[0]
    if isinstance(answer, bool):
        return torch.full((rows,), answer, device=ids.device)
    if (
        not isinstance(answer, Tensor)
        or answer.dtype is not torch.bool
        or tuple(answer.shape) not in ((rows,), ())
    ):
        raise ValueError(
            f"stopping_criteria must give a bool tensor [{rows}], or True or False, got {shown(answer)} from "
            f"{_name(criterion)}"
        )
    return devices.stage(answer, ids.device).expand(rows)


def _name(hook: Hook) -> str:
    return getattr(hook, "__name__", type(hook).__name__)
