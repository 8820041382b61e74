"""The classic exercise: a function from all tokens so far to logits, called anew for each token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import shown
from .tape import Tape

__all__ = ["CallableDecoder", "last_logits"]


class CallableDecoder:
    """Logits of a callable [B, T] int64 -> [B, T, V].

    Parameters
    ----------
    model : callable
        May also give [B, 1, V] or [B, V]: the logits of the last step alone.
    tape : Tape
        Of R = B * samples rows; the samples of a request stand together.
    samples : int
        Rows of a request, which share the first call.
    context_length : int, optional
        Of a longer context only so many of the newest tokens are shown.
    anywhere : bool
        Whether the logits may be on another device than the tape: the Sampler has a `fallback` then.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        tape: Tape,
        samples: int,
        context_length: int | None,
        *,
        anywhere: bool = False,
    ) -> None:
        self.model, self.tape, self.context_length = model, tape, context_length
        self.samples, self.anywhere = samples, anywhere
        self.rows: Tensor | None = None

    def prefill(self) -> Tensor:
        """[R, V]: the logits after the prompts."""
        rows, device = self.tape.tokens.shape[0], self.tape.tokens.device
        first = torch.arange(0, rows, self.samples, device=device)
        logits = self._call(first if self.samples > 1 else None)
        return logits.repeat_interleave(self.samples, 0) if self.samples > 1 else logits

    def step(self, token: Tensor) -> Tensor:
        """[r, V]: the logits after the tokens on the tape, of which `token` [r] are the newest."""
        return self._call(self.rows)

    def select(self, rows: Tensor) -> None:
        """Go on with some of the rows."""
        self.rows = rows if self.rows is None else self.rows[rows]

    def _call(self, rows: Tensor | None) -> Tensor:
        cut = 0 if self.context_length is None else max(0, self.tape.end - self.context_length)
        context = self.tape.text(rows, cut)
        logits = last_logits(self.model(context), context)
        if logits.is_cuda != context.is_cuda and not self.anywhere:
            raise ValueError(
                f"input_ids must be on the device of the logits that model returns, {logits.device}, got them "
                f"on {context.device}: else each step would wait for the device (fallback='cpu' draws there)"
            )
        return logits


def last_logits(output: Any, context: Tensor) -> Tensor:
    """[B, V]: the last step of what a model gave for `context` [B, T]."""
    batch, steps = context.shape
    if not isinstance(output, Tensor):
        hint = ""
        if isinstance(output, tuple):
            hint = ": give lambda ids: model(ids)[0]"
        elif hasattr(output, "logits"):
            hint = ": give lambda ids: model(ids).logits"
        raise TypeError(
            f"model must return a tensor of logits [B, T, V], got {type(output).__name__}{hint}"
        )
    if not output.dtype.is_floating_point:
        raise TypeError(f"model must return logits of a real dtype, got {shown(output)}")
    shape = tuple(output.shape)
    fits = (
        shape[:1] == (batch,)
        and len(shape) in (2, 3)
        and (len(shape) == 2 or shape[1] in (1, steps))
        and shape[-1] > 0
    )
    if not fits:
        raise ValueError(
            f"model must return logits [{batch}, {steps}, V] (or [{batch}, 1, V] or [{batch}, V]) for token "
            f"ids {list(context.shape)}, got {shown(output)}"
        )
    return output if len(shape) == 2 else output[:, -1]
