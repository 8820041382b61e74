"""A list of logits processors that draws: what transformers' loop calls in the place of its own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from transformers.generation.logits_process import LogitsProcessorList

from ..functional import kept_mask
from ..generate.hooks import narrow
from ..sampler import Sampler
from .tail import split

__all__ = ["DrawingProcessors"]


class DrawingProcessors(LogitsProcessorList):  # type: ignore[misc]
    """The processors of a `generate`, and the draw.

    A call [R, T], [R, V] -> [R, V] runs those that one draw cannot do, draws, and leaves the tokens
    in `next_tokens`, int64 [R]. What it returns is what they return; where `scores` are to be shown,
    it is this at the temperature, -inf where the draw's filters cut.

    With `greedy` all of them run as they are, and the draw is the likeliest token.
    """

    def __init__(
        self,
        processors: Any,
        *,
        scores: bool,
        fallback: str | None,
        greedy: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(processors)
        head, self._settings = (list(self), {}) if greedy else split(self)
        self.head = LogitsProcessorList(head)
        self._scores = scores and bool(self._settings)
        self._fallback = fallback
        draws = {"temperature": 0.0} if greedy else self._settings
        self.sampler = Sampler(**draws, ties="keep", fallback=fallback, **more)
        self.next_tokens: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        """Process the scores [R, V], and draw from them."""
        scores = self.head(input_ids, scores, **kwargs)
        self.next_tokens = self.sampler(narrow(scores))
        return self.shown(scores)

    def shown(self, scores: Tensor) -> Tensor:
        """What is drawn from, as transformers shows it: `scores` are what `head` left."""
        if not self._scores:
            return scores
        kept = kept_mask(narrow(scores), **self._settings, ties="keep", fallback=self._fallback)
        temperature = self._settings.get("temperature", 1.0)
        tempered = scores if temperature == 1.0 else scores / temperature
        return torch.where(kept, tempered, -math.inf)
