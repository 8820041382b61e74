"""A list of logits processors that draws: what transformers' loop calls in the place of its own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers.generation.logits_process import LogitsProcessorList

from ..functional import kept_mask
from ..sampler import Sampler
from .tail import split

__all__ = ["DrawingProcessors"]


class DrawingProcessors(LogitsProcessorList):  # type: ignore[misc]
    """The processors of a `generate`, and the draw.

    A call [R, T], [R, V] -> [R, V] runs those that one draw cannot do, draws, and leaves the tokens
    in `next_tokens`, int64 [R]. What it returns is what they return; where `scores` are to be shown,
    it is this at the temperature, -inf where the draw's filters cut.
    """

    def __init__(self, processors: Any, *, scores: bool, fallback: str | None, **key: Any) -> None:
        super().__init__(processors)
        head, self._settings = split(self)
        self._head = LogitsProcessorList(head)
        self._scores = scores and bool(self._settings)
        self._fallback = fallback
        self.sampler = Sampler(**self._settings, ties="keep", fallback=fallback, **key)
        self.next_tokens: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """Process the scores [R, V], and draw from them."""
        scores = self._head(input_ids, scores, **kwargs)
        # transformers' scores are float32; a processor of the user's may have made them wider
        drawn_from = scores.float() if scores.dtype is torch.float64 else scores
        self.next_tokens = self.sampler(drawn_from)
        return self._shown(scores) if self._scores else scores

    def _shown(self, scores: Tensor) -> Tensor:
        """What was drawn from, as transformers shows it."""
        narrow = scores.float() if scores.dtype is torch.float64 else scores
        kept = kept_mask(narrow, **self._settings, ties="keep", fallback=self._fallback)
        temperature = self._settings.get("temperature", 1.0)
        tempered = scores if temperature == 1.0 else scores / temperature
        return torch.where(kept, tempered, -math.inf)
