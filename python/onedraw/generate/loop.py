"""The loop: logits, draw, tape, stop; and the rows that have finished leave the batch.

Nothing in a step waits for a device but the look at whether rows are finished, which on a device is taken
only every few steps: what is drawn after the end of a row becomes pad.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import BadRowError
from ..sampler import Sampler
from .details import Recorder
from .stopping import Stopping, without
from .tape import Tape
from .watching import Watch

__all__ = ["Decoder", "Loop"]

LOOK_EVERY = 16  # steps on a device between two looks at which rows are finished
LEAVE = 8  # rows leave the batch once they are an eighth of it: moving the others costs, too


class Decoder(Protocol):
    """Where logits come from."""

    def prefill(self) -> Tensor:
        """[R, V]: the logits after the prompts."""

    def step(self, token: Tensor) -> Tensor:
        """[r, V]: the logits after the newest token of each row, `token` [r], which is on the tape already."""

    def select(self, rows: Tensor) -> None:
        """Go on with some of the present rows."""


class Loop:
    """One run of R rows: `tape` and `stopping` always hold all of them, `rows` says which are in the batch."""

    def __init__(
        self,
        decoder: Decoder,
        sampler: Sampler,
        tape: Tape,
        stopping: Stopping,
        watch: Watch,
        recorder: Recorder | None = None,
        *,
        min_new: int = 0,
        eos: tuple[int, ...] = (),
        allowed: Any = None,
    ) -> None:
        self.decoder, self.sampler = decoder, sampler
        self.tape, self.stopping = tape, stopping
        self.watch, self.recorder = watch, recorder
        self.min_new = min_new if eos else 0
        self.eos, self.allowed = eos, allowed
        self.unfinished: Tensor | None = None  # `allowed` without the end tokens
        self.rows: Tensor | None = None  # int64 [r] of the rows in the batch; None: all
        self.seconds = self.sampling_seconds = 0.0
        self.look_every = 1 if stopping.at_once else LOOK_EVERY

    def run(self) -> None:
        """Draw until every row has finished."""
        steps = self.tape.tokens.shape[1] - self.tape.start
        began = time.perf_counter()
        try:
            if steps == 0 or self.stopping.running == 0:
                return
            logits = self.decoder.prefill()
            for step in range(steps):
                token = self._draw_running(logits, step)
                if token is None:
                    return
                column = self.tape.write(token, self.rows)
                drawn = self.stopping.running
                self.stopping.observe(self.tape, column)
                self.watch.step(column, drawn)
                if step + 1 == steps:
                    return
                if (step + 1) % self.look_every == 0 and self._all_finished():
                    return
                logits = self.decoder.step(column if self.rows is None else column[self.rows])
        finally:
            self.seconds = time.perf_counter() - began

    def _draw_running(self, logits: Tensor, step: int) -> Tensor | None:
        """`_draw`; rows that are bad, but finished, leave the batch first. None if no other is left.

        What a model gives after the end of a row is nobody's error. A refused draw has not moved the
        Sampler, so that the others draw at the second attempt what they would have drawn at the first.
        """
        try:
            return self._draw(logits, step)
        except BadRowError as error:
            bad = self._running(error)
            if bad is not None:
                raise bad from None
        keep = self._leave()
        return self._draw(logits[keep.to(logits.device)], step) if keep.numel() else None

    def _draw(self, logits: Tensor, step: int) -> Tensor:
        """One token of each row in the batch, int64 [r]."""
        mask = self._mask(logits.shape[-1]) if step < self.min_new else None
        began = time.perf_counter()
        try:
            if self.recorder is None:
                return self.sampler(logits, allowed=mask)
            options = self.recorder.options(logits.shape[-1])
            draw = self.sampler.draw(logits, allowed=mask, **options)
        finally:
            self.sampling_seconds += time.perf_counter() - began
        self.recorder.keep(draw, step, self.rows)
        return draw.token

    def _mask(self, vocab: int) -> Tensor:
        """What may be drawn while no row may end."""
        if self.unfinished is None:
            self.unfinished = without(self.allowed, self.eos, vocab)
        mask = self.unfinished
        return mask if self.rows is None or mask.dim() == 1 else mask[self.rows]

    def _all_finished(self) -> bool:
        """Look which rows are finished; let them leave the batch when it pays."""
        stopping = self.stopping
        running = stopping.running if stopping.at_once else stopping.look()
        present = self.tape.tokens.shape[0] if self.rows is None else self.rows.numel()
        gone = present - running
        if running and gone and gone * LEAVE >= present:
            self._leave()
        return running == 0

    def _leave(self) -> Tensor:
        """Go on without the finished rows; returns which of the present ones stay, int64 [left]."""
        left = (~self.stopping.done).nonzero().flatten()
        keep = left if self.rows is None else torch.searchsorted(self.rows, left)
        if keep.numel():
            self.decoder.select(keep)
            self.sampler.select(keep.cpu())
            self.rows = left
        return keep

    def _running(self, error: BadRowError) -> BadRowError | None:
        """The error with the numbers that rows had at first, less the finished ones; None if it was only these."""
        done = self.stopping.done.tolist()
        numbers = range(len(done)) if self.rows is None else self.rows.tolist()
        bad = [
            (numbers[row], status)
            for row, status in zip(error.rows, error.statuses, strict=True)
            if isinstance(row, int) and not done[numbers[row]]
        ]
        return BadRowError(*zip(*bad, strict=True)) if bad else None
